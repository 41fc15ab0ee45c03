"""Files of keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from carlad import keys
from carlad.errors import ConfigError


def test_a_secret_key_is_for_its_owner_alone_and_the_public_one_for_all(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        pair = keys.write_pair(tmp_path / "new" / "folder", "ann")
    finally:
        os.umask(before)
    folder = tmp_path / "new" / "folder"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "ann.key_secret").stat().st_mode & 0o777 == 0o600
    assert (folder / "ann.key").stat().st_mode & 0o777 == 0o644
    assert keys.read_pair(folder / "ann.key_secret") == pair
    assert keys.read_public(folder / "ann.key") == pair.public
    assert len(keys.as_hex(pair.public)) == 64


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    pair = keys.write_pair(tmp_path, "ann")
    with pytest.raises(ConfigError, match=r"there is one already in .*; move it away"):
        keys.write_pair(tmp_path, "ann")
    assert keys.read_pair(tmp_path / "ann.key_secret") == pair


def test_a_secret_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    keys.write_pair(tmp_path, "ann")
    (tmp_path / "ann.key_secret").chmod(0o640)
    with pytest.raises(ConfigError, match="others may read it; run chmod 600"):
        keys.read_pair(tmp_path / "ann.key_secret")


@pytest.mark.parametrize(
    "text", ["", "curve\n", "rubbish", 'public-key = "short"', f'public-key = "{"~" * 40}"', "\0" * 100]
)
def test_what_is_no_key_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.key").write_text(text)
    with pytest.raises(ConfigError, match=r"^cannot use key .*x\.key"):
        keys.read_public(tmp_path / "x.key")


def test_a_missing_key_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="carlactl keygen"):
        keys.read_pair(tmp_path / "none.key_secret")
    keys.write_pair(tmp_path, "ann")
    with pytest.raises(ConfigError, match="there is no secret key in it"):
        keys.read_pair(tmp_path / "ann.key")


def test_the_client_s_key_is_named_by_the_environment_or_lies_in_its_configuration() -> None:
    assert keys.client_key({"CARLAD_KEY": "/k"}) == Path("/k")
    assert keys.client_key({"XDG_CONFIG_HOME": "/c"}) == Path("/c/carlad/client.key_secret")
    assert keys.client_key({}) == Path.home() / ".config" / "carlad" / "client.key_secret"

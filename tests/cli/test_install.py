"""`carlactl install` and `uninstall` below a folder: what they do without systemd."""

from __future__ import annotations

from pathlib import Path

import pytest

from carlad.cli import carlactl
from carlad.cli.reap import was_told
from carlad.deployment import PLACES


def run(*words: str) -> int:
    return carlactl(list(words))


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_dry_run_writes_nothing_and_says_what_it_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("install", "--systemd", "--root", str(tmp_path), "--dry-run") == 0
    said = capsys.readouterr().out
    assert all(f"write    {tmp_path / place}" in said for place in PLACES.values())
    assert files(tmp_path) == set()


def test_files_are_for_the_systemd_that_is_below_the_folder_or_the_one_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = tmp_path / PLACES["carlad.service"]
    library = tmp_path / "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so"
    library.parent.mkdir(parents=True)
    library.touch()
    assert run("install", "--systemd", "--root", str(tmp_path)) == 0
    assert "DelegateSubgroup=daemon" in unit.read_text()
    assert "systemd 253" not in capsys.readouterr().out
    assert run("install", "--systemd", "--root", str(tmp_path), "--for-systemd", "253") == 0
    assert "Delegate" not in unit.read_text()
    assert "For systemd 253: nothing is delegated" in capsys.readouterr().out


def test_uninstall_undoes_install(tmp_path: Path) -> None:
    assert run("install", "--systemd", "--root", str(tmp_path)) == 0
    assert files(tmp_path) == set(PLACES.values())
    assert run("install", "--systemd", "--root", str(tmp_path)) == 0
    assert run("uninstall", "--systemd", "--root", str(tmp_path), "--dry-run") == 0
    assert files(tmp_path) == set(PLACES.values())
    assert run("uninstall", "--systemd", "--root", str(tmp_path)) == 0
    assert files(tmp_path) == set()


def test_an_edited_unit_is_neither_replaced_nor_removed_and_nothing_else_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("install", "--systemd", "--root", str(tmp_path))
    unit = tmp_path / PLACES["carlad.service"]
    (tmp_path / PLACES["carlad-reap.service"]).unlink()
    unit.write_text(unit.read_text() + "Nice=5\n")
    capsys.readouterr()
    assert run("install", "--systemd", "--root", str(tmp_path)) == 2
    assert "systemctl edit carlad.service" in capsys.readouterr().err
    assert not (tmp_path / PLACES["carlad-reap.service"]).exists()
    assert run("uninstall", "--systemd", "--root", str(tmp_path)) == 0
    assert files(tmp_path) == {PLACES["carlad.service"]}


def test_nothing_is_started_below_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("install", "--systemd", "--root", str(tmp_path), "--now") == 2
    assert "--now" in capsys.readouterr().err


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").write_text("not a folder")
    assert run("install", "--systemd", "--root", str(tmp_path)) == 2
    assert f"cannot write {tmp_path}/etc/systemd/system" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("result", "job", "told"),
    [
        ("success", "", True),
        ("success", "812", True),
        ("signal", "", False),
        ("watchdog", "0", False),
        ("timeout", "812", True),
        ("signal", "812", True),
        ("", "", False),
    ],
)
def test_servers_are_reaped_after_a_service_that_was_told_to_end(result: str, job: str, told: bool) -> None:
    assert was_told(result, job) is told

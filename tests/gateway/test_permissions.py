"""Who may reach the control socket: tried by processes of other users."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from carlad import keys
from carlad.errors import ConfigError
from carlad.gateway.endpoint import group_id, listening

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as others")

NOBODY = 65534
GROUP = grp.getgrgid(1)  # daemon, or whatever it is called here

# Python itself may lie where others cannot read: everything is imported before root's rights are given up.
_PROLOGUE = """
import os, sys
from pathlib import Path
import zmq, zmq.auth
from carlad import keys
from carlad.errors import CarladError
from carlad.gateway.endpoint import listening
from carlad.link import check_listening
user, group, *more = map(int, sys.argv[2].split(","))
os.setgroups(more); os.setgid(group); os.setuid(user)
"""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A socket of root's in a folder that everybody may look into, for the members of GROUP."""
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder, zmq.Context() as context:
        os.chmod(folder, 0o755)
        with context.socket(zmq.ROUTER) as router:
            endpoint = f"ipc://{folder}/carlad/control.sock"
            with listening(router, endpoint, GROUP.gr_name):
                yield endpoint


def as_user(script: str, argument: str, user: int = NOBODY, group: int = NOBODY, *groups: int) -> str:
    """What `script` prints, as that user with those groups. It has `argument` in sys.argv[1]."""
    identity = ",".join(map(str, (user, group, *groups)))
    words = [sys.executable, "-c", _PROLOGUE + script, argument, identity]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def reached(endpoint: str, group: int, *groups: int) -> str:
    """`yes` where nobody with those groups gets a connection, else what the client is told."""
    script = """
try:
    check_listening(sys.argv[1], 1.0)
    print("yes")
except CarladError as error:
    print(error)
"""
    return as_user(script, endpoint, NOBODY, group, *groups)


def test_a_member_of_the_group_may_connect(endpoint: str) -> None:
    assert reached(endpoint, NOBODY, GROUP.gr_gid) == "yes"
    assert reached(endpoint, GROUP.gr_gid) == "yes"


def test_anybody_else_is_told_of_the_group(endpoint: str) -> None:
    said = reached(endpoint, NOBODY)
    assert "Permission denied" in said
    assert "usermod -aG carlad" in said


def test_the_folder_is_closed_to_others_and_both_belong_to_the_group(endpoint: str) -> None:
    path = Path(endpoint.removeprefix("ipc://"))
    assert path.parent.stat().st_mode & 0o777 == 0o750
    assert path.stat().st_mode & 0o777 == 0o660
    assert {path.parent.stat().st_gid, path.stat().st_gid} == {GROUP.gr_gid}


def test_a_daemon_of_an_ordinary_user_is_for_that_user_alone() -> None:
    script = """
folder = Path(sys.argv[1])
with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
    with listening(router, f"ipc://{folder}/own/control.sock"):
        print(oct((folder / "own").stat().st_mode & 0o777))
"""
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder:
        os.chmod(folder, 0o777)
        assert as_user(script, folder) == "0o700"


def test_a_group_that_is_not_there_is_an_error_with_its_remedy() -> None:
    with pytest.raises(ConfigError, match=r"daemon\.group: there is no group wheelwrights; groupadd"):
        group_id("wheelwrights")


def test_a_secret_key_of_root_s_is_not_read_by_others() -> None:
    script = """
try:
    keys.read_pair(Path(sys.argv[1]) / "server.key_secret")
except CarladError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder:
        keys.write_pair(Path(folder), "server")
        os.chmod(folder, 0o755)
        said = as_user(script, folder)
    assert said.startswith("cannot read key")
    assert "Permission denied" in said

"""Binding: a daemon's socket is neither stolen nor left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from carlad.errors import ConfigError
from carlad.gateway.endpoint import listening


@pytest.fixture
def router() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        yield socket


def test_the_folder_is_made_for_its_owner_and_group_and_the_socket_removed_in_the_end(
    router: zmq.Socket[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "new" / "carlad" / "control.sock"
    with listening(router, f"ipc://{path}"):
        assert path.is_socket()
        assert path.parent.stat().st_mode & 0o777 == (0o750 if os.geteuid() == 0 else 0o700)
        assert path.stat().st_mode & 0o007 == 0
    assert not path.exists()


def test_a_socket_whose_daemon_is_gone_is_taken_over(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening(router, f"ipc://{path}"):
        assert path.is_socket()


def test_a_socket_on_which_somebody_answers_is_left_alone(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with (
            pytest.raises(ConfigError, match="a daemon answers there already"),
            listening(router, f"ipc://{path}"),
        ):
            pass
        assert path.is_socket()


def test_a_file_that_is_not_a_socket_is_left_alone(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"), listening(router, f"ipc://{path}"):
        pass
    assert path.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_an_error_of_configuration(
    router: zmq.Socket[bytes], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match="cannot listen on"),
        listening(router, f"ipc://{tmp_path}/file/control.sock"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(router: zmq.Socket[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with (
        pytest.raises(ConfigError, match="belongs to user 65534"),
        listening(router, f"ipc://{folder}/control.sock"),
    ):
        pass

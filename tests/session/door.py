"""A TCP door of an env host, with a host behind it that sends back what comes."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from carlad import keys
from carlad.admission import Admitted
from carlad.session import tunnel
from tests.ports import free_port

WITHIN_S = 10.0


class Site(NamedTuple):
    port: int
    endpoint: str


@contextmanager
def opened(folder: Path) -> Iterator[Site]:
    """Until the block ends, in which this process has a key to it."""
    server = keys.write_pair(folder, "server")
    keys.write_pair(folder, "ann")
    (folder / "clients").mkdir()
    shutil.copy(folder / "ann.key", folder / "clients")
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, _echo(folder / "host.sock") as path:
        patch.setenv("CARLAD_KEY", str(folder / "ann.key_secret"))
        gate = tunnel.Gate([f"tcp://127.0.0.1:{port}"], str(path), server, Admitted(folder / "clients"))
        with closing(gate):
            yield Site(port, f"tcp://{keys.as_hex(server.public)}@127.0.0.1:{port}")


def is_served(site: Site) -> bool:
    with tunnel.connected(site.endpoint, WITHIN_S) as sock:
        sock.settimeout(WITHIN_S)
        sock.sendall(b"are you there?")
        return sock.recv(100) == b"are you there?"


@contextmanager
def _echo(path: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        accepting = threading.Thread(target=_accept, args=(listener,))
        accepting.start()
        try:
            yield path
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listener: socket.socket) -> None:
    """Until the listener is shut, and all who came have gone."""
    threads = []
    with suppress(OSError):
        while True:
            sock, _address = listener.accept()
            threads.append(threading.Thread(target=_send_back, args=(sock,)))
            threads[-1].start()
    for thread in threads:
        thread.join()


def _send_back(sock: socket.socket) -> None:
    with sock, suppress(OSError):
        while piece := sock.recv(1 << 16):
            sock.sendall(piece)

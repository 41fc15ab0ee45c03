"""Clients on other machines: whoever has a known key is served, and nobody else gets anything."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

import carlad
from carlad import keys
from carlad.client import Client
from carlad.config import DaemonSection, RemoteSection
from carlad.errors import ConfigError, NoDaemonError, RequestError
from carlad.gateway.auth import Admitted
from carlad.gateway.doors import open_doors
from carlad.messages import PROTOCOL_VERSION, Drain, Notice, Request, StatusQuery, Undrain, notices_endpoint
from tests.daemon_process import until
from tests.gateway.daemons import FakeDaemon, fake_daemon
from tests.ports import free_port

ACTION = np.array([0.5, -0.5], np.float32)


class Gate:
    """A daemon behind TCP, and the keys to it."""

    def __init__(self, daemon: FakeDaemon, folder: Path, server: keys.KeyPair, port: int) -> None:
        self.daemon = daemon
        self.port = port
        self.address = f"tcp://127.0.0.1:{port}"
        self.endpoint = f"tcp://{keys.as_hex(server.public)}@127.0.0.1:{port}"
        self.folder = folder

    def admit(self, name: str) -> Path:
        """The secret key of a client that is admitted after the next `reread`."""
        theirs = self.folder / "theirs"
        if not (theirs / f"{name}.key").exists():
            keys.write_pair(theirs, name)
        shutil.copy(theirs / f"{name}.key", self.folder / "clients")
        return theirs / f"{name}.key_secret"

    def expel(self, name: str) -> None:
        (self.folder / "clients" / f"{name}.key").unlink()

    def reread(self, expected: Callable[[], bool]) -> None:
        self.daemon.command("reread")
        until(expected, 10.0)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("keys")
    server = keys.write_pair(folder, "server")
    (folder / "clients").mkdir()
    port = free_port()
    with fake_daemon(size=2, listen=f"tcp://127.0.0.1:{port}", keys_dir=folder) as daemon:
        gate = Gate(daemon, folder, server, port)
        with _key(gate.admit("ann@laptop")):
            gate.reread(lambda: _is_served(gate.endpoint))
        yield gate


@contextmanager
def _key(secret: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARLAD_KEY", str(secret))
        yield


def _is_served(endpoint: str) -> bool:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        keys.connect(dealer, endpoint)
        return _answers(dealer)


def _answers(dealer: zmq.Socket[bytes]) -> bool:
    request = Request(version=PROTOCOL_VERSION, request_id="a", body=StatusQuery())
    try:
        dealer.send(msgspec.msgpack.encode(request), zmq.NOBLOCK)
    except zmq.Again:  # the connection was ended, and another is not taken
        return False
    return bool(dealer.poll(400))


def test_a_lease_from_another_machine_belongs_to_the_user_of_the_key(gate: Gate) -> None:
    with _key(gate.admit("ann@laptop")), carlad.lease(endpoint=gate.endpoint) as server:
        with Client(gate.daemon.endpoint) as client:
            (held,) = client.status().leases
        assert (held.lease_id, held.holder.partition("@")[0]) == (server.lease_id, "ann")
        gate.daemon.crash(server.slot)
        assert server.lost.wait(30.0)  # heard over the notices, which are behind the same gate
        assert "signal 9" in str(server.lost_reason)


def test_commands_from_another_machine_are_for_its_operators(gate: Gate) -> None:
    with _key(gate.admit("bob")):
        gate.reread(lambda: _is_served(gate.endpoint))
        with Client(gate.endpoint) as client, pytest.raises(RequestError, match="bob may lease") as refused:
            client.operate(Drain(slot=0))
        assert refused.value.code == "forbidden"
        with carlad.lease(endpoint=gate.daemon.endpoint) as somebodys, Client(gate.endpoint) as client:
            with pytest.raises(RequestError, match=f"{somebodys.lease_id} is not bob's"):
                client.release(somebodys.lease_id)
            with carlad.lease(endpoint=gate.endpoint) as own:
                client.renew(own.lease_id)
    with _key(gate.admit("ann@laptop")), Client(gate.endpoint) as client:
        assert client.operate(Drain(slot=0))
        assert client.operate(Undrain(slot=0))
    with Client(gate.daemon.endpoint) as client:
        assert client.operate(Undrain(slot=0))


def test_a_session_is_closed_from_another_machine_by_its_operators_alone(gate: Gate) -> None:
    """With `carlactl`, as they would."""

    def close(user: str) -> subprocess.CompletedProcess[str]:
        with _key(gate.admit(user)):
            gate.reread(lambda: _is_served(gate.endpoint))
            command = [sys.executable, "-m", "carlad.cli", "sessions", "close", session_id]
            environ = {**os.environ, "CARLAD_ENDPOINT": gate.endpoint}
            return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    with carlad.session("quiet", endpoint=gate.daemon.endpoint) as env:
        env.reset()
        session_id = env.opened.session_id
        refused = close("bob")
        assert refused.returncode != 0
        assert f"{session_id} is not bob's" in refused.stderr
        env.step(ACTION)
        done = close("ann@laptop")
        assert (done.returncode, done.stdout) == (0, f"{session_id} is closed\n"), done.stderr
        with pytest.raises(RequestError, match="it was closed"):
            env.step(ACTION)


def test_an_unknown_key_gets_nothing(gate: Gate) -> None:
    with _key(keys_of(gate.folder / "strangers", "eve")):
        assert not _is_served(gate.endpoint)
        with pytest.raises(NoDaemonError, match="does not admit the key"), Client(gate.endpoint) as client:
            client.status()
        with zmq.Context() as context, context.socket(zmq.SUB) as notices:
            notices.subscribe(b"")
            keys.connect(notices, notices_endpoint(gate.endpoint))
            with carlad.lease(endpoint=gate.daemon.endpoint):
                assert not notices.poll(500)


def keys_of(folder: Path, name: str) -> Path:
    keys.write_pair(folder, name)
    return folder / f"{name}.key_secret"


def test_who_asks_without_a_key_gets_nothing(gate: Gate) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.linger = 0
        plain.connect(gate.address)
        assert not _answers(plain)


def test_who_listens_without_a_key_hears_nothing(gate: Gate) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as plain:
        plain.connect(notices_endpoint(gate.address))
        plain.subscribe(b"")
        with carlad.lease(endpoint=gate.daemon.endpoint):
            assert not plain.poll(500)


def test_a_server_with_another_key_is_not_believed(gate: Gate) -> None:
    other = gate.endpoint.replace(gate.endpoint[6:70], "ab" * 32)
    with _key(gate.admit("ann@laptop")):
        assert not _is_served(other)


def test_a_key_that_is_taken_away_is_cut_off_and_others_are_not(gate: Gate) -> None:
    bob, ann = gate.admit("bob"), gate.admit("ann@laptop")
    with zmq.Context() as context, context.socket(zmq.DEALER) as bobs, context.socket(zmq.SUB) as hears:
        bobs.linger = 0
        with _key(bob):
            gate.reread(lambda: _is_served(gate.endpoint))
            keys.connect(bobs, gate.endpoint)
            hears.subscribe(b"")
            keys.connect(hears, notices_endpoint(gate.endpoint))
        assert _answers(bobs)
        bobs.recv()
        until(lambda: _heard(gate, hears), 5.0)
        gate.expel("bob")
        with _key(ann):
            gate.reread(lambda: _is_served(gate.endpoint))
        until(lambda: not _heard(gate, hears), 5.0)
        assert not _answers(bobs)
    with _key(ann):
        assert _is_served(gate.endpoint)


def _heard(gate: Gate, notices: zmq.Socket[bytes]) -> bool:
    """Whether a notice that is caused now arrives."""
    while notices.poll(0):
        notices.recv_multipart()
    with carlad.lease(endpoint=gate.daemon.endpoint, wait_s=5.0) as server:
        if not notices.poll(300):
            return False
        return msgspec.msgpack.decode(notices.recv_multipart()[-1], type=Notice).slot == server.slot


def test_who_connects_and_says_nothing_or_rubbish_disturbs_nobody(gate: Gate) -> None:
    idle = [socket.create_connection(("127.0.0.1", gate.port)) for _ in range(50)]
    for number, connection in enumerate(idle):
        connection.sendall(os.urandom(number * 20))
    with _key(gate.admit("ann@laptop")):
        began_at = time.monotonic()
        assert _is_served(gate.endpoint)
        assert time.monotonic() - began_at < 5.0
    for connection in idle:
        connection.close()


def test_a_user_may_have_several_keys(tmp_path: Path) -> None:
    for name in ("ann", "ann@laptop", "bob"):
        keys.write_pair(tmp_path, name)
    admitted = Admitted(tmp_path)
    users = [admitted.user_of(keys.as_hex(keys.read_public(path))) for path in sorted(tmp_path.glob("*.key"))]
    assert users == ["ann", "ann", "bob"]
    assert admitted.user_of("") is None


def test_a_folder_with_a_broken_key_changes_nothing(tmp_path: Path) -> None:
    keys.write_pair(tmp_path, "ann")
    key = keys.as_hex(keys.read_public(tmp_path / "ann.key"))
    admitted = Admitted(tmp_path)
    (tmp_path / "bob.key").write_text("rubbish")
    with pytest.raises(ConfigError, match=r"cannot use key .*bob\.key"):
        admitted.reread()
    assert admitted.user_of(key) == "ann"


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: None, "server.key_secret"),
        (lambda folder: keys.write_pair(folder, "server"), "clients"),
    ],
)
def test_without_keys_nothing_is_opened(tmp_path: Path, prepare: Callable[[Path], object], says: str) -> None:
    prepare(tmp_path)
    port = free_port()
    remote = RemoteSection(listen=(f"tcp://127.0.0.1:{port}",), keys_dir=str(tmp_path))
    with (
        pytest.raises(ConfigError, match=r"^remote\.") as refused,
        open_doors(DaemonSection(endpoint=f"ipc://{tmp_path}/s/c.sock"), remote),
    ):
        pass
    assert says in str(refused.value)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))

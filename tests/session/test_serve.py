"""Who may speak to an env host, and what strangers can do to it: nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from carlad.gateway.endpoint import answers
from carlad.session import protocol
from carlad.session.connection import Connection
from carlad.session.protocol import Close, Failed, Hello, ProtocolError, Reply, Request, Reset, Share
from carlad.session.steps import SessionLostError, Steps
from tests.session.conftest import NO_SERVER, WAIT_S
from tests.session.leaks import wait_until

ACTION = np.array([0.5, -0.5], np.float32)
SECRET = "open sesame"


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """Of a host with a secret, which waits two seconds for a client."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    command = [sys.executable, "-m", "carlad.session", "--env", "tests.session.environments:Quiet"]
    command += ["--endpoint", f"ipc://{tmp_path}/step", "--secret-file", str(tmp_path / "secret")]
    with subprocess.Popen([*command, "--patience", "2"]) as host:
        try:
            wait_until(lambda: answers(tmp_path / "step"))
            yield f"ipc://{tmp_path}/step"
        finally:
            host.kill()


@pytest.fixture
def steps(endpoint: str) -> Iterator[Steps]:
    """A client in an episode of a thousand steps."""
    steps = Steps(endpoint, SECRET)
    steps.construct({"length": 1000}, WAIT_S)
    steps.attach(NO_SERVER, WAIT_S)
    steps.reset(1, WAIT_S)
    yield steps
    steps.close()


def stranger(endpoint: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10.0)
    sock.connect(endpoint.removeprefix("ipc://"))
    return sock


def told(sock: socket.socket) -> Reply | None:
    """What the host says before it closes."""
    connection: Connection[Reply] = Connection(sock, protocol.decode_reply, protocol.HEAD_BYTES_MAX)
    try:
        message = connection.receive(10.0)
        return message[0] if message is not None else None
    except (EOFError, ConnectionError):
        return None
    finally:
        connection.close()


def test_a_wrong_secret_is_refused_and_disturbs_nobody(endpoint: str, steps: Steps) -> None:
    for secret in ("", "open", SECRET + "!"):
        with pytest.raises(ProtocolError, match="the secret is not"):
            Steps(endpoint, secret)
    assert steps.step(ACTION, WAIT_S)[4]["steps"] == 1


@pytest.mark.parametrize("request_", [Reset(), Share(), Close(), Hello(SECRET, version=2)])
def test_only_a_hello_of_this_version_opens_the_door(endpoint: str, steps: Steps, request_: Request) -> None:
    sock = stranger(endpoint)
    sock.sendall(b"".join(protocol.encode_head(request_)))
    assert isinstance(told(sock), Failed)
    assert steps.step(ACTION, WAIT_S)[4]["steps"] == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        protocol.LENGTHS.pack(9, 1 << 27),
        protocol.LENGTHS.pack(1 << 20, 0),
        bytes(99),
    ],
)
def test_garbage_is_answered_with_the_reason_and_the_connection_closed(
    endpoint: str, steps: Steps, garbage: bytes
) -> None:
    sock = stranger(endpoint)
    sock.sendall(garbage)
    answer = told(sock)
    assert isinstance(answer, Failed)
    assert "cannot read" in answer.reason
    assert steps.step(ACTION, WAIT_S)[4]["steps"] == 1


def test_a_crowd_of_silent_strangers_is_sent_away_and_holds_up_nobody(endpoint: str, steps: Steps) -> None:
    crowd = [stranger(endpoint) for _ in range(6)]
    begun_s = time.monotonic()
    for _ in range(100):
        steps.step(ACTION, WAIT_S)
    for _ in range(20):
        crowd.append(stranger(endpoint))
        steps.step(ACTION, WAIT_S)
    assert time.monotonic() - begun_s < 2.0
    assert [told(sock) for sock in crowd] == [None] * len(crowd)


def test_garbage_from_the_client_ends_its_connection_and_not_its_episode(endpoint: str, steps: Steps) -> None:
    steps._connection.send([bytes(100)])
    with pytest.raises(ProtocolError, match="head of 0 bytes"):
        steps._reply(WAIT_S, "garbage")
    again = Steps(endpoint, SECRET)
    again._observation = steps._observation
    assert again.step(ACTION, WAIT_S)[4]["steps"] == 1
    again.close()


def test_a_later_connection_with_the_secret_takes_over(endpoint: str, steps: Steps) -> None:
    later = Steps(endpoint, SECRET)
    later._observation = steps._observation
    assert later.step(ACTION, WAIT_S)[4]["steps"] == 1
    with pytest.raises(SessionLostError):
        steps.step(ACTION, WAIT_S)
    later.close()


def test_a_client_that_steps_without_a_pause_holds_up_nobody_at_the_door(endpoint: str, steps: Steps) -> None:
    def step_on() -> None:
        while True:
            if steps.step(ACTION, WAIT_S)[3]:
                steps.reset(1, WAIT_S)

    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(step_on)
        for _ in range(3):
            with stranger(endpoint) as nobody:
                nobody.sendall(b"".join(protocol.encode_head(Hello("sesame"))))
                assert isinstance(told(nobody), Failed)
            assert not stepping.done()
        Steps(endpoint, SECRET).close()  # takes over
        with pytest.raises(SessionLostError):
            stepping.result(10.0)


def test_a_host_whose_client_stays_away_ends(endpoint: str, steps: Steps) -> None:
    path = Path(endpoint.removeprefix("ipc://"))
    time.sleep(2.5)  # longer than its patience: a client that is connected may be silent
    steps.step(ACTION, WAIT_S)
    steps.close()
    wait_until(lambda: not path.exists(), within_s=5.0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_another_user_is_not_let_in_even_with_the_secret(endpoint: str, steps: Steps, tmp_path: Path) -> None:
    script = f"""
import os, socket, sys
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect("/proc/self/fd/{{}}/step".format(sys.argv[1]))
sock.settimeout(10)
try:
    sock.sendall({b"".join(protocol.encode_head(Hello(SECRET)))!r})
    sys.exit(len(sock.recv(100)))
except ConnectionError:
    sys.exit(0)
"""
    folder = os.open(tmp_path, os.O_PATH)
    tmp_path.chmod(0o755)
    try:
        command = [sys.executable, "-c", script, str(folder)]
        assert subprocess.run(command, pass_fds=[folder], timeout=20, check=False).returncode == 0
    finally:
        os.close(folder)
    assert steps.step(ACTION, WAIT_S)[4]["steps"] == 1


def test_tcp_is_not_spoken_without_keys() -> None:
    command = [sys.executable, "-m", "carlad.session", "--env", "tests.session.environments:Quiet"]
    command += ["--endpoint", "tcp://127.0.0.1:0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (result.returncode, "for TCP see --clients" in result.stderr) == (2, True)

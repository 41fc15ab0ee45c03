"""Wrong types, counts and ids for every call: the server answers and stays up."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgpack
import pytest

from carlad.wire.calls import CALLS
from carlad.wire.msgpackrpc import ResponseReader
from tests.standin.process import StandIn, standin_process
from tests.standin.raw import connected, raw_client

ROUNDS = 12
# Those that end or stop the world for others; their arguments are checked by the same code.
SPARED = {"tick_cue", "load_new_episode", "set_episode_settings"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """What it is told to record goes where pytest tidies up."""
    with standin_process("--recordings", str(tmp_path_factory.mktemp("recordings"))) as running:
        yield running


def value(chance: random.Random, depth: int = 0) -> object:
    simple = [0, 1, 7, -1, 2**32, 2**63, 0.5, float("nan"), float("inf"), True, None, "", "x", b"", b"\xff"]
    if depth > 3 or chance.random() < 0.5:
        return chance.choice(simple)
    items = [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return items if chance.random() < 0.8 else {"key": items}


@pytest.mark.parametrize("seed", range(3))
def test_every_call_survives_any_arguments(server: StandIn, seed: int) -> None:
    chance = random.Random(seed)
    with connected(server.rpc_port) as sock:
        reader, sent, received = ResponseReader(), 0, 0
        for name in sorted(set(CALLS) - SPARED) * ROUNDS:
            arguments = [[False], *(value(chance) for _ in range(chance.randrange(5)))]
            sock.sendall(msgpack.packb([0, sent, name, arguments]))
            sent += 1
        while received < sent:
            received += len(reader.receive(sock.recv(1 << 20)))
    with raw_client(server.rpc_port) as client:
        assert client.call("version") == "0.9.16"
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("seed", range(3))
def test_connections_survive_any_bytes(server: StandIn, seed: int) -> None:
    chance = random.Random(seed)
    for port in (server.rpc_port, server.streaming_port) * 20:
        with connected(port) as sock:
            sock.sendall(chance.randbytes(chance.randrange(1, 2000)))
    with raw_client(server.rpc_port) as client:
        assert client.call("version") == "0.9.16"

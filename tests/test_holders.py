"""Holders of real servers: what they lose is replaced by its like, and what they lost they do not reach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations
from typing import cast

import msgspec
import pytest
import trio
import zmq

import carlad
from carlad.client import Client, this_process
from carlad.errors import WaitedInVainError
from carlad.messages import (
    PROTOCOL_VERSION,
    Acquire,
    Granted,
    Queued,
    Reply,
    ReplyBody,
    Request,
    Status,
)
from carlad.rpc import connect
from carlad.wire.types import EpisodeSettings
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until_status

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonProcess]:
    """Two servers, one of them a spare."""
    with daemon_process(fleet="size = 2\nspares = 1", probe="period_s = 0.2") as running:
        yield running


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.endpoint) as client:
        until_status(client, lambda status: all_ready(status) and not status.leases)
        yield client


def ask(server: carlad.Lease, *call: object) -> object:
    """Of the server itself, by CARLA's own protocol."""

    async def converse() -> object:
        with trio.fail_after(10):
            async with connect(server.host, server.port) as rpc:
                return await rpc.call(*call)  # type: ignore[arg-type]

    return trio.run(converse)


def settings_of(server: carlad.Lease) -> EpisodeSettings:
    return cast(EpisodeSettings, ask(server, "get_episode_settings"))


def kill_server(client: Client, slot: int) -> None:
    pid = client.status().slots[slot].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_a_lost_server_is_replaced_by_the_spare_with_the_settings_that_it_had(
    daemon: DaemonProcess, client: Client
) -> None:
    with carlad.lease(endpoint=daemon.endpoint, replace=True) as server:
        lost = server.granted
        wanted = msgspec.structs.replace(
            settings_of(server), no_rendering_mode=True, max_culling_distance=77.0
        )
        ask(server, "set_episode_settings", wanted)
        time.sleep(0.6)  # for the watch over it to have seen them
        kill_server(client, server.slot)
        assert server.lost.wait(30.0)
        server.recover()
        assert (server.slot, server.map) == (1 - lost.slot, lost.map)
        assert server.token > lost.token
        assert settings_of(server) == wanted
    after = until_status(client, all_ready)
    with carlad.lease(endpoint=daemon.endpoint) as another:  # whoever comes next has the beginning's
        assert settings_of(another).max_culling_distance != 77.0
    assert after.slots[lost.slot].incarnation > 1


def test_the_spare_is_nobody_s_who_has_not_lost_a_server(daemon: DaemonProcess, client: Client) -> None:
    with carlad.lease(endpoint=daemon.endpoint), pytest.raises(WaitedInVainError, match="1 kept for"):
        carlad.lease(endpoint=daemon.endpoint, wait_s=0.2)


_HOLDER = """
import socket, sys, carlad
server = carlad.lease(ttl_s=1.0)
connection = socket.create_connection((server.host, server.port))
print(server.slot, flush=True)
sys.stdin.readline()
connection.settimeout(5)
try:
    connection.sendall(bytes([0x94, 0, 1, 0xa7]) + b"version" + bytes([0x90]))
    heard = connection.recv(100)
except ConnectionError:
    heard = b""
print("nothing" if not heard else "an answer", flush=True)
server.lost.wait(10)
print(server.lost_reason, flush=True)
"""


def test_a_holder_who_was_paused_past_the_time_to_live_finds_the_server_fenced(
    daemon: DaemonProcess, client: Client
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER],
        env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    slot = int(holder.stdout.readline())
    before = client.status().slots[slot]
    holder.send_signal(signal.SIGSTOP)
    after = until_status(client, lambda status: not status.leases and all_ready(status)).slots[slot]
    assert after.incarnation > before.incarnation
    assert after.rpc_port != before.rpc_port
    with carlad.lease(endpoint=daemon.endpoint):  # the next one is undisturbed by what the old one sends
        holder.send_signal(signal.SIGCONT)
        heard, _ = holder.communicate("\n", timeout=30.0)
    assert heard.splitlines()[0] == "nothing"
    assert "expired 1 s after its last renewal" in heard


def test_a_server_that_nobody_connects_to_is_taken_back() -> None:
    with (
        daemon_process(fleet="size = 1", lease="idle_max_s = 1.0", probe="period_s = 0.2") as daemon,
        Client(daemon.endpoint) as client,
    ):
        until_status(client, all_ready)
        with carlad.lease(endpoint=daemon.endpoint) as server:
            used_until = time.monotonic() + 2.5
            while time.monotonic() < used_until:
                ask(server, "version")
                time.sleep(0.1)
            server.check()
            assert server.lost.wait(10.0)
            assert "nobody was connected to its server for 1 s" in str(server.lost_reason)


@pytest.mark.parametrize("order", [" ".join(each) for each in permutations(("holder", "server", "daemon"))])
def test_in_whatever_order_holder_server_and_daemon_are_killed_it_is_made_good(order: str) -> None:
    with daemon_process(fleet="size = 2", probe="period_s = 0.2") as daemon:
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
            holder = subprocess.Popen(
                [sys.executable, "-c", _HOLDER.replace("ttl_s=1.0", "ttl_s=30.0, replace=True")],
                env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert holder.stdout is not None
            slot = int(holder.stdout.readline())
            token = client.status().leases[0].token
            for victim in order.split():
                if victim == "holder":
                    holder.kill()
                    holder.communicate()
                elif victim == "server" and (pid := client.status().slots[slot].pid) is not None:
                    with suppress(ProcessLookupError):  # the daemon was quicker: its holder is dead
                        os.kill(pid, signal.SIGKILL)
                elif victim == "daemon":
                    daemon.kill()
                    daemon.start()
        with Client(daemon.endpoint) as client:

            def is_all_well(status: Status) -> bool:
                return all_ready(status) and not status.leases

            until_status(client, is_all_well, within_s=30.0)
            with carlad.lease(endpoint=daemon.endpoint) as server:
                assert server.token > token
                assert ask(server, "version") == "0.9.16"


def test_a_reply_that_was_lost_with_the_daemon_is_the_same_from_the_next_one() -> None:
    with daemon_process(fleet="size = 2") as daemon:
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
        asked = Request(
            version=PROTOCOL_VERSION,
            request_id="sent twice",
            body=Acquire(holder=this_process(), ttl_s=60.0, wait_s=5.0),
        )
        first = answer_to(daemon, asked)
        daemon.kill()
        daemon.start()
        assert isinstance(first, Granted)
        assert answer_to(daemon, asked) == first
        with Client(daemon.endpoint) as client:
            assert [lease.lease_id for lease in client.status().leases] == [first.lease_id]


def answer_to(daemon: DaemonProcess, request: Request) -> ReplyBody:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(daemon.endpoint)
        dealer.send(msgspec.msgpack.encode(request))
        while True:
            assert dealer.poll(10_000), "no answer"
            reply = msgspec.msgpack.decode(dealer.recv(), type=Reply)
            if not isinstance(reply.body, Queued):
                return reply.body

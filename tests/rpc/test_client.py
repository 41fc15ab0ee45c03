from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from carlad.errors import ServerError
from carlad.rpc import WorldObserver, connect, observe_world
from carlad.wire import CARLA_VERSION
from carlad.wire.errors import CallError
from tests.fleet.processes import fake_server
from tests.ports import free_port


@contextlib.asynccontextmanager
async def peer_that_sends(data: bytes) -> AsyncIterator[int]:
    """A port whose listener answers whatever it gets with `data` and closes."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        port = free_port()
        await nursery.start(partial(trio.serve_tcp, answer, port, host="127.0.0.1"))
        yield port
        nursery.cancel_scope.cancel()


async def last_of(world: WorldObserver) -> None:
    while True:
        await world.snapshot()


def test_calls_return_what_the_table_says():
    async def scenario(port):
        async with connect("127.0.0.1", port) as rpc:
            assert await rpc.call("version") == CARLA_VERSION
            assert (await rpc.call("get_map_info")).name == "Carla/Maps/Town01"
            assert (await rpc.call("get_episode_info")).episode_id == 1
            assert await rpc.call("load_new_episode", "Town02", True, 0xFFFF) is None

    with fake_server() as (_process, port):
        trio.run(scenario, port)


def test_a_refusal_carries_the_servers_own_words():
    async def scenario(port):
        async with connect("127.0.0.1", port) as rpc:
            with pytest.raises(CallError, match="Map 'Nowhere' not found"):
                await rpc.call("load_new_episode", "Nowhere", True, 0)
            assert await rpc.call("version") == CARLA_VERSION

    with fake_server() as (_process, port):
        trio.run(scenario, port)


def test_a_call_that_was_given_up_does_not_spoil_the_next():
    async def scenario(process, port):
        async with connect("127.0.0.1", port) as rpc:
            await rpc.call("version")
            os.kill(process.pid, signal.SIGSTOP)
            with trio.move_on_after(0.05) as asked:
                await rpc.call("get_map_info")
            assert asked.cancelled_caught
            os.kill(process.pid, signal.SIGCONT)
            with trio.fail_after(5):
                assert await rpc.call("version") == CARLA_VERSION

    with fake_server() as (process, port):
        trio.run(scenario, process, port)


def test_a_server_that_dies_is_an_error_of_the_server():
    async def scenario(process, port):
        async with connect("127.0.0.1", port) as rpc, observe_world("127.0.0.1", port + 1) as world:
            await world.snapshot()
            process.kill()
            with trio.fail_after(5):
                with pytest.raises(ServerError, match=r"cannot call version at .*:\d+"):
                    await rpc.call("version")
                with pytest.raises(ServerError, match="cannot observe the world"):
                    await last_of(world)

    with fake_server() as (process, port):
        trio.run(scenario, process, port)


def test_a_port_without_a_server_is_refused_at_once():
    async def scenario(port):
        for opened in (connect("127.0.0.1", port), observe_world("127.0.0.1", port)):
            with trio.fail_after(5), pytest.raises(ServerError, match=rf"cannot connect to .*:{port}"):
                async with opened:
                    pass

    trio.run(scenario, free_port())


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xc1", b"\x94\x01\x01\xc0\x05", b""]
)
def test_garbage_is_an_error_of_the_server(garbage):
    async def scenario():
        async with peer_that_sends(garbage) as port:
            with trio.fail_after(5), pytest.raises(ServerError):
                async with connect("127.0.0.1", port) as rpc:
                    await rpc.call("version")
            with trio.fail_after(5), pytest.raises(ServerError):
                async with observe_world("127.0.0.1", port) as world:
                    await world.snapshot()

    trio.run(scenario)


def test_the_world_is_observed_frame_by_frame():
    async def scenario(port):
        async with observe_world("127.0.0.1", port + 1) as world:
            frames = [(await world.snapshot()).frame for _ in range(3)]
        assert frames == sorted(set(frames))

    with fake_server() as (_process, port):
        trio.run(scenario, port)

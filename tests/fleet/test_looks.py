"""Looks at the kernel's table that several share, in virtual time."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio
import trio.testing

from carlad.fleet import looks as looks_module
from carlad.fleet.looks import Looks
from carlad.fleet.sockets import LISTEN, Socket


@pytest.fixture
def taken(monkeypatch):
    """The ranges of ports of the looks that were taken, each of which sees one socket more."""
    taken = []

    def look(_pid, ports):
        taken.append(ports)
        return [Socket(1, b"", 2000, b"", 40000 + n, "0") for n in range(len(taken))]

    monkeypatch.setattr(looks_module, "sockets", look)
    return taken


def run(scenario) -> None:
    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def test_who_is_content_with_an_older_look_gets_it(taken):
    async def scenario():
        looks = Looks()
        await looks.at([2000])
        await trio.sleep(0.2)
        assert len(await looks.at([2000], 0.25)) == 1
        await trio.sleep(0.1)
        assert len(await looks.at([2000], 0.25)) == 2

    run(scenario)


def test_who_wants_to_know_what_is_now_is_told_so(taken):
    async def scenario():
        looks = Looks()
        await looks.at([2000])
        assert len(await looks.at([2000])) == 2

    run(scenario)


def test_who_asks_while_somebody_looks_waits_for_a_look_that_begins_later(taken):
    async def scenario():
        looks = Looks()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(looks.at, [2000])
        assert len(taken) > 1

    run(scenario)


def test_ports_that_nobody_asked_for_before_are_looked_at(taken):
    async def scenario():
        looks = Looks()
        await looks.at([2000, 2001], 1.0)
        assert await looks.at([2004], 1.0) == []
        await looks.at([2000], 1.0)
        assert taken == [(2000, 2001), (2000, 2004)]

    run(scenario)


def test_a_look_that_was_given_up_is_not_counted_on(taken):
    async def scenario():
        looks = Looks()
        await looks.at([2000], 1.0)
        with trio.CancelScope() as scope:
            scope.cancel()
            await looks.at([2004], 1.0)
        await looks.at([2004], 1.0)
        assert taken == [(2000, 2000), (2000, 2004)]

    run(scenario)


def test_the_kernels_sockets_are_found_by_either_end():
    async def scenario(port, peer):
        looks = Looks()
        by_port, by_peer = await looks.at([port]), await looks.at([peer])
        assert LISTEN in {found.state for found in by_port}
        assert {(found.port, found.peer_port) for found in by_peer} == {(port, peer), (peer, port)}

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            trio.run(partial(scenario, port, client.getsockname()[1]))

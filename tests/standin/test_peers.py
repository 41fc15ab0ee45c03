"""Which process is at the other end, and whether its threads sleep: of this process itself."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from carlad.standin import peers
from carlad.standin.peers import Address
from carlad.standin.traffic_managers import AWAKE_MAX_S, IN_VAIN_MAX, Threads
from tests.standin.process import eventually


@contextmanager
def connection(port: int = 0) -> Iterator[tuple[Address, Address]]:
    """Yields the client's address, which has `port`, and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", port))
        client.connect(server.getsockname())
        yield client.getsockname(), server.getsockname()


@contextmanager
def thread(*, computes: bool) -> Iterator[int]:
    """One that sleeps or computes until the end; yields its number."""
    ended = threading.Event()

    def run() -> None:
        while computes and not ended.is_set():
            sum(range(1000))
        ended.wait()

    started = threading.Thread(target=run)
    started.start()
    try:
        assert started.native_id is not None
        yield started.native_id
    finally:
        ended.set()
        started.join()


def test_the_process_at_the_other_end_is_found_and_nobody_where_nothing_is() -> None:
    with connection() as (client, server):
        assert peers.process_of(client, server) == os.getpid()
    assert peers.process_of(("127.0.0.1", 1), server) is None
    assert peers.process_of(("192.0.2.1", 8000), server) is None


def test_connections_that_had_the_same_port_and_are_over_are_not_meant() -> None:
    with connection() as (first, _server):
        pass
    for _ in range(20):  # each of them is remembered for a minute, in whichever order
        with connection(first[1]) as (client, server):
            assert client == first
            assert peers.process_of(client, server) == os.getpid()


def test_who_sleeps_is_told_from_who_computes_and_who_is_gone_is_not_waited_for() -> None:
    with thread(computes=False) as sleeper:
        assert sleeper in peers.threads_of(os.getpid())
        eventually(lambda: peers.are_asleep(os.getpid(), {sleeper}))
        with thread(computes=True) as worker:
            eventually(lambda: not peers.are_asleep(os.getpid(), {sleeper, worker}))
    eventually(lambda: peers.are_asleep(os.getpid(), {sleeper, worker}))


def test_a_tick_waits_for_threads_that_began_with_a_traffic_manager_and_are_awake() -> None:
    threads = Threads()
    with connection() as (client, server), thread(computes=True):
        threads.port_asked(client, server)
        assert not threads.hold_up(0.0)
        with thread(computes=False) as sleeper:
            threads.registered()
            eventually(lambda: peers.are_asleep(os.getpid(), {sleeper}))
            assert not threads.hold_up(0.0)
        with thread(computes=True):
            threads.registered()
            eventually(lambda: threads.hold_up(0.0))


def test_a_thread_that_never_sleeps_is_taken_for_no_traffic_manager() -> None:
    threads = Threads()
    with connection() as address:
        threads.port_asked(*address)
        with thread(computes=True):
            threads.registered()
            eventually(lambda: threads.hold_up(0.0))
            for _ in range(100 * IN_VAIN_MAX):
                assert not threads.hold_up(AWAKE_MAX_S)
            assert not threads.hold_up(0.0)

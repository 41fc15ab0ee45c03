"""Several daemons: a server where there is room, and no lease left behind at the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import carlad
from carlad.client import Client
from carlad.errors import NoDaemonError, RequestError, WaitedInVainError
from carlad.messages import DaemonStatus, SlotState, Status
from carlad.nodes import Look, choose, with_room
from tests.broker.slots import status as slot
from tests.daemon_process import until_status
from tests.gateway.daemons import FakeDaemon, fake_daemon


@pytest.fixture
def nodes() -> Iterator[tuple[FakeDaemon, FakeDaemon]]:
    with fake_daemon(size=1) as one, fake_daemon(size=1) as two:
        yield one, two


def both(nodes: tuple[FakeDaemon, FakeDaemon]) -> str:
    return ",".join(node.endpoint for node in nodes)


def leases_of(node: FakeDaemon) -> int:
    with Client(node.endpoint) as client:
        return len(client.status().leases)


def look(name: str, waiting: int = 0, *slots: tuple[SlotState, str | None]) -> Look:
    statuses = tuple(slot(number, state=state, map=map) for number, (state, map) in enumerate(slots))
    shown = Status(
        daemon=DaemonStatus(pid=1, version="", uptime_s=0), slots=statuses, leases=(), waiting=waiting
    )
    return Look(name, shown)  # type: ignore[arg-type]  # a client that is only handed on


def test_room_is_first_where_the_map_runs_then_where_most_is_free() -> None:
    looks = [
        look("full", 0, ("LEASED", "Town01")),
        look("loads", 0, ("READY", "Town02"), ("READY", "Town02")),
        look("awaited", 3, ("READY", "Town01")),
        look("runs", 0, ("READY", "Town01")),
        Look("silent", None, NoDaemonError("")),  # type: ignore[arg-type]
    ]
    assert with_room(looks, "Town01") == ["runs", "loads"]
    assert with_room(looks, None) == ["loads", "runs"]


class Asked:
    """A client whose daemon says this of itself."""

    def __init__(self, shown: Look) -> None:
        self.endpoint = str(shown.client)
        self._shown = shown

    def status(self) -> Status:
        if self._shown.status is None:
            raise NoDaemonError("silent")
        return self._shown.status


def test_what_is_asked_of_one_goes_where_there_is_room_or_the_shortest_queue() -> None:
    busy = look("busy", 3, ("LEASED", "Town01"))
    large = look("large", 3, *[("LEASED", "Town01")] * 4)
    free = look("free", 0, ("READY", "Town02"))
    silent = Look("silent", None)  # type: ignore[arg-type]

    def chosen(*looks: Look) -> str:
        return choose([Asked(look) for look in looks], "Town01").endpoint  # type: ignore[misc]

    assert chosen(silent, busy, large, free) == "free"
    assert chosen(silent, busy, large) == "large"
    with pytest.raises(NoDaemonError):
        chosen(silent, silent)


def test_servers_are_leased_where_there_are_some(nodes: tuple[FakeDaemon, FakeDaemon]) -> None:
    with carlad.lease(endpoint=both(nodes)) as first, carlad.lease(endpoint=both(nodes)) as second:
        assert {first.endpoint, second.endpoint} == {node.endpoint for node in nodes}
        assert [leases_of(node) for node in nodes] == [1, 1]
        with pytest.raises(WaitedInVainError, match="no server is free"):
            carlad.lease(endpoint=both(nodes), wait_s=0.0)
        with pytest.raises(WaitedInVainError, match=r"within 0\.3 s"):
            carlad.lease(endpoint=both(nodes), wait_s=0.3)


def test_who_waits_at_several_gets_the_first_and_leaves_the_others(
    nodes: tuple[FakeDaemon, FakeDaemon],
) -> None:
    held = [carlad.lease(endpoint=node.endpoint) for node in nodes]
    taken: list[carlad.Lease] = []
    waiter = threading.Thread(target=lambda: taken.append(carlad.lease(endpoint=both(nodes), wait_s=30.0)))
    waiter.start()
    for node in nodes:
        with Client(node.endpoint) as client:
            until_status(client, lambda status: status.waiting == 1)
    held[1].release()
    waiter.join(20.0)
    assert taken[0].endpoint == nodes[1].endpoint
    with Client(nodes[0].endpoint) as client:
        until_status(client, lambda status: status.waiting == 0, 3.0)
    held[0].release()
    taken[0].release()
    for node in nodes:
        with Client(node.endpoint) as client:
            until_status(client, lambda status: not status.leases)


def test_a_grant_that_comes_too_late_is_given_back(nodes: tuple[FakeDaemon, FakeDaemon]) -> None:
    for _ in range(5):
        held = [carlad.lease(endpoint=node.endpoint) for node in nodes]
        freed = threading.Timer(0.3, lambda held=held: [lease.release() for lease in held])  # both at once
        freed.start()
        with carlad.lease(endpoint=both(nodes), wait_s=30.0) as server:
            freed.join()
            time.sleep(0.6)  # both servers are READY again by then, and one was granted to a loser if any
            assert sum(leases_of(node) for node in nodes) == 1
            assert leases_of(next(node for node in nodes if node.endpoint == server.endpoint)) == 1
        for node in nodes:
            with Client(node.endpoint) as client:
                until_status(client, lambda status: not status.leases and status.slots[0].state == "READY")


def test_a_node_that_is_down_is_passed_over(nodes: tuple[FakeDaemon, FakeDaemon]) -> None:
    nodes[0].kill()
    with carlad.lease(endpoint=both(nodes)) as server:
        assert server.endpoint == nodes[1].endpoint
    nodes[1].kill()
    with pytest.raises(NoDaemonError):
        carlad.lease(endpoint=both(nodes))


def test_a_map_that_no_node_has_is_told(nodes: tuple[FakeDaemon, FakeDaemon]) -> None:
    with pytest.raises(RequestError, match="known are Town01") as refused:
        carlad.lease(map="Atlantis", endpoint=both(nodes), wait_s=5.0)
    assert refused.value.code == "unknown-map"

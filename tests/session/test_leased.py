"""Env hosts here on servers that daemons lease, lost and replaced. The daemons' fleets are fakes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from carlad.client import Client
from carlad.endpoints import are_elsewhere
from carlad.errors import CarladError, NoDaemonError
from carlad.session.leased import LeaseSource
from carlad.session.members import Members, Moved
from carlad.session.sources import CancelledError, Terms
from tests.gateway.daemons import FakeDaemon, fake_daemon
from tests.session.leaks import wait_until
from tests.session.members import ACTION, gather


@pytest.fixture
def nodes() -> Iterator[tuple[FakeDaemon, FakeDaemon]]:
    with fake_daemon(size=1) as one, fake_daemon(size=1) as two:
        yield one, two


def source(logs: Path, endpoint: str, env: str = "Quiet", wait_s: float = 30.0) -> LeaseSource:
    terms = Terms("", {}, None, None, wait_s, endpoint)
    return LeaseSource(f"tests.session.environments:{env}", terms, "env-0", logs / "env-0.log")


def tokens(*nodes: FakeDaemon) -> list[int]:
    """Of all leases that are held there."""
    found: list[int] = []
    for node in nodes:
        with Client(node.endpoint) as client:
            found += [lease.token for lease in client.status().leases]
    return found


def test_members_take_servers_at_several_daemons_and_give_them_back(
    tmp_path: Path, nodes: tuple[FakeDaemon, FakeDaemon]
) -> None:
    endpoint = ",".join(node.endpoint for node in nodes)
    with closing(Members([source(tmp_path, endpoint), source(tmp_path, endpoint)], 30.0)) as vector:
        gather(vector, lambda _: vector.errors == ["", ""] and None not in vector.telemetry)
        for member in (0, 1):
            vector.reset(member, seed=member)
        gather(vector, lambda events: len(events) == 2)
        for member in (0, 1):
            vector.act(member, ACTION)
        moved = gather(vector, lambda events: len(events) == 2)
        assert all(isinstance(event, Moved) and event.reward == 0.5 for event in moved)
        assert [len(tokens(node)) for node in nodes] == [1, 1]
    wait_until(lambda: tokens(*nodes) == [])


def test_a_lost_server_is_followed_by_its_replacement(tmp_path: Path) -> None:
    with fake_daemon(size=1) as node, closing(source(tmp_path, node.endpoint)) as lent:
        lent.obtain(None)
        (before,) = tokens(node)
        node.crash(0)
        hosted = lent.obtain("the simulator is gone")
        (after,) = tokens(node)
        assert after > before
        assert hosted.steps.observation_space is not None


def test_a_lost_host_gets_another_server_at_whichever_daemon(
    tmp_path: Path, nodes: tuple[FakeDaemon, FakeDaemon]
) -> None:
    with closing(source(tmp_path, ",".join(node.endpoint for node in nodes))) as lent:
        lent.obtain(None)
        before = tokens(*nodes)
        lent.obtain("its process ended")
        after = tokens(*nodes)
        assert len(before) == len(after) == 1
        assert before != after or [len(tokens(node)) for node in nodes] == [0, 1]


def test_a_daemon_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with fake_daemon(size=1) as node, ThreadPoolExecutor(1) as pool:
        node.kill()
        with closing(source(tmp_path, node.endpoint)) as lent:
            hosted = pool.submit(lent.obtain, None)
            node.start()
            assert hosted.result(30.0).server


def test_no_daemon_within_the_wait_is_told(tmp_path: Path) -> None:
    nobody = f"ipc://{tmp_path}/nobody.sock"
    with closing(source(tmp_path, nobody, wait_s=0.0)) as lent, pytest.raises(NoDaemonError):
        lent.obtain(None)


def test_whoever_waits_for_a_server_can_be_let_go(tmp_path: Path) -> None:
    with (
        fake_daemon(size=1) as node,
        closing(source(tmp_path, node.endpoint)) as holder,
        closing(source(tmp_path, node.endpoint)) as waiter,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.obtain(None)
        waiting = pool.submit(waiter.obtain, None)
        with Client(node.endpoint) as client:
            wait_until(lambda: client.status().waiting == 1)
        waiter.cancel()
        with pytest.raises(CancelledError):
            waiting.result(30.0)
        assert len(tokens(node)) == 1


def test_whoever_waits_for_a_replacement_can_be_let_go(tmp_path: Path) -> None:
    with fake_daemon(size=1) as node, closing(source(tmp_path, node.endpoint)) as lent:
        lent.obtain(None)
        node.hold_down(0)
        wait_until(lambda: tokens(node) == [])
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lent.obtain, "the simulator is gone")
            threading.Timer(0.5, lent.cancel).start()
            with pytest.raises(CarladError):
                waiting.result(30.0)
        assert tokens(node) == []


@pytest.mark.parametrize(
    ("endpoints", "elsewhere"),
    [
        (("ipc:///run/carlad/control.sock",), False),
        (("ipc:///a.sock", "ipc:///b.sock"), False),
        (("ipc:///a.sock", f"tcp://{'0' * 64}@gpu1:7000"), True),
    ],
)
def test_daemons_reached_by_tcp_are_elsewhere(endpoints: tuple[str, ...], elsewhere: bool) -> None:
    assert are_elsewhere(endpoints) is elsewhere

"""What a service manager hears, on a real notification socket."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from carlad.runtime import NoAnswerError
from carlad.service import ServiceManager, summary
from tests.broker.slots import status


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


async def well() -> None:
    """Every unit answers."""


async def silent() -> None:
    await trio.sleep_forever()


async def failing() -> None:
    async with trio.open_nursery():
        raise NoAnswerError("a slot failed")


def heard(systemd: socket.socket, *units: Callable[[], Awaitable[None]], **environ: str) -> list[str]:
    """What was told in 0.35 s to a watchdog of 0.2 s."""

    async def watch() -> None:
        with (
            closing(ServiceManager({**os.environ, "WATCHDOG_USEC": "200000", **environ})) as manager,
            trio.move_on_after(0.35),
        ):
            await manager.watch({unit.__name__: unit for unit in units}, lambda: "all is well")

    trio.run(watch)
    said = []
    while select.select([systemd], [], [], 0)[0]:
        said.append(systemd.recv(4096).decode())
    return said


def test_the_watchdog_is_fed_while_every_unit_answers(systemd: socket.socket) -> None:
    said = heard(systemd, well)
    assert said.count("WATCHDOG=1") >= 2
    assert "STATUS=all is well" in said


@pytest.mark.parametrize("unit", [silent, failing])
def test_the_watchdog_is_not_fed_while_a_unit_does_not_answer(
    systemd: socket.socket, unit: Callable[[], Awaitable[None]]
) -> None:
    said = heard(systemd, well, unit)
    assert "WATCHDOG=1" not in said
    assert f"STATUS=all is well; NO ANSWER from {unit.__name__}" in said


def test_a_watchdog_of_another_process_is_not_ours(systemd: socket.socket) -> None:
    assert len(heard(systemd, well, WATCHDOG_PID="1")) == 2  # at the beginning of its own, longer period


@pytest.mark.parametrize(("within_s", "us"), [(70.0, 70_000_000), (float("inf"), 2**63)])
def test_ready_and_stopping_are_told(systemd: socket.socket, within_s: float, us: int) -> None:
    with closing(ServiceManager(os.environ)) as manager:
        manager.ready()
        manager.stopping(within_s)
    assert systemd.recv(4096) == b"READY=1"
    said = systemd.recv(4096).decode().splitlines()
    assert {"STOPPING=1", f"EXTEND_TIMEOUT_USEC={us}"} < set(said)


def test_a_successor_gets_longer_than_the_watchdog_allows(systemd: socket.socket) -> None:
    with closing(ServiceManager({**os.environ, "WATCHDOG_USEC": "8000000"})) as manager:
        manager.making_way()
        manager.ready()
    assert int(systemd.recv(4096).decode().removeprefix("WATCHDOG_USEC=")) > 8_000_000
    assert [systemd.recv(4096), systemd.recv(4096)] == [b"READY=1", b"WATCHDOG_USEC=8000000"]


def test_without_a_service_manager_nothing_happens() -> None:
    manager = ServiceManager({})
    manager.ready()
    trio.run(manager.watch, {"well": well}, str)
    manager.close()


def test_the_states_are_counted_in_one_line() -> None:
    slots = [status(0), status(1), status(2, "BACKOFF")]
    assert summary(slots, 1, 3) == "servers: 1 BACKOFF, 2 READY; sessions: 1; requests waiting: 3"
    assert summary([], 0, 0) == "servers: none; sessions: 0; requests waiting: 0"

"""Several host processes at once, of which some misbehave."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from carlad.errors import WaitedInVainError
from carlad.session.members import Members, Moved, Phase
from carlad.session.protocol import ProtocolError
from carlad.session.steps import EnvironmentFailedError
from carlad.telemetry import Subscriber
from tests.session.leaks import wait_until
from tests.session.members import ACTION, gather, sessions, wait_for


def begin(vector: Members, *members: int) -> None:
    """An episode in each of the members, once they are there."""
    gather(vector, lambda _: all(vector.phases()[member] is Phase.IDLE for member in members))
    for member in members:
        vector.reset(member, seed=member)
    gather(vector, lambda events: {event.member for event in events} == set(members))


def test_members_are_stepped_to_the_end_of_their_episodes(tmp_path: Path) -> None:
    with sessions(2, tmp_path) as vector:
        spaces = vector.spaces(30.0, lambda: False)
        assert spaces is not None
        observation_space, action_space = spaces
        assert (observation_space.shape, action_space.shape) == ((2,), (2,))
        begin(vector, 0, 1)
        assert vector.phases() == [Phase.READY, Phase.READY]
        for _ in range(3):
            vector.act(0, ACTION)
            vector.act(1, -ACTION)
            moved = gather(vector, lambda events: len(events) == 2)
        by_member = {event.member: event for event in moved if isinstance(event, Moved)}
        assert (by_member[0].reward, by_member[1].reward) == (0.5, -0.5)
        assert by_member[0].truncated
        assert vector.phases() == [Phase.IDLE, Phase.IDLE]


def test_the_same_seed_begins_the_same_episode(tmp_path: Path) -> None:
    with sessions(2, tmp_path) as vector:
        gather(vector, lambda _: vector.phases() == [Phase.IDLE, Phase.IDLE])
        vector.reset(0, seed=7)
        vector.reset(1, seed=7)
        one, two = gather(vector, lambda events: len(events) == 2)
        np.testing.assert_array_equal(one.observation, two.observation)


def test_a_hanging_member_holds_up_nobody(tmp_path: Path) -> None:
    marker = str(tmp_path / "marker")
    with sessions(2, tmp_path, "OnceOnly", marker=marker, fault="hang", length=1000) as vector:
        begin(vector, 0, 1)
        for member in (0, 1):
            vector.act(member, ACTION)
        gather(vector, lambda events: len(events) == 2)
        vector.act(0, ACTION)
        wait_until(lambda: Path(marker).exists())
        for _ in range(20):
            vector.act(1, ACTION)
            assert [event.member for event in gather(vector, lambda events: len(events) == 1)] == [1]
        assert vector.phases()[0] is Phase.STEPPING


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("abort", "ended: signal 6"), ("hang", "no reply within 0.5 s"), ("raise", "KeyError: 'lane 7'")],
)
def test_a_lost_member_gives_a_truncated_step_and_goes_on(tmp_path: Path, fault: str, cause: str) -> None:
    with sessions(
        1, tmp_path, "OnceOnly", reply_within_s=0.5, marker=str(tmp_path / "marker"), fault=fault
    ) as vector:
        begin(vector, 0)
        vector.act(0, ACTION)
        (before,) = gather(vector, lambda events: len(events) == 1)
        vector.act(0, ACTION)
        (lost,) = gather(vector, lambda events: len(events) == 1)
        assert isinstance(lost, Moved)
        assert (lost.reward, lost.terminated, lost.truncated) == (0.0, False, True)
        np.testing.assert_array_equal(lost.observation, before.observation)
        sim_lost = lost.info["sim_lost"]
        assert cause in sim_lost["cause"]
        assert sim_lost["server"] == "127.0.0.1:1"
        assert 0.0 < sim_lost["recovery_s"] < 30.0
        assert vector.losses == 1
        begin(vector, 0)
        vector.act(0, ACTION)
        gather(vector, lambda events: len(events) == 1)


def host_of(vector: Members) -> int:
    """The process of the only member's env host."""
    return next(p.pid for p in psutil.Process().children() if "carlad.session" in p.cmdline())


def test_a_host_that_dies_is_noticed_while_the_member_waits(tmp_path: Path) -> None:
    with sessions(1, tmp_path) as vector:
        begin(vector, 0)
        os.kill(host_of(vector), signal.SIGKILL)
        gather(vector, lambda _: vector.losses == 1)
        vector.act(0, ACTION)  # the learner does not know yet
        (lost,) = gather(vector, lambda events: len(events) == 1)
        assert isinstance(lost, Moved)
        assert "signal 9" in lost.info["sim_lost"]["cause"]


def test_a_member_that_is_lost_between_episodes_needs_no_truncation(tmp_path: Path) -> None:
    with sessions(1, tmp_path) as vector:
        wait_for(vector, Phase.IDLE)
        os.kill(host_of(vector), signal.SIGKILL)
        gather(vector, lambda _: vector.losses == 1)
        wait_for(vector, Phase.IDLE)


def test_a_member_without_a_server_waits_while_the_other_works(tmp_path: Path) -> None:
    with sessions(2, tmp_path, servers=threading.Semaphore(1)) as vector:
        vector.spaces(30.0, lambda: False)
        wait_until(lambda: [*vector.events(0.05), vector.phases()][-1].count(Phase.IDLE) == 1)
        begin(vector, vector.phases().index(Phase.IDLE))
        assert vector.phases().count(Phase.OPENING) == 1


def test_an_environment_that_always_fails_ends_the_run_with_its_words(tmp_path: Path) -> None:
    with sessions(1, tmp_path, "Failing") as vector:
        for _ in range(2):
            _fail(vector)
        with pytest.raises(EnvironmentFailedError, match="lane 7"):
            _fail(vector)


def test_what_keeps_all_members_from_starting_is_raised(tmp_path: Path) -> None:
    with (
        sessions(2, tmp_path, lenght=3) as vector,
        pytest.raises(EnvironmentFailedError, match="unexpected keyword argument 'lenght'"),
    ):
        vector.spaces(30.0, lambda: False)


def test_a_fleet_without_a_free_server_is_waited_for_and_then_named(tmp_path: Path) -> None:
    with sessions(2, tmp_path, servers=threading.Semaphore(0)) as vector:
        assert vector.spaces(30.0, lambda: vector.phases() == [Phase.OPENING, Phase.OPENING]) is None
        with pytest.raises(WaitedInVainError, match="no server came free"):
            vector.spaces(0.5, lambda: False)


def test_an_action_that_is_none_is_the_callers_error(tmp_path: Path) -> None:
    with sessions(1, tmp_path) as vector:
        begin(vector, 0)
        vector.act(0, np.array([np.nan, 0.0], np.float32))
        with pytest.raises(ProtocolError, match="NaN"):
            gather(vector, lambda events: bool(events))


def test_closing_does_not_wait_for_a_host_that_is_starting_or_a_server_that_is_not_there(
    tmp_path: Path,
) -> None:
    with sessions(3, tmp_path, servers=threading.Semaphore(1)):
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 4.0


def test_telemetry_stays_where_it_was_when_a_session_is_replaced(tmp_path: Path) -> None:
    with sessions(1, tmp_path, "Watched", length=1000) as vector:
        wait_for(vector, Phase.IDLE)
        viewer = Subscriber(str(vector.telemetry[0]))
        try:
            for _ in range(2):
                begin(vector, 0)
                wait_until(lambda: _stepped(vector) and viewer.newest(0.05) is not None)
                os.kill(host_of(vector), signal.SIGKILL)
                gather(vector, lambda events: any(isinstance(e, Moved) and e.truncated for e in events))
        finally:
            viewer.close()


def _stepped(vector: Members) -> bool:
    vector.act(0, ACTION)
    return bool(gather(vector, lambda events: len(events) == 1))


def _fail(vector: Members) -> None:
    begin(vector, 0)
    vector.act(0, ACTION)
    gather(vector, lambda events: bool(events))

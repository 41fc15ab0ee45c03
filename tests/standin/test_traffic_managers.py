"""Guard and heal of the client's Traffic Manager thread: the decisions, and the call on a real socket."""

from __future__ import annotations

import socket

import msgpack
import msgspec
import pytest

from carlad.standin.traffic_managers import (
    CATCH_S,
    GRACE_S,
    GUARD_S,
    LOAD_S,
    OVERDUE_S,
    STEPS_MIN,
    LoadGuard,
    Step,
    TrafficManagers,
    heal,
)
from carlad.wire import types as t
from carlad.wire.msgpackrpc import Request
from tests.standin.process import StandIn, eventually, standin_process
from tests.standin.raw import raw_client


def stepped(count: int, at_s: float = 0.0) -> Step:
    """A connection that has followed `count` ticks with whole steps."""
    step = Step()
    for _ in range(count):
        step.saw("apply_batch", at_s)
        step.saw("get_episode_settings", at_s)
    return step


def test_tick_waits_for_the_settings_question_and_a_little_longer() -> None:
    step = Step()
    step.saw("apply_batch", 1.0)
    assert not step.settled(1.001, asked_s=1.0)
    step.saw("get_episode_settings", 1.002)
    assert not step.settled(1.002 + GRACE_S / 2, asked_s=1.0)
    assert step.settled(1.002 + GRACE_S * 2, asked_s=1.0)


def test_tick_does_not_wait_for_ever_for_the_question() -> None:
    step = Step()
    step.saw("apply_batch", 1.0)
    assert not step.settled(1.0 + GUARD_S / 2, asked_s=1.0)
    assert step.settled(1.0 + GUARD_S * 1.1, asked_s=1.0)


def test_a_step_that_does_not_follow_its_tick_is_missing_again_and_again_until_it_comes() -> None:
    step = stepped(STEPS_MIN)
    step.ticked(5.0)
    assert not step.hangs(5.0 + OVERDUE_S / 2)
    assert step.hangs(5.0 + OVERDUE_S * 1.1)
    assert not step.hangs(5.0 + OVERDUE_S * 2)
    assert step.hangs(5.0 + OVERDUE_S * 2.2)
    step.saw("apply_batch", 9.0)
    assert not step.hangs(99.0)


def test_a_step_that_is_at_work_is_not_missing() -> None:
    step = stepped(STEPS_MIN)
    step.ticked(5.0)
    step.saw("get_actor_bounding_box", 5.0 + OVERDUE_S * 0.9)
    assert not step.hangs(5.0 + OVERDUE_S * 1.1)
    assert step.hangs(5.0 + OVERDUE_S * 2)


def test_a_tick_waits_for_the_step_of_the_one_before() -> None:
    step = stepped(STEPS_MIN)
    step.ticked(5.0)
    assert not step.settled(5.0 + OVERDUE_S / 2, asked_s=5.0)
    step.saw("apply_batch", 5.1)
    step.saw("get_episode_settings", 5.1)
    assert step.settled(5.2, asked_s=5.0)


def test_who_follows_ticks_no_longer_is_waited_for_once() -> None:
    step = stepped(STEPS_MIN)
    step.ticked(5.0)
    assert step.settled(5.0 + OVERDUE_S * 1.1, asked_s=5.0)
    step.ticked(7.0)
    assert step.settled(7.0, asked_s=7.0)


def test_a_step_in_time_is_not_missing() -> None:
    step = stepped(STEPS_MIN)
    step.ticked(5.0)
    step.saw("apply_batch", 5.1)
    assert not step.hangs(6.0)


def test_the_first_step_is_missed_too() -> None:
    step = Step()
    step.ticked(5.0)
    assert step.settled(5.1, asked_s=5.1)
    assert step.hangs(5.0 + OVERDUE_S * 1.1)


def test_who_runs_freely_is_not_missed_though_no_step_comes() -> None:
    step = Step()
    step.ticked(5.0)
    step.saw("get_episode_settings", 5.0 + OVERDUE_S * 0.9)
    assert not step.hangs(5.0 + OVERDUE_S * 1.1)


def test_ports_belong_to_the_connection_that_registered_them() -> None:
    managers = TrafficManagers()
    assert managers.add(8000, "10.0.0.1", owner=1)
    assert not managers.add(8000, "10.0.0.2", owner=2)
    assert managers.add(8001, "10.0.0.2", owner=2)
    assert managers.host(8000) == "10.0.0.1"
    managers.remove_owner(1)
    assert managers.host(8000) is None
    assert managers.ports_of(2) == [8001]
    managers.remove(8001)
    assert not managers


def test_a_client_without_a_route_registers_the_port_that_it_asked_about() -> None:
    managers = TrafficManagers()
    assert not managers.is_running(8000, owner=1)
    assert not managers.is_running(8100, owner=2)
    assert managers.add(0, "127.0.0.1", owner=1)
    assert managers.ports_of(1) == [8000]
    assert managers.is_running(8000, owner=2)


def test_heal_wakes_by_leaving_and_entering_synchronous_mode() -> None:
    with socket.create_server(("127.0.0.1", 0)) as manager:
        manager.settimeout(5.0)
        heal("127.0.0.1", [manager.getsockname()[1]])
        assert calls_received(manager) == [
            ("set_synchronous_mode", [False]),
            ("set_synchronous_mode", [True]),
        ]


def test_heal_of_a_port_that_is_gone_does_no_harm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as manager:
        gone, alive = 1, manager.getsockname()[1]
        manager.settimeout(5.0)
        heal("127.0.0.1", [gone, alive])
        assert len(calls_received(manager)) == 2


def test_a_traffic_manager_that_cannot_be_reached_is_told_about(caplog: pytest.LogCaptureFixture) -> None:
    heal("127.0.0.1", [1])
    eventually(lambda: "the Traffic Manager at 127.0.0.1:1 cannot be reached" in caplog.text)


@pytest.mark.parametrize("has_route", [True, False])
def test_server_wakes_a_traffic_manager_that_misses_its_step(has_route: bool) -> None:
    with standin_process() as server, socket.create_server(("127.0.0.1", 0)) as manager:
        manager.settimeout(5.0)
        with raw_client(server.rpc_port) as client:
            client.call("set_episode_settings", t.EpisodeSettings(synchronous_mode=True))
            port = manager.getsockname()[1]
            client.call("is_traffic_manager_running", port)
            client.call("add_traffic_manager_running", ("192.0.2.1", port) if has_route else ("", 0))
            for _ in range(STEPS_MIN + 1):
                client.call("tick_cue")
                client.call("apply_batch", [], False)
                client.call("get_episode_settings")
            client.call("tick_cue")
            assert len(calls_received(manager)) == 2


@pytest.mark.parametrize(
    "order", [("get_episode_settings", "tick_cue"), ("tick_cue", "get_episode_settings")]
)
def test_the_settings_question_may_overtake_a_tick_that_waits_for_it(
    server: StandIn, order: tuple[str, str]
) -> None:
    with raw_client(server.rpc_port) as client:
        client.call("set_episode_settings", t.EpisodeSettings(synchronous_mode=True))
        client.call("add_traffic_manager_running", ("127.0.0.1", 8000))
        client.call("apply_batch", [], False)
        sent = {client.send(name): name for name in order}
        answered = [sent[client.receive().msgid] for _ in order]
        assert answered == ["get_episode_settings", "tick_cue"]
        client.call("set_episode_settings", t.EpisodeSettings())


def calls_received(manager: socket.socket) -> list[tuple[str, list[bool]]]:
    """The two calls of one visit, each answered."""
    visitor, _address = manager.accept()
    received, unpacker = [], msgpack.Unpacker()
    with visitor:
        while len(received) < 2:
            unpacker.feed(visitor.recv(1000))
            for kind, msgid, name, arguments in unpacker:
                assert kind == 0
                received.append((name, arguments))
                visitor.sendall(msgpack.packb([1, msgid, None, None]))
    return received


# --- while a map is loaded -----------------------------------------------------------------------------


def call(name: str, msgid: int = 1) -> Request:
    return Request(msgid, name, msgspec.Raw(b"\x90"))


def test_a_load_waits_until_the_thread_waits() -> None:
    guard = LoadGuard()
    assert guard.is_settled(0.0)
    guard.begin(0.0)
    assert not guard.is_settled(0.1)
    assert not guard.catches(call("apply_batch"), 0.1)
    assert guard.catches(call("get_episode_settings"), 0.1)
    assert guard.is_settled(0.1)


def test_a_load_waits_for_a_silent_thread_for_a_while_only() -> None:
    guard = LoadGuard()
    guard.begin(0.0)
    assert guard.is_settled(CATCH_S + 0.1)


def test_the_thread_is_answered_once_the_client_has_its_new_episode() -> None:
    guard = LoadGuard()
    guard.begin(0.0)
    questions = [call("get_episode_settings", number) for number in (1, 2)]
    assert all(guard.catches(question, 0.1) for question in questions)
    assert not guard.catches(call("get_episode_info"), 0.2)
    assert guard.released() == []
    assert not guard.catches(call("get_sensor_token"), 0.3)
    assert not guard.active
    assert guard.released() == questions[::-1]
    assert guard.released() == []


def test_a_client_that_never_asks_for_its_episode_is_answered_in_the_end() -> None:
    guard = LoadGuard()
    guard.begin(0.0)
    assert guard.catches(call("get_episode_settings"), 0.1)
    assert not guard.catches(call("get_episode_settings"), LOAD_S + 0.1)
    assert len(guard.released()) == 1

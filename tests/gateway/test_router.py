"""The gateway as its clients meet it: raw frames in, frames out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carlad.gateway import requests
from carlad.messages import (
    PROTOCOL_VERSION,
    REQUEST_BYTES_MAX,
    Events,
    EventsQuery,
    Granted,
    LogLines,
    LogsQuery,
    Queued,
    Refused,
    Reply,
    Request,
    RequestBody,
    Status,
    StatusQuery,
)
from tests.broker.slots import acquire
from tests.gateway.daemons import FakeDaemon, fake_daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon() as running:
        yield running


@pytest.fixture
def dealer(daemon: FakeDaemon) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(daemon.endpoint)
    yield socket
    context.destroy(linger=0)


def answer(dealer: zmq.Socket[bytes]) -> Reply:
    assert dealer.poll(5000), "no answer"
    (payload,) = dealer.recv_multipart()
    return msgspec.msgpack.decode(payload, type=Reply)


def ask(dealer: zmq.Socket[bytes], body: RequestBody, request_id: str = "a request") -> Reply:
    request = Request(version=PROTOCOL_VERSION, request_id=request_id, body=body)
    dealer.send(msgspec.msgpack.encode(request))
    return answer(dealer)


def test_status_is_answered_with_the_request_s_own_id(dealer: zmq.Socket[bytes]) -> None:
    reply = ask(dealer, StatusQuery(), "x" * 128)
    assert isinstance(reply.body, Status)
    assert reply.request_id == "x" * 128


def packed(**fields: Any) -> bytes:
    request = {"version": PROTOCOL_VERSION, "request_id": "a", "body": {"type": "StatusQuery"}}
    return msgspec.msgpack.encode({**request, **fields})


@pytest.mark.parametrize(
    ("payload", "request_id", "reason"),
    [
        (b"", "", "truncated"),
        (b"\xc1", "", "malformed"),
        (b"garbage", "", "Expected `object`"),
        (b"\x91" * 5000, "", ""),
        (msgspec.msgpack.encode([1, 2, 3]), "", "Expected `object`"),
        (packed()[:-1], "", "truncated"),
        (packed(version=2), "a", "protocol version 2: this daemon speaks 1"),
        (packed(version=2, more="fields"), "a", "protocol version 2"),
        (packed(more=1), "a", "unknown field `more`"),
        (packed(body={"type": "Fly"}), "a", "Invalid value 'Fly'"),
        (packed(body={"type": "StatusQuery", "x": 1}), "a", "unknown field `x`"),
        (packed(body={"type": "Renew", "lease_id": 5}), "a", "Expected `str`, got `int`"),
        (packed(body={"type": "Renew", "lease_id": "x" * 129}), "a", "length <= 128"),
        (packed(body={"type": "LogsQuery", "slot": 0, "lines": 10**9}), "a", "<= 10000"),
        (packed(request_id=""), "", "length >= 1"),
        (packed(request_id=b"\xff"), "", ""),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(
    dealer: zmq.Socket[bytes], payload: bytes, request_id: str, reason: str
) -> None:
    dealer.send(payload)
    reply = answer(dealer)
    assert isinstance(reply.body, Refused)
    assert (reply.body.code, reply.request_id) == ("bad-request", request_id)
    assert reason in reply.body.reason
    assert isinstance(ask(dealer, StatusQuery()).body, Status)


def test_a_request_of_several_frames_is_refused(dealer: zmq.Socket[bytes]) -> None:
    dealer.send_multipart([packed(), b"more"])
    assert "2 frames" in str(answer(dealer).body)


def test_who_sends_too_much_is_cut_off_and_others_are_not(
    daemon: FakeDaemon, dealer: zmq.Socket[bytes]
) -> None:
    ask(dealer, StatusQuery())
    with zmq.Context() as context, context.socket(zmq.DEALER) as other:
        other.connect(daemon.endpoint)
        other.send(bytes(REQUEST_BYTES_MAX + 1))
        assert not other.poll(200)
        other.close(linger=0)
    assert isinstance(ask(dealer, StatusQuery()).body, Status)


def test_who_waits_is_told_so_and_then_answered(dealer: zmq.Socket[bytes]) -> None:
    first = ask(dealer, acquire(map="Town02", wait_s=0.0), "first")
    assert first.body == Queued(position=0, waiting=1, loading="Town02")
    granted = answer(dealer)
    assert isinstance(granted.body, Granted)
    assert granted.body.map == "Town02"


def test_a_request_that_is_sent_again_is_answered_once_more_with_the_same(dealer: zmq.Socket[bytes]) -> None:
    once = ask(dealer, acquire(), "the same")
    assert ask(dealer, acquire(), "the same") == once


def test_many_clients_at_once_are_all_answered(daemon: FakeDaemon) -> None:
    answered = []

    def client() -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.connect(daemon.endpoint)
            for number in range(20):
                reply = ask(dealer, StatusQuery(), str(number))
                answered.append(reply.request_id == str(number))

    threads = [threading.Thread(target=client) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered == [True] * 200


@pytest.mark.parametrize("slot", [-1, 2, 10**18])
def test_a_slot_that_is_not_there_has_no_log(dealer: zmq.Socket[bytes], slot: int) -> None:
    reply = ask(dealer, LogsQuery(slot=slot)).body
    assert isinstance(reply, Refused)
    assert reply.code == "no-such-slot"
    assert "slots are 0 to 1" in reply.reason


def test_log_lines_are_the_last_ones(dealer: zmq.Socket[bytes]) -> None:
    told = LogLines(slot=0, lines=("line 0", "line 1"), place="2")
    assert ask(dealer, LogsQuery(slot=0, lines=2)).body == told


def test_events_are_numbered_and_asked_for_from_a_number_on(dealer: zmq.Socket[bytes]) -> None:
    ask(dealer, acquire(), "for the events")
    events = ask(dealer, EventsQuery()).body
    assert isinstance(events, Events)
    numbers = [notice.number for notice in events.notices]
    assert numbers == list(range(1, len(numbers) + 1))
    newest = ask(dealer, EventsQuery(after=numbers[-2])).body
    assert isinstance(newest, Events)
    assert [notice.number for notice in newest.notices] == numbers[-1:]
    restarted = ask(dealer, EventsQuery(after=10**9)).body
    assert restarted == events


def test_a_refusal_carries_no_more_of_a_request_id_than_is_allowed() -> None:
    with pytest.raises(requests.UnreadableError) as caught:
        requests.read([packed(request_id="x" * 1000)])
    assert len(caught.value.request_id) == 128


requests_in_all_shapes = st.one_of(
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.builds(
        lambda at, byte: [packed()[:at] + bytes([byte]) + packed()[at + 1 :]],
        st.integers(0, len(packed()) - 1),
        st.integers(0, 255),
    ),
    st.builds(lambda version: [packed(version=version)], st.integers(-(2**63), 2**64 - 1)),
    st.builds(
        lambda name, value: [packed(**{name: value})],
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=10) | st.binary(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
        ),
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=requests_in_all_shapes)
def test_whatever_is_sent_gets_one_answer(dealer: zmq.Socket[bytes], frames: list[bytes]) -> None:
    dealer.send_multipart(frames)
    answer(dealer)
    assert isinstance(ask(dealer, StatusQuery(), "still there").body, Status)


def test_a_message_of_very_many_frames_is_refused_and_not_kept(dealer: zmq.Socket[bytes]) -> None:
    dealer.send_multipart([b"x"] * 20_000)
    assert "20000 frames" in str(answer(dealer).body)

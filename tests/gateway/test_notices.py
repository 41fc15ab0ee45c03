"""Notices: numbered, kept for a while, published without ever waiting."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
import zmq

from carlad.gateway.notices import KEPT_MAX, Notices
from carlad.messages import Notice


@pytest.fixture
def publisher() -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        yield socket
        socket.close(linger=0)


def test_the_newest_notices_are_kept_and_the_oldest_number_tells_of_a_gap(
    publisher: zmq.Socket[bytes],
) -> None:
    notices = Notices(publisher)
    for _ in range(KEPT_MAX + 10):
        notices.publish("slot.ready", slot=1)
    events = notices.since(0)
    assert [n.number for n in events.notices] == list(range(11, KEPT_MAX + 11))
    assert events.oldest == 11


@pytest.mark.parametrize(
    ("after", "expected"), [(0, [1, 2, 3]), (2, [3]), (3, []), (99, [1, 2, 3]), (-5, [1, 2, 3])]
)
def test_since_a_number_that_was_not_reached_yet_means_all(
    publisher: zmq.Socket[bytes], after: int, expected: list[int]
) -> None:
    notices = Notices(publisher)
    for _ in range(3):
        notices.publish("slot.ready")
    assert [n.number for n in notices.since(after).notices] == expected


def test_a_number_of_another_run_counts_for_nothing(publisher: zmq.Socket[bytes]) -> None:
    notices = Notices(publisher)
    for _ in range(3):
        notices.publish("slot.ready")
    assert [n.number for n in notices.since(2, notices.run).notices] == [3]
    assert [n.number for n in notices.since(2, Notices(publisher).run).notices] == [1, 2, 3]


def test_before_the_first_notice_there_is_none(publisher: zmq.Socket[bytes]) -> None:
    assert Notices(publisher).since(0).oldest == 1


def test_a_subscriber_that_does_not_read_holds_nobody_up() -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, context.socket(zmq.SUB) as idle:
        publisher.set_hwm(10)
        idle.set_hwm(10)
        idle.subscribe(b"slot.")
        idle.connect(f"tcp://127.0.0.1:{publisher.bind_to_random_port('tcp://127.0.0.1', 27_500, 27_999)}")
        assert publisher.poll(5000), "no subscription"
        notices = Notices(publisher)
        for _ in range(20_000):
            notices.publish("slot.ready", reason="x" * 100)
        assert idle.poll(5000)
        topic, payload = idle.recv_multipart()
        assert topic == b"slot.ready"
        assert msgspec.msgpack.decode(payload, type=Notice).number == 1
        publisher.close(linger=0)

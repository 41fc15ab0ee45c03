"""ZeroMQ under trio: nothing is lost, nothing hangs, nothing spins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
import trio
import trio.testing
import zmq

from carlad.gateway.zmq_socket import ZmqSocket


@contextmanager
def pair(hwm: int) -> Iterator[tuple[ZmqSocket, ZmqSocket]]:
    """Two connected sockets with short queues."""
    context = zmq.Context()
    ends = [context.socket(zmq.DEALER), context.socket(zmq.DEALER)]
    for end in ends:
        end.set_hwm(hwm)
    port = ends[0].bind_to_random_port("tcp://127.0.0.1")
    ends[1].connect(f"tcp://127.0.0.1:{port}")
    sockets = [ZmqSocket(end) for end in ends]
    try:
        yield sockets[0], sockets[1]
    finally:
        for socket in sockets:
            socket.close(linger_ms=0)
        context.term()


def test_every_message_arrives_once_and_in_order_through_short_queues_and_cancellations() -> None:
    count, chance, cancelled = 4000, Random(7), [0]

    async def send_all(socket: ZmqSocket) -> None:
        for number in range(count):
            while True:
                with trio.move_on_after(chance.choice([0.0, 0.0002, 1.0])):
                    await socket.send([b"%d" % number])
                    break
                cancelled[0] += 1

    async def receive_all(socket: ZmqSocket) -> None:
        numbers: list[int] = []
        while len(numbers) < count:
            with trio.move_on_after(chance.choice([0.0, 0.0002, 1.0])):
                numbers.append(int((await socket.receive())[0]))
                continue
            cancelled[0] += 1
        assert numbers == list(range(count))

    async def main() -> None:
        with pair(hwm=5) as (left, right), trio.fail_after(20):
            async with trio.open_nursery() as pumps:
                pumps.start_soon(left.pump)
                pumps.start_soon(right.pump)
                async with trio.open_nursery() as nursery:  # full duplex
                    for ends in ((left, right), (right, left)):
                        nursery.start_soon(send_all, ends[0])
                        nursery.start_soon(receive_all, ends[1])
                pumps.cancel_scope.cancel()

    trio.run(main)
    assert cancelled[0] > 1000


def test_a_sender_waits_while_the_queues_are_full_and_goes_on_when_they_empty() -> None:
    async def main() -> None:
        with pair(hwm=1) as (left, right), trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.pump)
                nursery.start_soon(right.pump)
                frame, sent = bytes(1 << 20), 0
                with trio.move_on_after(0.3):
                    while True:
                        await left.send([frame])
                        sent += 1
                with trio.move_on_after(0.3) as patience:  # for a further one; the kernel may yet make room
                    await left.send([b"further"])
                nursery.start_soon(left.send, [b"last"])
                for _ in range(sent):
                    assert await right.receive() == [frame]
                if not patience.cancelled_caught:
                    assert await right.receive() == [b"further"]
                assert await right.receive() == [b"last"]
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_message_that_nobody_receives_costs_no_processor_time() -> None:
    async def main() -> None:
        with pair(hwm=5) as (left, right), trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.pump)
                nursery.start_soon(right.pump)
                await left.send([b"hello"])
                before_s = time.process_time()
                await trio.sleep(0.3)
                assert time.process_time() - before_s < 0.15
                assert await right.receive() == [b"hello"]
                nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("waiters", [1, 5])
def test_who_is_cancelled_while_waiting_takes_no_message_from_others(waiters: int) -> None:
    async def main() -> None:
        received: list[bytes] = []

        async def receive(socket: ZmqSocket) -> None:
            received.extend(await socket.receive())

        with pair(hwm=5) as (left, right), trio.fail_after(20):
            async with trio.open_nursery() as pumps:
                pumps.start_soon(left.pump)
                pumps.start_soon(right.pump)
                async with trio.open_nursery() as nursery:
                    for _ in range(waiters):
                        nursery.start_soon(receive, right)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                await left.send([b"hello"])
                await receive(right)
                pumps.cancel_scope.cancel()
        assert received == [b"hello"]

    trio.run(main)

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq

from carlad.telemetry import Array, Bundle, Lane, Lanes, Publisher, Subscriber, TelemetryError
from carlad.telemetry.bundle import NUMBERS
from carlad.telemetry.topics import bundles_topic
from tests.telemetry.watching import bundle_of, wait_until

News = tuple[Bundle, dict[str, Array]]

IMAGE = np.zeros((240, 320, 3), np.uint8)
LANES = Lanes("Grid", [Lane(np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32))])
WATCH = """
import sys
from carlad.telemetry import Subscriber
subscriber = Subscriber(sys.argv[1], ("map", "camera"))
while (news := subscriber.newest(10.0)) is not None:
    print(news[0].tick, flush=True)
"""


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/t"


@pytest.fixture
def publisher(endpoint: str) -> Iterator[Publisher]:
    with closing(Publisher(endpoint)) as publisher:
        yield publisher


@pytest.fixture
def viewer(endpoint: str) -> Iterator["subprocess.Popen[str]"]:
    """A viewer in a process of its own that prints the ticks it sees."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, endpoint], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_nothing_is_wanted_while_nobody_watches(publisher: Publisher) -> None:
    publisher.publish(bundle_of(1), {"camera": IMAGE})
    assert publisher.wanted() == frozenset()


def test_a_viewers_channels_are_wanted_while_it_is_there(publisher: Publisher) -> None:
    with closing(Subscriber(publisher.endpoint, ("map", "camera"))):
        wait_until(lambda: publisher.wanted() == {"bundle", "camera"})
    wait_until(lambda: publisher.wanted() == frozenset())


def test_a_step_is_due_while_somebody_watches_and_not_more_often_than_a_viewer_draws(
    publisher: Publisher,
) -> None:
    assert not publisher.due()
    with closing(Subscriber(publisher.endpoint, ())):
        wait_until(publisher.due)
        publisher.publish(bundle_of(1))
        assert not publisher.due()
        wait_until(publisher.due, within_s=1.0)


def test_what_another_viewer_wants_stays_when_one_leaves(publisher: Publisher) -> None:
    with closing(Subscriber(publisher.endpoint, ())):
        with closing(Subscriber(publisher.endpoint, ("camera",))):
            wait_until(lambda: publisher.wanted() == {"bundle", "camera"})
        wait_until(lambda: publisher.wanted() == {"bundle"})


def test_each_viewer_gets_the_arrays_that_it_subscribed(publisher: Publisher) -> None:
    with (
        closing(Subscriber(publisher.endpoint, ())) as plain,
        closing(Subscriber(publisher.endpoint, ("camera", "lidar"))) as with_arrays,
    ):
        for subscriber, names in ((plain, set()), (with_arrays, {"camera"})):
            _, arrays = news_of(publisher, subscriber, {"camera": IMAGE, "semantic": IMAGE})
            assert set(arrays) == names


def test_the_newest_tick_wins_over_those_not_read(publisher: Publisher) -> None:
    with closing(Subscriber(publisher.endpoint, ())) as subscriber:
        news_of(publisher, subscriber)
        for tick in range(1000):
            publisher.publish(bundle_of(tick), to_all=True)
        read: list[int] = []

        def newest_seen() -> bool:
            publisher.publish(bundle_of(1000))
            if news := subscriber.newest(0.01):
                read.append(news[0].tick)
            return read[-1:] == [1000]

        wait_until(newest_seen)
        assert len(read) < 10
        assert read == sorted(read)


def test_nothing_new_is_none_within_the_time_given(publisher: Publisher) -> None:
    with closing(Subscriber(publisher.endpoint, ())) as subscriber:
        assert subscriber.newest() is None
        assert subscriber.newest(0.05) is None


def test_the_map_is_sent_to_each_new_viewer_and_when_it_changes(publisher: Publisher) -> None:
    publisher.set_lanes(LANES)
    with closing(Subscriber(publisher.endpoint)) as first:
        wait_until(lambda: publisher.wanted() and first.newest() is None and first.lanes)
        with closing(Subscriber(publisher.endpoint)) as second:
            wait_until(lambda: publisher.wanted() and second.newest() is None and second.lanes)
            publisher.set_lanes(Lanes("Another", LANES.lanes))
            for subscriber in (first, second):
                wait_until(
                    lambda viewer=subscriber: (
                        publisher.wanted() and viewer.newest() is None and viewer.lanes.map == "Another"
                    )
                )


def test_a_killed_viewer_is_forgotten(publisher: Publisher, viewer: "subprocess.Popen[str]") -> None:
    wait_until(lambda: publisher.wanted(), within_s=20)
    viewer.send_signal(signal.SIGKILL)
    wait_until(lambda: publisher.wanted() == frozenset())


def test_a_viewer_that_stops_reading_costs_bounded_memory_and_then_sees_the_newest(
    publisher: Publisher, viewer: "subprocess.Popen[str]"
) -> None:
    wait_until(lambda: publisher.wanted(), within_s=20)
    viewer.send_signal(signal.SIGSTOP)
    before = psutil.Process().memory_info().rss
    for tick in range(500):
        publisher.publish(bundle_of(tick), {"camera": IMAGE}, to_all=True)
    assert psutil.Process().memory_info().rss - before < 30 * IMAGE.nbytes
    viewer.send_signal(signal.SIGCONT)
    assert viewer.stdout is not None
    seen = -1
    while seen < 1000:
        publisher.publish(bundle_of(1001), {"camera": IMAGE}, to_all=True)
        seen = int(viewer.stdout.readline())


def test_a_subscriber_finds_a_publisher_that_starts_later_or_again(endpoint: str) -> None:
    with closing(Subscriber(endpoint, ())) as subscriber:
        for _ in range(2):
            with closing(Publisher(endpoint)) as publisher:
                news_of(publisher, subscriber)


def test_a_socket_file_left_by_a_killed_publisher_is_taken_over(endpoint: str, tmp_path: Path) -> None:
    leave = f"import os; from carlad.telemetry import Publisher; p = Publisher({endpoint!r}); os._exit(0)"
    subprocess.run([sys.executable, "-c", leave], check=True)
    assert (tmp_path / "t").exists()
    with closing(Publisher(endpoint)) as publisher, closing(Subscriber(endpoint, ())) as subscriber:
        news_of(publisher, subscriber)


def test_it_works_over_tcp() -> None:
    with (
        closing(Publisher("tcp://127.0.0.1:24001")) as publisher,
        closing(Subscriber(publisher.endpoint, ("camera",))) as subscriber,
    ):
        _, arrays = news_of(publisher, subscriber, {"camera": IMAGE})
        assert arrays["camera"].shape == IMAGE.shape


def test_closing_removes_the_socket_file(endpoint: str, tmp_path: Path) -> None:
    publisher = Publisher(endpoint)
    assert (tmp_path / "t").exists()
    publisher.close()
    publisher.close()
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("bad", ["nonsense", "ipc:///no/such/directory/t", f"ipc:///tmp/{'x' * 200}"])
def test_an_endpoint_that_cannot_be_bound_is_a_clear_error(bad: str) -> None:
    with pytest.raises(TelemetryError, match="cannot publish telemetry at"):
        Publisher(bad)


def test_a_badly_written_endpoint_is_a_clear_error_for_viewers() -> None:
    with pytest.raises(TelemetryError, match="cannot read telemetry from nonsense"):
        Subscriber("nonsense")


def test_garbage_from_a_publisher_is_skipped_and_counted(endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.bind(endpoint)
        with closing(Subscriber(endpoint)) as subscriber:
            for _ in range(2):
                stranger.recv()
            topic = bundles_topic(NUMBERS, 30).encode() + b"\0"
            stranger.send_multipart([b"bundle\0", b"", b"not one frame"])  # not ours, so not even delivered
            for count, message in enumerate((topic, topic + b"junk", b"map\0" + os.urandom(50)), start=1):
                stranger.send(message)
                wait_until(lambda count=count: subscriber.newest() is None and subscriber.garbage == count)


def test_garbage_from_a_viewer_is_ignored(publisher: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(publisher.endpoint)
        for message in (b"", b"hello", b"\x01", b"\x01\xff\xfe\0", b"\x01no terminator", b"\x01UPPER\0"):
            stranger.send(message)
        for number in range(1000):
            stranger.send(f"\x01channel{number}@30\0".encode())
        wait_until(lambda: len(publisher.wanted()) == 16)
        assert publisher.ignored >= 5
    wait_until(lambda: not publisher.wanted())
    with closing(Subscriber(publisher.endpoint, ())) as subscriber:
        news_of(publisher, subscriber)


def test_bytes_that_are_no_zeromq_at_all_disturb_nobody() -> None:
    with (
        closing(Publisher("tcp://127.0.0.1:24002")) as publisher,
        socket.create_connection(("127.0.0.1", 24002)) as stranger,
        closing(Subscriber(publisher.endpoint, ())) as subscriber,
    ):
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        news_of(publisher, subscriber)


def news_of(publisher: Publisher, subscriber: Subscriber, arrays: dict[str, Array] | None = None) -> News:
    """Publish until the subscriber gets something, and return that."""
    found: list[News] = []

    def seen() -> bool:
        publisher.publish(bundle_of(0), arrays)
        found.extend(filter(None, [subscriber.newest(0.01)]))
        return bool(found)

    wait_until(seen)
    return found[0]

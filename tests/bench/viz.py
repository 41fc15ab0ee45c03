"""What watching costs the watched, and how fast a picture is there."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from statistics import median

import msgspec

from carlad.telemetry import Array, Publisher, Subscriber
from tests.bench.harness import Report, rate
from tests.viz.driving import bundle_at, camera_image, grid_lanes

PERIOD_S = 0.005  # 200 steps/s
STEPS = 300
BUNDLE = bundle_at(100)
WATCH = """
import sys
from carlad.telemetry import Subscriber
subscriber = Subscriber(sys.argv[1], sys.argv[2:])
while subscriber.newest(60.0) is not None:
    pass
"""


def main() -> None:
    report = Report("viz")
    with tempfile.TemporaryDirectory() as directory, closing(Publisher(f"ipc://{directory}/t")) as publisher:
        publisher.set_lanes(grid_lanes())
        _publishing(report, publisher)
        _attaching(report, publisher, directory)
    _drawing(report)
    report.write()


def _publishing(report: Report, publisher: Publisher) -> None:
    """CPU of the publishing process, its ZeroMQ thread included, beyond the same loop without publishing."""
    idle_s = _cpu_s(lambda _: None)
    for viewers in (0, 1, 3):
        with _watched(publisher, viewers):
            cpu_s = _cpu_s(lambda tick: _step(publisher, tick)) - idle_s
        against = "cpu-a-step-0-viewers" if viewers else None
        report.add(f"cpu-a-step-{viewers}-viewers", max(cpu_s, 0.0) / STEPS * 1e6, "µs", against)
    image = {"camera": camera_image(0).repeat(3, axis=0).repeat(3, axis=1)}
    with _watched(publisher, 1, "camera"):
        cpu_s = _cpu_s(lambda tick: _step(publisher, tick, image)) - idle_s
    report.add("cpu-a-step-1-viewer-480x360-camera", cpu_s / STEPS * 1e6, "µs", "cpu-a-step-1-viewers")


def _step(publisher: Publisher, tick: int, arrays: dict[str, Array] | None = None) -> None:
    if publisher.due():
        publisher.publish(msgspec.structs.replace(BUNDLE, tick=tick), arrays)


def _cpu_s(step: Callable[[int], None]) -> float:
    """CPU seconds of this process for so many paced steps."""
    started_s, next_s = time.process_time(), time.perf_counter()
    for tick in range(STEPS):
        step(tick)
        next_s += PERIOD_S
        time.sleep(max(0.0, next_s - time.perf_counter()))
    return time.process_time() - started_s


@contextmanager
def _watched(publisher: Publisher, viewers: int, *channels: str) -> Iterator[None]:
    command = [sys.executable, "-c", WATCH, publisher.endpoint, *channels]
    processes = [subprocess.Popen(command) for _ in range(viewers)]
    try:
        while viewers and not publisher.wanted():
            time.sleep(0.01)
        time.sleep(0.5)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
        while publisher.wanted():
            time.sleep(0.01)


def _attaching(report: Report, publisher: Publisher, directory: str) -> None:
    """From nothing to a bundle and the map, and to a picture in a file from a cold start."""
    report.add("attach-to-first-bundle-and-map", median(_attach_s(publisher) for _ in range(9)) * 1e3, "ms")
    report.add(
        "start-to-first-picture", median(_snapshot_s(publisher, directory) for _ in range(5)) * 1e3, "ms"
    )


def _attach_s(publisher: Publisher) -> float:
    started_s = time.perf_counter()
    with closing(Subscriber(publisher.endpoint)) as subscriber:
        seen = False
        while not (seen and subscriber.lanes):
            _step(publisher, 0)
            seen |= subscriber.newest(PERIOD_S) is not None
        return time.perf_counter() - started_s


def _snapshot_s(publisher: Publisher, directory: str) -> float:
    command = [
        sys.executable,
        "-m",
        "viz",
        "--telemetry",
        publisher.endpoint,
        "--snapshot",
        f"{directory}/p.png",
    ]
    started_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            _step(publisher, 0)
            time.sleep(PERIOD_S)
    assert process.returncode == 0
    return time.perf_counter() - started_s


def _drawing(report: Report) -> None:
    """Pictures a second while the view follows the car, without showing them."""
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    import pygame

    from viz.app import Picture
    from viz.source import Scene, Session, Signal

    pygame.font.init()
    lanes, bundles = grid_lanes(), itertools.cycle([bundle_at(tick) for tick in range(600)])
    session = Session("bench", "ipc:///nowhere")
    for size in ((800, 600), (1280, 720)):
        picture, surface = Picture(), pygame.Surface(size)
        scenes = (Scene(session, Signal.LIVE, 0.0, bundle, camera_image(0), lanes) for bundle in bundles)
        pictures = map(picture.draw, itertools.repeat(surface), scenes)
        report.add(f"pictures-{size[0]}x{size[1]}", rate(partial(next, pictures), 1.0), "1/s")


if __name__ == "__main__":
    main()

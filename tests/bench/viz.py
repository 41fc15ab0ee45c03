"""What watching costs the watched, and how fast a picture is there; what recording and replaying cost.

`one-viewer`: a real env host on a stand-in server, stepped as fast as it goes while 0, 1 and 3 viewers watch
in turn. On a machine whose cores are saturated the viewers themselves take steps away, so there
`publishers-share` tells: what publishing takes of the CPU time of an env host's work.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from carlad.recording import Reader, Recorder
from carlad.session.broadcast import Broadcast
from carlad.session.protocol import Stepped
from carlad.session.remote import RemoteEnv
from carlad.telemetry import Array, Frame, Publisher, Subscriber
from carlad.telemetry.bundle import NUMBERS
from carlad.telemetry.topics import RATE_MAX_HZ
from tests.bench.harness import Report, rate
from tests.trainer.standins import standin
from tests.viz.driving import arrays_at, bundle_at, camera_image, grid_lanes, sent
from trainer.env.route_env import RouteEnv
from trainer.sessions import ENVIRONMENT

PERIOD_S = 0.005  # 200 steps/s
STEPS = 300
ROUNDS, ROUND_S = 5, 1.5
WAIT_S = 60.0
BUNDLE = bundle_at(100)
ACTION = np.array([0.0, 0.3], np.float32)
WATCH = """
import sys
from carlad.telemetry import Subscriber
subscriber = Subscriber(sys.argv[1], sys.argv[2:])
while subscriber.newest(60.0) is not None:
    pass
"""


def main() -> None:
    report = Report("viz")
    with tempfile.TemporaryDirectory() as directory:
        _one_viewer(report, Path(directory))
        _publishers_share(report, Path(directory))
        with closing(Publisher(f"ipc://{directory}/t")) as publisher:
            publisher.set_lanes(grid_lanes())
            _publishing(report, publisher)
            _attaching(report, publisher, directory)
        _recording(report, Path(directory))
    _drawing(report)
    report.write()


# --- a session that is watched


def _one_viewer(report: Report, directory: Path) -> None:
    """Steps a second and the env host's CPU a step, with 0, 1 and 3 viewers alternating in one run."""
    speed, cpu = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    with standin() as server:
        env = RemoteEnv(ENVIRONMENT, directory)
        try:
            env.attach(server, {}, WAIT_S)
            env.reset(1, WAIT_S)
            _steps(env, 0.5)
            for viewers in (0, 1, 3) * ROUNDS:
                with _watching(env.telemetry, viewers):
                    _steps(env, 1.0 if viewers else 0.1)  # until they have attached
                    steps_per_s, cpu_s = _steps(env, ROUND_S)
                speed[viewers].append(steps_per_s)
                cpu[viewers].append(cpu_s)
        finally:
            env.close()
    report.add("steps-0-viewers", median(speed[0]), "1/s")
    report.add("one-viewer", median(speed[1]), "1/s", "steps-0-viewers")
    report.add("three-viewers", median(speed[3]), "1/s", "steps-0-viewers")
    report.add("host-cpu-0-viewers", median(cpu[0]) * 1e6, "µs/step")
    report.add("host-cpu-1-viewer", median(cpu[1]) * 1e6, "µs/step", "host-cpu-0-viewers")
    report.add("host-cpu-3-viewers", median(cpu[3]) * 1e6, "µs/step", "host-cpu-0-viewers")


def _publishers_share(report: Report, directory: Path) -> None:
    """What publishing takes of the CPU time of an env host's work, told by its own clocks: of the thread that
    steps, while it looks for viewers and makes bundles, and of ZeroMQ's threads. A difference between runs
    with and without viewers would be lost in the noise of a loaded machine."""
    with standin() as server, closing(Publisher(f"ipc://{directory}/share")) as publisher:
        env, broadcast = RouteEnv(), Broadcast(publisher, "bench")
        env.attach(server)
        broadcast.attached(env)
        env.reset(seed=1)
        broadcast.reset(env)
        shares, pictures = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
        for viewers in (0, 1, 3) * ROUNDS:
            with _watching(publisher.endpoint, viewers):
                _shared(env, broadcast, 1.0 if viewers else 0.1)
                share, rate_hz = _shared(env, broadcast, ROUND_S)
            shares[viewers].append(share)
            pictures[viewers].append(rate_hz)
        env.close()
    for viewers in (0, 1, 3):
        report.add(f"publishers-share-{viewers}-viewers", median(shares[viewers]) * 100, "% of CPU")
    report.add("pictures-a-second-1-viewer", median(pictures[1]), "1/s")


def _shared(env: RouteEnv, broadcast: Broadcast, seconds: float) -> tuple[float, float]:
    """Publishing's share of this process's CPU time, and how many bundles were made a second."""
    made, bundles = env.frame_bundle, 0

    def counted(channels: frozenset[str]) -> Frame:
        nonlocal bundles
        bundles += 1
        return made(channels)

    env.frame_bundle = counted  # type: ignore[method-assign]
    published_s, carried_s, cpu_s = 0.0, _zeromq_s(), time.process_time()
    started_s = time.perf_counter()
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        _, reward, terminated, truncated, info = env.step(ACTION)
        began_s = time.thread_time()
        broadcast.stepped(env, Stepped(reward, terminated, truncated, info))
        published_s += time.thread_time() - began_s
        if terminated or truncated:
            env.reset()
            broadcast.reset(env)
    env.frame_bundle = made  # type: ignore[method-assign]
    share = (published_s + _zeromq_s() - carried_s) / (time.process_time() - cpu_s)
    return share, bundles / elapsed_s


def _zeromq_s() -> float:
    """CPU seconds of this process's ZeroMQ threads so far."""
    tasks = Path("/proc/self/task").iterdir()
    of_zeromq = [task for task in tasks if (task / "comm").read_text().startswith("ZMQbg")]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in of_zeromq) / 1e9


def _steps(env: RemoteEnv, seconds: float) -> tuple[float, float]:
    """Steps a second, and CPU seconds a step of the env host, all its threads."""
    host = psutil.Process(env.pid)
    started_s, cpu_s, count = time.perf_counter(), _cpu_of(host), 0
    while (elapsed_s := time.perf_counter() - started_s) < seconds:
        _, _, terminated, truncated, _ = env.step(ACTION, WAIT_S)
        count += 1
        if terminated or truncated:
            env.reset(None, WAIT_S)
    return count / elapsed_s, (_cpu_of(host) - cpu_s) / count


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _watching(endpoint: str, viewers: int) -> Iterator[None]:
    command = [sys.executable, "-c", WATCH, endpoint, "map", *NUMBERS]
    processes = [subprocess.Popen(command) for _ in range(viewers)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


# --- publishing alone


def _publishing(report: Report, publisher: Publisher) -> None:
    """CPU of the publishing process, its ZeroMQ thread included, beyond the same loop without publishing."""
    idle_s = _cpu_s(lambda _: None)
    for viewers in (0, 1, 3):
        with _watched(publisher, viewers, *NUMBERS):
            cpu_s = _cpu_s(lambda tick: _step(publisher, tick)) - idle_s
        against = "cpu-a-step-0-viewers" if viewers else None
        report.add(f"cpu-a-step-{viewers}-viewers", max(cpu_s, 0.0) / STEPS * 1e6, "µs", against)
    per_publication_s = max(0.0, cpu_s) / (STEPS * PERIOD_S * RATE_MAX_HZ)
    report.add("cpu-of-a-core-3-viewers", per_publication_s * RATE_MAX_HZ * 100, "%")
    image = {"camera": camera_image(0).repeat(3, axis=0).repeat(3, axis=1)}
    with _watched(publisher, 1, "camera"):
        cpu_s = _cpu_s(lambda tick: _step(publisher, tick, image)) - idle_s
    report.add("cpu-a-step-1-viewer-480x360-camera", cpu_s / STEPS * 1e6, "µs", "cpu-a-step-1-viewers")


def _step(publisher: Publisher, tick: int, arrays: dict[str, Array] | None = None) -> None:
    if publisher.due():
        publisher.publish(sent(BUNDLE), arrays)


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


# --- attaching


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
    command = [sys.executable, "-m", "viz", "--telemetry", publisher.endpoint]
    started_s = time.perf_counter()
    with subprocess.Popen(
        [*command, "--snapshot", f"{directory}/p.png"], stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            _step(publisher, 0)
            time.sleep(PERIOD_S)
    assert process.returncode == 0
    return time.perf_counter() - started_s


# --- recordings and drawing


def _recording(report: Report, directory: Path) -> None:
    """A frame with an 800x600 image, a cloud, masks and boxes: written, and read again."""
    rng = np.random.default_rng(0)
    image = camera_image(0).repeat(5, axis=0).repeat(5, axis=1)
    noisy = (image.astype(int) + rng.integers(-8, 8, image.shape)).clip(0, 255).astype(np.uint8)
    frames = itertools.cycle(
        [Frame(bundle_at(tick), arrays_at(tick) | {"camera": noisy}) for tick in range(20)]
    )
    path = directory / "bench.mcap"
    with Recorder(path) as recorder:
        recorder.lanes(grid_lanes())
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        for frame in itertools.islice(frames, STEPS):
            recorder.frame(frame)
        cpu_s, wall_s = time.process_time() - started_cpu_s, time.perf_counter() - started_s
    report.add("record-a-frame-800x600", wall_s / STEPS * 1e3, "ms")
    report.add("record-a-frame-800x600-cpu", cpu_s / STEPS * 1e3, "ms", "record-a-frame-800x600")
    report.add("recorded-bytes-a-frame", path.stat().st_size / STEPS / 1e3, "kB")
    with Reader(path) as reader:
        numbers = itertools.cycle(range(STEPS))
        report.add("read-a-frame-800x600", 1e3 / rate(lambda: reader.frame(next(numbers)), 1.0), "ms")
    _replaying(report, path)


def _replaying(report: Report, path: Path) -> None:
    """Pictures a second from a recording, its images decoded and everything drawn."""
    pygame = _pygame()
    from viz.picture import Picture
    from viz.replay import Replay

    with closing(Replay(path)) as replay:
        picture, surface = Picture(), pygame.Surface((800, 600))
        replay.is_playing = False

        def next_picture() -> None:
            replay.go_to(
                0.0 if replay.number == len(replay.times_s) - 1 else replay.times_s[replay.number + 1]
            )
            replay.update(0.0)
            picture.draw(surface, replay.scene())

        report.add("replay-800x600", rate(next_picture, 1.5), "1/s")
        started_s = time.process_time()
        for _ in range(100):
            next_picture()
        report.add("replay-800x600-a-second-of-cpu", 100 / (time.process_time() - started_s), "1/s")


def _drawing(report: Report) -> None:
    """Pictures a second while the view follows the car, without showing them."""
    pygame = _pygame()
    from viz.picture import Picture
    from viz.scene import Scene, Session, Signal

    lanes = grid_lanes()
    session = Session("bench", "ipc:///nowhere")
    ticks = itertools.cycle([(bundle_at(tick), arrays_at(tick)) for tick in range(200)])
    for size in ((800, 600), (1280, 720)):
        picture, surface = Picture(), pygame.Surface(size)
        scenes = (Scene(session, Signal.LIVE, 0.0, bundle, arrays, lanes) for bundle, arrays in ticks)
        pictures = map(picture.draw, itertools.repeat(surface), scenes)
        report.add(f"pictures-{size[0]}x{size[1]}", rate(partial(next, pictures), 1.0), "1/s")


def _pygame():  # type: ignore[no-untyped-def]
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    import pygame

    pygame.font.init()
    return pygame


if __name__ == "__main__":
    main()

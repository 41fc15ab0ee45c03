"""`make bench NAME=session`: what an env host between environment and client costs.

step-vector: Route-v0 on a stand-in server, in process and through a host, in turns. step-image: an
environment that does nothing but show an 800x600 image, so that all of the difference is the way; a memcpy
of that image is measured beside it. The figures are medians of single steps.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np

from carlad.session.environment import Attachable, Server
from carlad.session.remote import RemoteEnv
from tests.bench.harness import Report
from tests.session.environments import Camera
from tests.trainer.standins import standin
from trainer.env.route_env import RouteEnv
from trainer.sessions import ENVIRONMENT

ROUNDS, ROUND_S = 4, 1.5
ACTION = np.array([0.0, 0.3], np.float32)
NO_SERVER = Server("127.0.0.1", 1, 8000)

Step = Callable[[], Any]


def main() -> None:
    report = Report("session")
    with standin() as one, standin() as other:
        _compare(report, "step-vector", RouteEnv(), one, ENVIRONMENT, other)
    camera = f"{Camera.__module__}:Camera"
    added_us = _compare(report, "step-image", Camera(10**9), NO_SERVER, camera, NO_SERVER, length=10**9)
    memcpy_us = _memcpy_us()
    report.add("memcpy of an image", memcpy_us, "us")
    report.add("step-image added beyond 1.5 memcpys", added_us - 1.5 * memcpy_us, "us")
    report.write()


def _compare(
    report: Report,
    case: str,
    local: gymnasium.Env[Any, Any],
    one: Server,
    env: str,
    other: Server,
    **config: int,
) -> float:
    """Microseconds that the host adds to a step."""
    with _local(local, one) as in_process, _remote(env, other, config) as through_host:
        samples: dict[str, list[float]] = {f"{case} in process": [], case: []}
        for _ in range(ROUNDS):
            samples[f"{case} in process"] += _durations_s(in_process)
            samples[case] += _durations_s(through_host)
    base_s, host_s = (median(durations) for durations in samples.values())
    report.add(f"{case} in process", 1 / base_s, "steps/s")
    report.add(case, 1 / host_s, "steps/s", f"{case} in process")
    report.add(f"{case} added", 1e6 * (host_s - base_s), "us")
    return 1e6 * (host_s - base_s)


def _durations_s(step: Step) -> list[float]:
    durations = []
    until = time.perf_counter() + ROUND_S
    while (started := time.perf_counter()) < until:
        step()
        durations.append(time.perf_counter() - started)
    return durations


@contextmanager
def _local(env: gymnasium.Env[Any, Any], server: Server) -> Iterator[Step]:
    if isinstance(env, Attachable):
        env.attach(server)
    try:
        yield _stepping(env.step, lambda: env.reset(seed=1))
    finally:
        env.close()


@contextmanager
def _remote(env: str, server: Server, config: dict[str, Any]) -> Iterator[Step]:
    with tempfile.TemporaryDirectory() as directory:
        remote = RemoteEnv(env, Path(directory))
        try:
            remote.attach(server, config, 60.0)
            yield _stepping(lambda action: remote.step(action, 60.0), lambda: remote.reset(1, 60.0))
        finally:
            remote.close()


def _stepping(step: Callable[[Any], Any], reset: Step) -> Step:
    reset()

    def once() -> Any:
        result = step(ACTION)
        if result[2] or result[3]:
            reset()
        return result

    return once


def _memcpy_us() -> float:
    source = np.ones((600, 800, 3), np.uint8)
    target = np.zeros_like(source)
    return 1e6 * median(_durations_s(lambda: np.copyto(target, source)))


if __name__ == "__main__":
    main()

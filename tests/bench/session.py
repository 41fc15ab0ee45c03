"""`make bench NAME=session`: what an env host between environment and client costs.

step-vector: Route-v0 on a stand-in server, in process and through a host, in turns. step-image: an
environment that does nothing but show an 800x600 image, so that all of the difference is the way; a memcpy
of that image is measured beside it. The figures are medians of single steps.

Below them is what any two Python processes pay that send each other as many bytes as a step-vector has: over
a Unix socket and over ZeroMQ, with nothing else to do; and over the Unix socket where each works for 50 us
before it answers, as processes do, so that the other has fallen asleep and its processor with it.

"awake": the same while no processor falls asleep, as beside a training that has work for all of them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import zmq

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
REQUEST, REPLY = bytes(60), bytes(400)  # about what a step-vector takes
WORK_S = 50e-6

Step = Callable[[], Any]


def main() -> None:
    report = Report("session")
    _add_steps(report, "")
    _add_floor(report)
    with _kept_awake():
        _add_steps(report, ", awake")
    report.write()


def _add_steps(report: Report, how: str) -> None:
    with standin() as one, standin() as other:
        _compare(report, f"step-vector{how}", RouteEnv(), one, ENVIRONMENT, other)
    camera, image = f"{Camera.__module__}:Camera", f"step-image{how}"
    added_us = _compare(report, image, Camera(10**9), NO_SERVER, camera, NO_SERVER, length=10**9)
    memcpy_us = _memcpy_us()
    report.add(f"memcpy of an image{how}", memcpy_us, "us")
    report.add(f"{image} added beyond 1.5 memcpys", added_us - 1.5 * memcpy_us, "us")


@contextmanager
def _kept_awake() -> Iterator[None]:
    """Each processor has something to do that gives way to anything else."""
    give_way = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    with ExitStack() as stack:
        for _ in range(len(os.sched_getaffinity(0))):
            stack.callback(stack.enter_context(subprocess.Popen([sys.executable, "-c", give_way])).kill)
        yield


def _add_floor(report: Report) -> None:
    for name, work_s in (("two Unix sockets, there and back", 0.0), ("the same, after work", WORK_S)):
        with _peer("unix", work_s) as (ours, _path):

            def there_and_back(work_s: float = work_s, ours: socket.socket = ours) -> None:
                _work(work_s)
                ours.send(REQUEST)
                ours.recv(len(REPLY))

            there_and_back()  # it is there
            report.add(name, 1e6 * (median(_durations_s(there_and_back)) - 2 * work_s), "us")
    with _peer("zmq", 0.0) as (_ours, path), zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(f"ipc://{path}")

        def by_zmq() -> None:
            dealer.send(REQUEST)
            dealer.recv()

        by_zmq()
        report.add("two ZeroMQ sockets, there and back", 1e6 * median(_durations_s(by_zmq)), "us")


@contextmanager
def _peer(kind: str, work_s: float) -> Iterator[tuple[socket.socket, str]]:
    """A process that answers each message: on the socket, or where ZeroMQ connects to."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder, ours, theirs:
        path = f"{folder}/peer"
        words = [kind, str(work_s), str(theirs.fileno()), path]
        command = [sys.executable, "-m", "tests.bench.session", *words]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as peer:
            theirs.close()
            try:
                yield ours, path
            finally:
                peer.terminate()


def _answer(kind: str, work_s: float, descriptor: int, path: str) -> None:
    """In a process of its own, until it is terminated."""
    ours = socket.socket(fileno=descriptor)
    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(f"ipc://{path}")
    while True:
        if kind == "unix":
            ours.recv(len(REQUEST))
            _work(work_s)
            ours.send(REPLY)
        else:
            sender, _ = router.recv_multipart()
            router.send_multipart([sender, REPLY])


def _work(seconds: float) -> None:
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        pass


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
    if len(sys.argv) == 1:
        main()
    else:
        _answer(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

"""`make bench NAME=vector`: environment steps a second of 1 to 8 environments, against others' vectors.

The same environment (Route-v0's vector `state`) and as many stand-ins each: sessions of a daemon by
`gymnasium.make_vec`, Gymnasium's AsyncVectorEnv and stable-baselines3's SubprocVecEnv. They take turns; the
others' servers stand still meanwhile. All three wait for the slowest environment in each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv

from carlad.client import Client
from carlad.session.environment import Server
from tests.bench.harness import Report, progress
from tests.bench.peers.environments import ROUTE, StateRoute
from tests.bench.peers.stepping import async_envs
from tests.daemon_process import all_ready, daemon_process, until_status
from tests.trainer.standins import standin

COUNTS = (1, 2, 4, 8)
ROUNDS, ROUND_S, WARM_UP = 5, 2.0, 20
OURS, ASYNC, SUBPROC = "sessions", "AsyncVectorEnv", "SubprocVecEnv"
Step = Callable[[], object]


def main() -> None:
    report = Report("vector")
    with ExitStack() as stack:
        most = max(COUNTS)
        groups = [[stack.enter_context(standin()) for _ in range(most)] for _ in range(2)]
        daemon = stack.enter_context(daemon_process(fleet=f"size = {most}"))
        with Client(daemon.endpoint) as client:
            until_status(client, all_ready)
        for count in COUNTS:
            progress(f"{count} environments, {3 * ROUNDS * ROUND_S:g} s and their starts")
            for name, per_s in _rates(count, groups, daemon.endpoint).items():
                against = None if name == ASYNC else f"{count} in {ASYNC}"
                report.add(f"{count} in {name}", per_s, "steps/s", against)
    report.write()


def _rates(count: int, groups: list[list[Server]], endpoint: str) -> dict[str, float]:
    """Steps a second of all environments together."""
    with ExitStack() as stack:
        steps: dict[str, Step] = {
            ASYNC: stack.enter_context(_gymnasium(groups[0][:count])),
            SUBPROC: stack.enter_context(_stable_baselines(groups[1][:count])),
            OURS: stack.enter_context(_sessions(count, endpoint)),
        }
        found: dict[str, list[float]] = {name: [] for name in steps}
        for step in steps.values():
            for _ in range(WARM_UP):
                step()
        for _ in range(ROUNDS):
            for name, step in steps.items():
                found[name].append(count * _per_s(step))
    return {name: median(rates) for name, rates in found.items()}


def _per_s(step: Step) -> float:
    started_s, done = time.perf_counter(), 0
    while (passed_s := time.perf_counter() - started_s) < ROUND_S:
        step()
        done += 1
    return done / passed_s


def _actions(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.tile(np.array([0.0, 0.3], np.float32), (count, 1))


@contextmanager
def _sessions(count: int, endpoint: str) -> Iterator[Step]:
    envs = gymnasium.make_vec(
        "carlad.gym:Route-v0", num_envs=count, endpoint=endpoint, config={"config": ROUTE}
    )
    try:
        envs.reset(seed=1)
        yield partial(envs.step, _actions(count))
    finally:
        envs.close()


@contextmanager
def _gymnasium(servers: list[Server]) -> Iterator[Step]:
    envs = async_envs(servers)
    try:
        envs.reset(seed=1)
        yield partial(envs.step, _actions(len(servers)))
    finally:
        envs.close()


@contextmanager
def _stable_baselines(servers: list[Server]) -> Iterator[Step]:
    envs = SubprocVecEnv([partial(StateRoute, server, False) for server in servers], "forkserver")
    try:
        envs.seed(1)
        envs.reset()
        yield partial(envs.step, _actions(len(servers)))
    finally:
        envs.close()


if __name__ == "__main__":
    main()

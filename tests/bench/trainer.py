"""`make bench NAME=trainer`: what a step costs, layer by layer, and how others' PPO does on the same.

The environment's own Python is its thread's CPU time per step less that of the calls into the simulator, the
trainer's its process's per step that it collects; both are for one environment, or as many as are named.

ppo-4-sessions: four environments each for our PPO, stable-baselines3's and one in CleanRL's style, a batch
and its update in turns; then each drives the same episodes. ppo-uneven: one of the four environments is
three times as slow. Arguments: how many batches each of them learns from, and by how many seeds. After 30 all
are where success comes all at once, and a seed decides about it; 60 and more compare what is learned.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from carlad.session import arrays, protocol
from carlad.session.environment import Server
from carlad.session.members import Members
from carlad.session.protocol import Step, Stepped
from carlad.session.remote import RemoteEnv
from carlad.session.sources import ChildSource
from tests.bench.harness import Report, numbers, rate
from tests.bench.peers.contender import Contender
from tests.bench.peers.ours import Ours
from tests.bench.peers.sb3 import StableBaselines
from tests.bench.peers.single_file import SingleFile
from tests.trainer.standins import standin
from trainer import spaces
from trainer.acting import Acting
from trainer.config import PolicyConfig, PPOConfig
from trainer.curriculum import Curriculum, CurriculumConfig
from trainer.env.config import RouteConfig
from trainer.env.moment import Ego
from trainer.env.route_env import RouteEnv
from trainer.env.state import ROUTE_SIZE
from trainer.episodes import Episodes, evaluation_seeds
from trainer.evaluate import Task, evaluate
from trainer.policy import ActorCritic
from trainer.rollout import Collector
from trainer.scores import summary
from trainer.sessions import ENVIRONMENT

SECONDS, OWN_STEPS = 1.0, 300
ACTION = np.array([0.0, 0.3], np.float32)
SESSIONS = (1, 2, 4)
BATCHES, UNEVEN_BATCHES, SEEDS = 30, 6, 1
EPISODES = 50  # that each policy drives in the end
BASE = "stable-baselines3"


def main(batches: int = BATCHES, seeds: int = SEEDS) -> None:
    torch.set_num_threads(1)
    report = Report("trainer")
    with ExitStack() as stack:
        groups = [[stack.enter_context(standin()) for _ in range(max(SESSIONS))] for _ in range(3)]
        _layers(report, groups[0][0])
        _sessions(report, groups[0])
        _four_sessions(report, groups, batches, seeds)
        _uneven(report, groups, min(batches, UNEVEN_BATCHES))
    report.write()


def _four_sessions(report: Report, groups: list[list[Server]], batches: int, seeds: int) -> None:
    """Each learner has servers of its own, which do nothing while it is another's turn."""
    case, rates, success = "ppo-4-sessions", _Rates(), defaultdict[str, float](float)
    for seed in range(1, seeds + 1):
        with ExitStack() as stack:
            ours = stack.enter_context(closing(Ours(groups[0], 0, seed)))
            peers: dict[str, Contender] = {
                BASE: stack.enter_context(closing(StableBaselines(groups[1], 0, seed))),
                "CleanRL style": stack.enter_context(closing(SingleFile(groups[2], 0, seed))),
                "": ours,
            }
            rates.measure(peers, batches)
            tasks = [Task(one) for one in evaluation_seeds(seed, EPISODES)]
            for name, peer in peers.items():
                if driven := evaluate(ours.members, peer.driver(), tasks, _never):
                    success[name] += summary(driven).success_rate.mean / seeds
    _add(report, case, rates.found(), "steps/s")
    _add(report, f"{case} success", success, "share")


def _uneven(report: Report, groups: list[list[Server]], batches: int) -> None:
    rates = _Rates()
    with ExitStack() as stack:
        peers: dict[str, Contender] = {
            BASE: stack.enter_context(closing(StableBaselines(groups[1], 1, 1))),
            "": stack.enter_context(closing(Ours(groups[0], 1, 1))),
        }
        rates.measure(peers, batches)
    _add(report, "ppo-uneven", rates.found(), "steps/s")


class _Rates:
    """Steps per second with updates, a batch of each in turns; the first contender has the longest resets.

    Of ours up to four steps of each batch's thousand are taken in the others' turns.
    """

    def __init__(self) -> None:
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        self._steps: defaultdict[str, int] = defaultdict(int)

    def measure(self, peers: dict[str, Contender], batches: int) -> None:
        for batch in range(batches):
            for name, peer in peers.items():
                started_s = time.perf_counter()
                taken = peer.learn()
                if batch > 0:
                    self._steps[name] += taken
                    self._spent_s[name] += time.perf_counter() - started_s

    def found(self) -> dict[str, float]:
        return {name: steps / self._spent_s[name] for name, steps in self._steps.items()}


def _add(report: Report, case: str, values: dict[str, float], unit: str) -> None:
    """Each against stable-baselines3's, which comes first."""
    for name, value in values.items():
        against = None if name == BASE else f"{case} {BASE}"
        report.add(f"{case} {name}".strip(), value, unit, against)


def _layers(report: Report, server: Server) -> None:
    ticks = _ticks_per_s(server)
    local = _local_steps_per_s(server)
    remote = _remote_steps_per_s(server)
    report.add("control and tick", ticks, "1/s")
    report.add("environment in process", local, "1/s", "control and tick")
    report.add("environment in its host", remote, "1/s", "environment in process")
    report.add("environment's own Python", _own_us(server), "us/step")
    report.add("session's round trip", 1e6 / remote - 1e6 / local, "us/step")
    report.add("messages of a step", 1e6 / rate(_messages, SECONDS / 4), "us/step")
    report.add("policy of one observation", 1e6 / rate(_policy_step(), SECONDS / 4), "us/step")


def _sessions(report: Report, servers: list[Server]) -> None:
    """Steps that a learner collects, its policy included and its updates not."""
    for count in SESSIONS:
        per_s, own_us = _collected(servers[:count])
        report.add(f"collected from {count}", per_s, "1/s", _first(report))
        report.add(f"collected from {count}: trainer's own Python", own_us, "us/step")


def _first(report: Report) -> str | None:
    name = f"collected from {SESSIONS[0]}"
    return name if any(case.case == name for case in report.cases) else None


def _ticks_per_s(server: Server) -> float:
    env = RouteEnv()
    env.attach(server)
    env.reset(seed=1)
    try:
        return rate(lambda: env._connected().drive(0.0, 0.0, 1.0), SECONDS)
    finally:
        env.close()


def _local_steps_per_s(server: Server) -> float:
    env = RouteEnv()
    env.attach(server)
    env.reset(seed=1)

    def step() -> None:
        *_, terminated, truncated, _ = env.step(ACTION)
        if terminated or truncated:
            env.reset(seed=1)

    try:
        return rate(step, SECONDS)
    finally:
        env.close()


def _own_us(server: Server) -> float:
    """The thread's CPU microseconds of a step outside the simulator's client, the best of some rounds."""
    env = RouteEnv()
    env.attach(server)
    env.reset(seed=1)
    drive, called_s = env._connected().drive, 0.0

    def timed(steer: float, throttle: float, brake: float) -> Ego:
        nonlocal called_s
        began_s = time.thread_time()
        ego = drive(steer, throttle, brake)
        called_s += time.thread_time() - began_s
        return ego

    def one_round() -> float:
        nonlocal called_s
        called_s = spent_s = 0.0
        for _ in range(OWN_STEPS):
            began_s = time.thread_time()
            *_, terminated, truncated, _ = env.step(ACTION)
            spent_s += time.thread_time() - began_s
            if terminated or truncated:
                env.reset(seed=1)
        return 1e6 * (spent_s - called_s) / OWN_STEPS

    try:
        with patch.object(env._connected(), "drive", timed):
            return min(one_round() for _ in range(5))
    finally:
        env.close()


def _remote_steps_per_s(server: Server) -> float:
    with tempfile.TemporaryDirectory() as directory:
        env = RemoteEnv(ENVIRONMENT, Path(directory))
        env.attach(server, {}, 60.0)
        env.reset(1, 60.0)

        def step() -> None:
            *_, terminated, truncated, _ = env.step(ACTION, 60.0)
            if terminated or truncated:
                env.reset(1, 60.0)

        try:
            return rate(step, SECONDS)
        finally:
            env.close()


def _messages() -> None:
    """Both sides' encoding and decoding of one step's messages."""
    observation = np.zeros(ROUTE_SIZE, np.float32)
    terms = dict.fromkeys(("progress", "speeding", "deviation", "comfort", "success", "failure"), 0.1)
    for message, array, decode in (
        (Step(), ACTION, protocol.decode_request),
        (Stepped(0.1, False, False, {"reward_terms": terms}), observation, protocol.decode_reply),
    ):
        head = decode(protocol.encode_head(message, [arrays.header("state", array)])[1])
        arrays.read(head.arrays, bytearray(arrays.raw(array)), None)


def _policy_step() -> Callable[[], object]:
    env = RouteEnv()
    boxes = spaces.boxes(env.observation_space)
    policy = ActorCritic(boxes, spaces.action(env.action_space), PolicyConfig())
    observations = {key: torch.zeros(1, *box.shape) for key, box in boxes.items()}
    acting = Acting(policy, np.random.default_rng(0))
    return lambda: acting.act(observations)


def _collected(servers: list[Server]) -> tuple[float, float]:
    """Steps per second, and the microseconds of this process that one takes."""
    with tempfile.TemporaryDirectory() as directory:
        sources = [
            ChildSource(ENVIRONMENT, {}, server, f"env-{i}", Path(directory) / f"env-{i}.log")
            for i, server in enumerate(servers)
        ]
        vector = Members(sources, 60.0)
        try:
            found = vector.spaces(30.0, _never)
            assert found is not None
            boxes = spaces.boxes(found[0])
            policy = ActorCritic(boxes, spaces.action(found[1]), PolicyConfig())
            episodes = Episodes(1, len(servers), Curriculum(CurriculumConfig(), RouteConfig()))
            config = PPOConfig(batch_steps=256)
            collector = Collector(vector, boxes, policy, config, episodes, np.random.default_rng(0))
            collector.collect(_never)
            used_s, steps = time.process_time(), 0

            def collect() -> None:
                nonlocal steps
                collector.collect(_never)
                steps += collector.player.steps

            per_s = 256 * rate(collect, SECONDS)
            return per_s, 1e6 * (time.process_time() - used_s) / steps
        finally:
            vector.close()


def _never() -> bool:
    return False


if __name__ == "__main__":
    main(*numbers("BATCHES", "SEEDS"))

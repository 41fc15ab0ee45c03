"""`make bench NAME=trainer`: what a step costs, layer by layer, on stand-in servers.

Own Python of a layer is its time per step less that of the layer below, one environment, nothing in parallel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from carlad.session import arrays, protocol
from carlad.session.environment import Server
from carlad.session.members import Members
from carlad.session.protocol import Step, Stepped
from carlad.session.remote import RemoteEnv
from carlad.session.sources import ChildSource
from tests.bench.harness import Report, rate
from tests.trainer.standins import standin
from trainer import spaces
from trainer.acting import Acting
from trainer.config import PolicyConfig, PPOConfig
from trainer.curriculum import Curriculum, CurriculumConfig
from trainer.env.config import RouteConfig
from trainer.env.route_env import RouteEnv
from trainer.env.state import ROUTE_SIZE
from trainer.episodes import Episodes
from trainer.policy import ActorCritic
from trainer.rollout import Collector
from trainer.sessions import ENVIRONMENT

SECONDS = 2.0
ACTION = np.array([0.0, 0.3], np.float32)
SESSIONS = (1, 2, 4)


def main() -> None:
    torch.set_num_threads(1)
    report = Report("trainer")
    with ExitStack() as stack:
        servers = [stack.enter_context(standin()) for _ in range(max(SESSIONS))]
        _layers(report, servers[0])
        _sessions(report, servers)
    report.write()


def _layers(report: Report, server: Server) -> None:
    ticks = _ticks_per_s(server)
    local = _local_steps_per_s(server)
    remote = _remote_steps_per_s(server)
    report.add("control and tick", ticks, "1/s")
    report.add("environment in process", local, "1/s", "control and tick")
    report.add("environment in its host", remote, "1/s", "environment in process")
    report.add("environment's own Python", 1e6 / local - 1e6 / ticks, "us/step")
    report.add("session's round trip", 1e6 / remote - 1e6 / local, "us/step")
    report.add("messages of a step", 1e6 / rate(_messages, SECONDS / 4), "us/step")
    report.add("policy of one observation", 1e6 / rate(_policy_step(), SECONDS / 4), "us/step")


def _sessions(report: Report, servers: list[Server]) -> None:
    """Steps that a learner collects, its policy included and its updates not."""
    for count in SESSIONS:
        report.add(f"collected from {count}", _collected_per_s(servers[:count]), "1/s", _first(report))


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


def _collected_per_s(servers: list[Server]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        sources = [
            ChildSource(ENVIRONMENT, {}, server, f"env-{i}", Path(directory) / f"env-{i}.log")
            for i, server in enumerate(servers)
        ]
        vector = Members(sources, 60.0)
        try:
            found = vector.spaces(30.0, lambda: False)
            assert found is not None
            boxes = spaces.boxes(found[0])
            policy = ActorCritic(boxes, spaces.action(found[1]), PolicyConfig())
            episodes = Episodes(1, len(servers), Curriculum(CurriculumConfig(), RouteConfig()))
            config = PPOConfig(batch_steps=256)
            collector = Collector(vector, boxes, policy, config, episodes, np.random.default_rng(0))
            collector.collect(lambda: False)
            return 256 * rate(lambda: collector.collect(lambda: False), SECONDS)
        finally:
            vector.close()


if __name__ == "__main__":
    main()

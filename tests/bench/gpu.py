"""`make bench NAME=gpu`: what a machine with a GPU trains in a second, and what its learner takes.

Without a GPU it measures the same on the CPU, with fewer sessions. ARGS: the seconds of each case.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Box, Dict

from carlad.session.environment import Server
from carlad.session.members import Members, Phase
from carlad.session.sources import ChildSource
from tests.bench.harness import Report
from tests.trainer.standins import standin
from trainer.config import Config, decode
from trainer.distributed import joined
from trainer.learner import Learner
from trainer.ppo import PPO, Batch
from trainer.sessions import ENVIRONMENT

PICTURED = "tests.bench.pictures:Pictured"
SESSIONS = (1, 2, 4, 8, 16)
STATE = {
    "train": {"device": "cpu"},
    "ppo": {"batch_steps": 4096, "minibatch_steps": 1024, "epochs": 4, "kl_max": 1e9},
}
IMAGES = {
    "ppo": {"batch_steps": 2048, "minibatch_steps": 512, "epochs": 3, "kl_max": 1e9},
    "policy": {"encoders": {"bev": "impala", "camera": "impala"}, "shared": True},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"bf16": True},
    "compiled": {"compile": True},
    "bf16, compiled": {"bf16": True, "compile": True},
}


def main(seconds: float) -> None:
    torch.set_num_threads(1)
    report = Report("gpu")
    most = max(2, min(SESSIONS[-1], os.cpu_count() or 2))
    with ExitStack() as stack:
        servers = [stack.enter_context(standin()) for _ in range(most)]
        for count in (count for count in SESSIONS if count <= most):
            _training(report, f"state, {count} sessions", servers[:count], ENVIRONMENT, {}, STATE, seconds)
        for picture in ("bev", "camera"):
            for name in ("fp32", "bf16"):
                case, arguments = f"{picture}, {most} sessions, {name}", {"picture": picture}
                table = {**IMAGES, "train": VARIANTS[name], "policy": _policy(picture)}
                _training(report, case, servers, PICTURED, arguments, table, seconds)
    for name, variant in VARIANTS.items():
        _learning(report, name, variant, seconds)
    report.write()


def _policy(picture: str) -> dict[str, Any]:
    return {**IMAGES["policy"], "encoders": {picture: "impala"}}


def _training(
    report: Report,
    case: str,
    servers: list[Server],
    env: str,
    arguments: dict[str, Any],
    table: dict[str, Any],
    seconds: float,
) -> None:
    """Environment steps per second with updates, and the share of the time that these take."""
    config = decode({**table, "servers": {"sessions": len(servers)}})
    with tempfile.TemporaryDirectory() as folder, joined(config.train.device) as (_, device):
        vector = Members(
            [
                ChildSource(env, arguments, server, f"env-{i}", Path(folder) / f"env-{i}.log")
                for i, server in enumerate(servers)
            ],
            60.0,
        )
        try:
            found = vector.spaces(60.0, _never)
            assert found is not None
            while Phase.OPENING in vector.phases():
                vector.events(0.1)
            per_s, learning = _rate(Learner(config, *found, device), vector, seconds)
        finally:
            vector.close()
    report.add(case, per_s, "1/s")
    report.add(f"{case}: share of learning", learning, "of the time")
    print(f"{case}: {per_s:,.0f} steps/s, {learning:.0%} of the time learning", flush=True)


def _rate(learner: Learner, vector: Members, seconds: float) -> tuple[float, float]:
    rounds = learner.rounds(vector)
    for _ in range(2):
        rounds.collect(_never)
        rounds.learn(0.0)
    started_s, steps, learning_s = time.perf_counter(), 0, 0.0
    while time.perf_counter() - started_s < seconds:
        rounds.collect(_never)
        steps += rounds.player.steps
        began_s = time.perf_counter()
        rounds.learn(0.0)
        learning_s += time.perf_counter() - began_s
    elapsed_s = time.perf_counter() - started_s
    return steps / elapsed_s, learning_s / elapsed_s


def _learning(report: Report, name: str, variant: dict[str, Any], seconds: float) -> None:
    """Samples per second through an update, on images that lie on the device already."""
    config: Config = decode({**IMAGES, "train": variant, "policy": _policy("bev")})
    with joined("auto") as (_, device):
        images, size = Box(0, 255, (10, 192, 192), "uint8"), config.ppo.batch_steps
        spaces = Dict({"state": Box(-5, 5, (24,)), "bev": images})
        learner = Learner(config, spaces, Box(-1, 1, (2,)), device)
        assert isinstance(learner.algorithm, PPO)
        observations = {
            "state": torch.randn(size, 24, device=device),
            "bev": torch.randint(0, 256, (size, *images.shape), dtype=torch.uint8, device=device),
        }
        numbers = torch.randn(4, size, device=device)
        actions = torch.randn(size, 2, device=device)
        batch = Batch(observations, torch.arange(size, device=device), actions, *numbers[:3])
        learner.algorithm.update(batch, 1.0)  # at a learning rate of 0
        started_s, updates = time.perf_counter(), 0
        while time.perf_counter() - started_s < seconds:
            learner.algorithm.update(batch, 1.0)  # waits for the device: it returns the losses
            updates += 1
        rate = updates * size * config.ppo.epochs / (time.perf_counter() - started_s)
    report.add(f"learning from bev, {name}", rate, "samples/s")
    print(f"learning from bev, {name}: {rate:,.0f} samples/s", flush=True)


def _never() -> bool:
    return False


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)

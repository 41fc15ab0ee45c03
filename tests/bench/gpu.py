"""`make bench NAME=gpu`: what a machine with a GPU trains in a second, and what its learner takes.

Under `torchrun` it measures what several processes train together, each on sessions and a GPU of its own.
Arguments: the seconds of each case, and the sessions of each process.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Dict

from carlad.session.environment import Server
from carlad.session.members import Members, Phase
from carlad.session.sources import ChildSource
from tests.bench.harness import Report, numbers
from tests.trainer.standins import standin
from trainer.config import EncoderKind, decode
from trainer.distributed import Ranks, joined
from trainer.learner import Learner
from trainer.ppo import PPO, Batch
from trainer.sessions import ENVIRONMENT

SESSIONS = (1, 2, 4, 8, 16)
STATE = {
    "ppo": {"batch_steps": 4096, "minibatch_steps": 1024, "epochs": 4, "kl_max": 1e9},
}
IMAGES = {
    "ppo": {"batch_steps": 2048, "minibatch_steps": 512, "epochs": 3, "kl_max": 1e9},
}
PICTURES: tuple[tuple[str, EncoderKind], ...] = (("bev", "nature"), ("bev", "impala"), ("camera", "nature"))
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"bf16": True},
    "compiled": {"compile": True},
    "bf16, compiled": {"bf16": True, "compile": True},
}


def main(seconds: float = 10, most: int = 2) -> None:
    torch.set_num_threads(1)
    report = Report("gpu")
    with joined("auto") as (ranks, device), ExitStack() as stack:
        servers = [stack.enter_context(standin()) for _ in range(most)]
        bench = _Bench(report, ranks, device, seconds)
        counts = [count for count in SESSIONS if count < most] if ranks.size == 1 else []
        for count in (*counts, most):
            bench.training("state", servers[:count], {}, {**STATE, "train": {"device": "cpu"}})
        for picture, kind in PICTURES:
            policy = {"encoders": {picture: kind}, "shared": True}
            observe = {"keys": ["state", picture], "bev": {"size_px": 192}}
            for name in ("fp32", "bf16"):
                table = {**IMAGES, "train": VARIANTS[name], "policy": policy}
                bench.training(f"{picture} {kind} {name}", servers, observe, table)
        for kind in ("nature", "impala"):
            for name, variant in VARIANTS.items():
                bench.learning(f"{kind} {name}", kind, variant)
        if ranks.is_first:
            report.write()


class _Bench(NamedTuple):
    report: Report
    ranks: Ranks
    device: torch.device
    seconds: float

    def training(
        self, name: str, servers: list[Server], observe: dict[str, Any], table: dict[str, Any]
    ) -> None:
        """Environment steps per second with updates, and the share of the time that these take."""
        config = decode({**table, "servers": {"sessions": len(servers)}})
        device = torch.device("cpu") if config.train.device == "cpu" else self.device
        with tempfile.TemporaryDirectory() as folder:
            logs = Path(folder)
            sources = [
                ChildSource(
                    ENVIRONMENT, {"config": {"observe": observe}}, server, f"env-{i}", logs / f"env-{i}.log"
                )
                for i, server in enumerate(servers)
            ]
            vector = Members(sources, 60.0)
            try:
                found = vector.spaces(60.0, _never)
                assert found is not None
                while Phase.OPENING in vector.phases():
                    vector.events(0.1)
                learner = Learner(config, *found, device, self.ranks)
                per_s, learning = _rate(learner, vector, self.seconds)
            finally:
                vector.close()
        case = f"{name}, {self.ranks.size} x {len(servers)} sessions"
        self.add(case, float(self.ranks.sum(torch.tensor(per_s))), "1/s")
        self.add(f"{case}: learning", learning, "of the time")

    def learning(self, name: str, kind: EncoderKind, variant: dict[str, Any]) -> None:
        """Samples per second through an update, on images that lie on the device already."""
        policy = {"encoders": {"bev": kind}, "shared": True}
        config = decode({**IMAGES, "train": variant, "policy": policy})
        images, size, device = Box(0, 255, (10, 192, 192), np.uint8), config.ppo.batch_steps, self.device
        spaces = Dict({"state": Box(-5, 5, (24,)), "bev": images})
        learner = Learner(config, spaces, Box(-1, 1, (2,)), device, self.ranks)
        assert isinstance(learner.algorithm, PPO)
        observations = {
            "state": torch.randn(size, 24, device=device),
            "bev": torch.randint(0, 256, (size, *images.shape), dtype=torch.uint8, device=device),
        }
        actions, numbers = torch.randn(size, 2, device=device), torch.randn(3, size, device=device)
        batch = Batch(observations, torch.arange(size, device=device), actions, *numbers)
        learner.algorithm.update(batch, 1.0)  # at a learning rate of 0
        started_s, updates = time.perf_counter(), 0
        while self.ranks.sum(torch.tensor(time.perf_counter() - started_s)) < self.seconds * self.ranks.size:
            learner.algorithm.update(batch, 1.0)  # waits for the device: it returns the losses
            updates += 1
        samples = updates * size * config.ppo.epochs * self.ranks.size
        self.add(f"learning bev, {name}", samples / (time.perf_counter() - started_s), "samples/s")

    def add(self, case: str, value: float, unit: str) -> None:
        self.report.add(case, value, unit)
        if self.ranks.is_first:
            print(f"{case}: {value:,.4g} {unit}", flush=True)


def _rate(learner: Learner, vector: Members, seconds: float) -> tuple[float, float]:
    """The rates of rounds that all processes take together."""
    rounds, ranks = learner.rounds(vector), learner.ranks
    for _ in range(2):
        rounds.collect(_never)
        rounds.learn(0.0)
    started_s, steps, learning_s = time.perf_counter(), 0, 0.0
    while ranks.sum(torch.tensor(time.perf_counter() - started_s)) < seconds * ranks.size:
        rounds.collect(_never)
        steps += rounds.player.steps
        began_s = time.perf_counter()
        rounds.learn(0.0)
        learning_s += time.perf_counter() - began_s
    elapsed_s = time.perf_counter() - started_s
    return steps / elapsed_s, learning_s / elapsed_s


def _never() -> bool:
    return False


if __name__ == "__main__":
    main(*numbers("SECONDS", "SESSIONS"))

"""A training from start to end: sessions, learner, evaluations, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import torch
from rich.console import Console

from carlad.errors import CarladError, ConfigError
from carlad.log import get_logger
from carlad.session.environment import Server
from carlad.session.members import Members
from carlad.session.sources import ChildSource, DaemonSource, Source, Terms
from trainer import spaces
from trainer.checkpoint import Checkpoint, CheckpointError, Counters, check_fits, save
from trainer.config import Config
from trainer.curriculum import Curriculum
from trainer.episodes import Episodes, EpisodesState, evaluation_seeds
from trainer.evaluate import evaluate
from trainer.policy import Policy
from trainer.ppo import PPO
from trainer.report import PROGRESS_FILE, Report
from trainer.rollout import Collector

log = get_logger("carlad.trainer")

ENVIRONMENT = "trainer.env.route_env:RouteEnv"
SESSIONS_FILE = "sessions.json"  # tells viewers where the telemetry is
_REPLY_MARGIN_S = 10.0  # beyond the client's own time-out, for which a call into a lost server takes
_TRAFFIC_MANAGER_PORT = 8000  # CARLA's default; the session at address i takes the i-th after it


class DivergedError(CarladError):
    """The networks' weights are no longer finite."""


class Folders(msgspec.Struct, frozen=True):
    """Where a run's outputs go."""

    run: Path
    tensorboard: Path
    checkpoint: Path


def folders(out: Path | None, name: str) -> Folders:
    """All under `out` where it is given, else under data/ and models/ by the run's name."""
    if out is not None:
        return Folders(out, out / "tensorboard", out / "checkpoints" / "checkpoint.pt")
    checkpoints = Path("models", "model_checkpoints", name)
    return Folders(
        Path("data", "runs", name), Path("data", "tensorboard_logs", name), checkpoints / "checkpoint.pt"
    )


def train(
    config: Config, where: Folders, resume: Checkpoint | None, stop: Callable[[], bool], console: Console
) -> None:
    """Train until the configured steps or time are reached or `stop` says so; the last state is saved.

    Raises CarladError with what could not be done, and OSError for a folder that cannot be written.
    """
    if resume is not None:
        check_fits(resume, config)
    elif (where.run / PROGRESS_FILE).exists():
        raise ConfigError(
            f"cannot train into {where.run}: it holds a training; --resume it or choose another --out"
        )
    torch.set_num_threads(config.train.torch_threads)
    with ExitStack() as stack:
        vector = _start_sessions(config, where.run, stack)
        spaces = vector.spaces(config.servers.wait_s, stop)
        if spaces is None:
            return
        learner = Learner(config, *spaces)
        if resume is not None:
            learner.restore(resume)
        report = Report(where.run, where.tensorboard, config, console)
        stack.callback(report.close)
        listing = Listing(where.run)
        listing.update(vector.telemetry)
        Training(config, where.checkpoint, vector, learner, report, listing, stop).run()


class Learner:
    """All that learns or is random in a training, and so belongs into a checkpoint."""

    def __init__(
        self, config: Config, observations: gymnasium.Space[Any], actions: gymnasium.Space[Any]
    ) -> None:
        """Raises ConfigError for spaces that cannot be learned with."""
        self.config = config
        self.counters = Counters()
        torch.manual_seed(config.train.seed)
        self.generator = torch.Generator().manual_seed(config.train.seed)
        self.boxes = spaces.boxes(observations)
        self.policy = Policy(self.boxes, spaces.action(actions), config.policy)
        self.ppo = PPO(self.policy, config.ppo, self.generator)
        curriculum = Curriculum(config.curriculum, config.env)
        self.episodes = Episodes(config.train.seed, config.servers.sessions, curriculum)

    def checkpoint(self) -> Checkpoint:
        """The present state; it shares memory with the learner."""
        states = {
            "policy": self.policy.state_dict(),
            "optimizer": self.ppo.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "episodes": msgspec.to_builtins(self.episodes.state()),
        }
        return Checkpoint(config=self.config, counters=self.counters, states=states)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there. Raises CheckpointError if it does not fit the networks."""
        try:
            self.policy.load_state_dict(checkpoint.states["policy"])
            self.ppo.optimizer.load_state_dict(checkpoint.states["optimizer"])
            self.generator.set_state(checkpoint.states["generator"])
            self.episodes.restore(msgspec.convert(checkpoint.states["episodes"], EpisodesState))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"cannot resume: the checkpoint does not fit: {error}") from error
        self.counters = checkpoint.counters


class Training:
    """The loop: experience, an update, a report, now and then a checkpoint."""

    def __init__(
        self,
        config: Config,
        checkpoint: Path,
        vector: Members,
        learner: Learner,
        report: Report,
        listing: Listing,
        stop: Callable[[], bool],
    ) -> None:
        self._config, self._checkpoint = config, checkpoint
        self._vector, self._learner, self._report, self._stop = vector, learner, report, stop
        self._listing = listing
        self._counters = learner.counters
        self._lost_before = learner.counters.sim_lost

    def run(self) -> None:
        """Train, with an evaluation before (not of a resumed training) and after (not of a stopped one)."""
        if self._counters.env_steps == 0:
            self._evaluate("start")
        self._learn()
        save(self._checkpoint, self._learner.checkpoint())
        log.info("checkpoint.saved", path=self._checkpoint, env_steps=self._counters.env_steps)
        self._evaluate("end")

    def _learn(self) -> None:
        learner = self._learner
        collector = Collector(
            self._vector,
            learner.boxes,
            learner.policy,
            self._config.ppo,
            learner.episodes,
            learner.generator,
        )
        saved_s = time.monotonic()
        while not self._is_done():
            if not self._update(collector):
                return
            if time.monotonic() - saved_s > self._config.train.checkpoint_every_s:
                save(self._checkpoint, learner.checkpoint())
                saved_s = time.monotonic()

    def _is_done(self) -> bool:
        train = self._config.train
        return self._counters.env_steps >= train.total_steps or self._counters.seconds >= train.seconds_max

    def _update(self, collector: Collector) -> bool:
        """One batch and what is learned from it; False if stopped before it was full."""
        learner, counters = self._learner, self._counters
        started_s = time.monotonic()
        self._listing.update(self._vector.telemetry)
        batch = collector.collect(self._stop)
        if batch is None:
            return False
        losses = learner.ppo.update(batch, counters.env_steps / self._config.train.total_steps)
        learner.policy.learn_scale(batch.seen(learner.policy.norms))
        counters.env_steps += len(batch.rows)
        counters.updates += 1
        counters.episodes += len(collector.episodes)
        counters.sim_lost = self._lost_before + self._vector.losses
        counters.seconds += time.monotonic() - started_s
        if not all(math.isfinite(loss) for loss in losses):
            raise DivergedError(
                f"the learning diverged after {counters.env_steps} steps: lower ppo.learning_rate"
            )
        self._report.update(counters, collector.episodes, losses)
        return True

    def _evaluate(self, which: str) -> None:
        train = self._config.train
        if train.eval_episodes == 0 or self._stop():
            return
        seeds = evaluation_seeds(train.seed, train.eval_episodes)
        options = self._learner.episodes.curriculum.whole()
        evaluation = evaluate(self._vector, self._learner.policy, seeds, self._stop, options)
        if evaluation is not None:
            self._report.evaluation(which, self._counters, evaluation)


class Listing:
    """The file that tells viewers where the sessions' telemetry is, written whenever that changes."""

    def __init__(self, run: Path) -> None:
        self._path = run / SESSIONS_FILE
        self._written: list[str | None] = []

    def update(self, telemetry: list[str | None]) -> None:
        if telemetry == self._written:
            return
        self._written = telemetry
        sessions = [{"session": f"env-{i}", "telemetry": where} for i, where in enumerate(telemetry) if where]
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode({"sessions": sessions}))
        new.replace(self._path)


def _start_sessions(config: Config, run: Path, stack: ExitStack) -> Members:
    """The sessions, which end with the stack."""
    run.mkdir(parents=True, exist_ok=True)
    sources = [_source(config, run / "logs", index) for index in range(config.servers.sessions)]
    members = Members(sources, config.env.client_timeout_s + _REPLY_MARGIN_S)
    stack.callback(members.close)
    return members


def _source(config: Config, logs: Path, index: int) -> Source:
    """A daemon's session, or a child of ours on the address that is given."""
    servers, env = config.servers, {"config": msgspec.to_builtins(config.env)}
    if not servers.addresses:
        terms = Terms(servers.env, env, servers.map or None, None, servers.wait_s, servers.endpoint or None)
        return DaemonSource(terms)
    logs.mkdir(exist_ok=True)
    host, _, port = servers.addresses[index].rpartition(":")
    server = Server(host, int(port), _TRAFFIC_MANAGER_PORT + index)
    return ChildSource(ENVIRONMENT, env, server, f"env-{index}", logs / f"env-{index}.log")

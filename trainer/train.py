"""A training from start to end: sessions, learner, evaluations, checkpoints."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import torch
from rich.console import Console

from carlad import toml
from carlad.errors import CarladError, ConfigError
from carlad.log import also_to, get_logger
from carlad.session.members import Members, Phase
from trainer.checkpoint import NEWEST, Checkpoint, Counters, Store, check_fits
from trainer.config import Config, TrainConfig, digest, flat
from trainer.distributed import joined
from trainer.drivers import Greedy
from trainer.episodes import evaluation_seeds
from trainer.evaluate import Task, evaluate
from trainer.figures import Round
from trainer.folders import CONFIG_FILE, LOG_FILE, Folders
from trainer.learner import Learner, Rounds
from trainer.onlooker import Onlooker
from trainer.report import Report
from trainer.scores import summary
from trainer.sessions import HOST_LOGS, Listing, started
from trainer.stopwatch import Stopwatch

log = get_logger("carlad.trainer")


class DivergedError(CarladError):
    """The networks' weights are no longer finite."""


def train(
    config: Config, where: Folders, resume: Checkpoint | None, stop: Callable[[], bool], console: Console
) -> None:
    """Train until the configured steps or time are reached or `stop` says so; the last state is saved.

    Raises CarladError with what could not be done, and OSError for a folder that cannot be written.
    """
    if resume is not None:
        check_fits(resume, config)
    elif (where.checkpoints / NEWEST).exists():  # there is one before a training's first step
        raise ConfigError(
            f"cannot train into {where.run}: it holds a training; --resume it or choose another --out"
        )
    torch.set_num_threads(config.train.torch_threads)
    with ExitStack() as stack:
        ranks, device = stack.enter_context(joined(config.train.device))
        where = ranks.gather(where)[0]
        where.run.mkdir(parents=True, exist_ok=True)
        if ranks.is_first:
            stack.enter_context(also_to(where.run / LOG_FILE))
            _note(config, where)
        capture = where.capture if ranks.is_first else None
        vector = started(config, where.run / HOST_LOGS, ranks, capture)
        stack.callback(vector.close)
        spaces = vector.spaces(config.servers.wait_s, stop)
        if spaces is None:
            return
        learner = Learner(config, *spaces, device, ranks)
        if resume is not None:
            learner.restore(resume)
        report = _report(config, where, learner, console, stack)
        Training(config, where, vector, learner, report, stop).run()


class Training:
    """The loop: experience, an update, a report, now and then a checkpoint.

    With several processes each runs it, on environments of its own, and all decide the same.
    """

    def __init__(
        self,
        config: Config,
        where: Folders,
        vector: Members,
        learner: Learner,
        report: Report | None,
        stop: Callable[[], bool],
    ) -> None:
        """`report`: in the first process alone."""
        self._config, self._store = config, Store(where.checkpoints, config.train.checkpoints_kept)
        self._vector, self._learner, self._report, self._stop = vector, learner, report, stop
        self._listing = Listing(where.run, learner.ranks)
        self._ranks, self._counters = learner.ranks, learner.counters
        self._lost_before = learner.counters.sim_lost
        self._watch = Stopwatch()
        self._onlooker: Onlooker | None = None
        self._in_lockstep = config.train.collect == "lockstep"

    def run(self) -> None:
        """Train, with an evaluation before (not of a resumed training) and after (not of a stopped one)."""
        self._listing.update(self._vector.telemetry)
        if self._counters.env_steps == 0:
            self._save()  # whatever happens from now on, the run can be resumed
            self._evaluate("start")
        with self._looking_on():
            self._learn()
        self._save()
        self._evaluate("end")

    @contextmanager
    def _looking_on(self) -> Iterator[None]:
        """An episode of the first environment is shown now and then."""
        every_s = self._config.train.picture_every_s
        if self._report is None or every_s == 0:
            yield
            return
        with Onlooker(lambda: self._vector.telemetry[0], every_s) as self._onlooker:
            yield

    def _learn(self) -> None:
        rounds = self._learner.rounds(self._vector)
        saved_s = time.monotonic()
        while not self._agree(is_done(self._config.train, self._counters)):
            if not self._round(rounds):
                return
            if self._agree(self._is_time_to_save(saved_s)):
                self._save()
                saved_s = time.monotonic()
                if self._in_lockstep:
                    rounds.player.restart()
                    if self._agree(self._stop()):
                        return

    def _is_time_to_save(self, saved_s: float) -> bool:
        train = self._config.train
        if self._in_lockstep:
            return self._counters.updates % train.checkpoint_every_updates == 0
        return time.monotonic() - saved_s > train.checkpoint_every_s

    def _round(self, rounds: Rounds) -> bool:
        """Some experience and what is learned from it; False if stopped before there was enough."""
        counters, stop = self._counters, _never if self._in_lockstep else self._stop
        started_s = time.monotonic()
        self._listing.update(self._vector.telemetry)
        with self._watch.phase("collect"):
            if self._agree(not rounds.collect(stop)):
                return False
        with self._watch.phase("learn"):
            losses = rounds.learn(progress(self._config.train, counters), lambda: self._agree(stop()))
        player, phases = rounds.player, self._vector.phases()
        servers = sum(phase is not Phase.OPENING for phase in phases)
        told = self._ranks.gather((player.steps, player.finished, player.lost, self._vector.losses, servers))
        steps, finished, lost, sims_lost, all_servers = zip(*told, strict=True)
        counters.env_steps += sum(steps)
        counters.updates += 1
        counters.episodes += sum(map(len, finished))
        counters.sim_lost = self._lost_before + sum(sims_lost)
        counters.seconds += time.monotonic() - started_s
        if not all(math.isfinite(loss) for loss in losses.values()):
            raise DivergedError(
                f"the learning diverged after {counters.env_steps} steps: "
                f"lower {self._config.algorithm}.learning_rate"
            )
        if self._report is not None:
            round_ = Round(
                env_steps=sum(steps),
                spent_s=self._watch.take(),
                finished=[*itertools.chain(*finished)],
                lost=[*itertools.chain(*lost)],
                losses=losses,
                servers=sum(all_servers),
                stage=self._learner.episodes.curriculum.stage,
            )
            self._report.update(counters, round_)
            if self._onlooker is not None and (image := self._onlooker.picture()) is not None:
                self._report.picture(counters, image)
        return True

    def _agree(self, wish: bool) -> bool:
        """Whether any of the processes wishes it."""
        return self._ranks.any(wish)

    def _save(self) -> None:
        """A checkpoint, which is kept as the best one if no other drove better in its last episodes."""
        with self._watch.phase("save"):
            self._keep(self._learner.checkpoint())

    def _keep(self, checkpoint: Checkpoint) -> None:
        """In the first process."""
        if self._report is None:
            return
        checkpoint.score = self._report.score(self._learner.episodes.curriculum.stage)
        path, is_best = self._store.save(checkpoint)
        log.info("checkpoint.saved", path=path, env_steps=self._counters.env_steps, best=is_best)

    def _evaluate(self, which: str) -> None:
        train = self._config.train
        if self._report is None or train.eval_episodes == 0 or self._stop():
            return
        seeds = evaluation_seeds(train.seed, train.eval_episodes)
        options = self._learner.episodes.curriculum.whole()
        tasks = [Task(seed, options) for seed in seeds]
        results = evaluate(self._vector, Greedy(self._learner.policy), tasks, self._stop)
        if results is not None:
            self._report.evaluation(which, self._counters, summary(results))


def progress(train: TrainConfig, done: Counters) -> float:
    """Which share of its steps or episodes is done, from 0 to 1."""
    by_steps = done.env_steps / train.total_steps if train.total_steps else 1.0
    by_episodes = done.episodes / train.episodes_max if train.episodes_max else 0.0
    return max(by_steps, by_episodes)


def is_done(train: TrainConfig, done: Counters) -> bool:
    """Whether it has had its steps, episodes or seconds."""
    return progress(train, done) >= 1 or done.seconds >= train.seconds_max


def _never() -> bool:
    return False


def _report(
    config: Config, where: Folders, learner: Learner, console: Console, stack: ExitStack
) -> Report | None:
    """The first process's."""
    if not learner.ranks.is_first:
        return None
    report = Report(where, config, console, learner.counters.env_steps, learner.ranks.size)
    stack.callback(report.close)
    return report


def _note(config: Config, where: Folders) -> None:
    """The resolved configuration, in the log and as a file that `--config` takes."""
    log.info("training.configured", run=where.run, digest=digest(config), **flat(config))
    (where.run / CONFIG_FILE).write_text(toml.dumps(msgspec.to_builtins(config)))

"""`python -m trainer evaluate`."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from carlad.errors import ConfigError
from carlad.log import get_logger
from trainer.cli.command import (
    Commands,
    add_command,
    add_configuration,
    configuration,
    console_with_log,
    stop_on_signals,
)

if TYPE_CHECKING:
    from carlad.session.members import Members
    from trainer.checkpoint import Checkpoint
    from trainer.config import Config
    from trainer.drivers import Driver
    from trainer.evaluate import Task

log = get_logger("carlad.trainer")

_STOPPED = 1
_EXAMPLES = """\
  python -m trainer evaluate data/first                             # a run's newest checkpoint
  python -m trainer evaluate data/first/checkpoints/best.pt --episodes 200 --json evaluation.json
  python -m trainer evaluate data/first --routes routes.toml        # each route once; or --episodes of them
  python -m trainer evaluate --policy straight --config training    # what a policy must be better than
"""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "evaluate",
        _run,
        "Drive episodes and say how well it went. The same seed gives the same episodes. Means come with "
        "95 % confidence intervals: Wilson's for the success rate, bootstrap percentiles for the others.",
        _EXAMPLES,
    )
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, metavar="CHECKPOINT", help="a file, or a run's folder"
    )
    parser.add_argument(
        "--policy",
        choices=("random", "straight"),
        help="instead of a checkpoint: drive at random, or straight on",
    )
    parser.add_argument("--routes", metavar="FILE", help="routes in TOML, or in the Leaderboard's XML")
    parser.add_argument(
        "--episodes", type=int, metavar="N", help="how many (default: 100, or each route once)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the episodes (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the summary and each episode there")
    add_configuration(parser)


def _run(arguments: argparse.Namespace) -> int:
    console = console_with_log()
    if (arguments.checkpoint is None) == (arguments.policy is None):
        raise ConfigError("cannot evaluate: name a checkpoint, or give --policy random or straight")
    from trainer import checkpoint, evaluate, results, scores, sessions

    found = None if arguments.policy else checkpoint.load(checkpoint.find(arguments.checkpoint))
    config = configuration(arguments, found.config if found else None)
    if found is not None:
        checkpoint.check_fits(found, config, evaluates=True)
    tasks = _tasks(arguments, config)
    stop = stop_on_signals()
    vector = sessions.started(config, Path(config.output.logs, "evaluation"))
    try:
        driver = _driver(arguments.policy, found, config, vector, stop)
        if driver is None:
            return _STOPPED
        with results.progress(console, len(tasks)) as tell:
            driven = evaluate.evaluate(vector, driver, tasks, stop, tell)
    finally:
        vector.close()
    if driven is None:
        log.warning("evaluation.stopped", reason="nothing is written of a part of the episodes")
        return _STOPPED
    summary = scores.summary(driven)
    who = arguments.policy or str(arguments.checkpoint)
    console_of_output = results.show(who, summary)
    if arguments.json is not None:
        results.write(arguments.json, who, config, arguments.seed, summary, driven)
        console_of_output.print(f"written to {arguments.json}", highlight=False)
    return 0


def _tasks(arguments: argparse.Namespace, config: Config) -> list[Task]:
    """The episodes, which depend on the arguments alone."""
    from trainer.env.route_files import read
    from trainer.episodes import evaluation_seeds
    from trainer.evaluate import Task

    routes: list[tuple[str, dict[str, Any] | None]] = [("", None)]
    if arguments.routes is not None:
        routes = [(spec.id, {"route": msgspec.to_builtins(spec)}) for spec in read(arguments.routes)]
    default = 100 if arguments.routes is None else len(routes)
    count = default if arguments.episodes is None else arguments.episodes
    if count < 1:
        raise ConfigError(f"cannot drive {count} episodes: --episodes is 1 or more")
    seeds = evaluation_seeds(arguments.seed, count)
    return [
        Task(seed, options, route)
        for seed, (route, options) in zip(seeds, itertools.cycle(routes), strict=False)
    ]


def _driver(
    policy: str | None, found: Checkpoint | None, config: Config, vector: Members, stop: Any
) -> Driver | None:
    """None where `stop` said so before there was an environment."""
    from trainer import drivers, spaces
    from trainer.learner import Learner

    if (known := vector.spaces(config.servers.wait_s, stop)) is None:
        return None
    observations, actions = known
    if found is None:
        assert policy is not None
        return drivers.baseline(policy, spaces.action(actions), config.env.action_table)
    learner = Learner(config, observations, actions)
    learner.restore(found)
    return drivers.Greedy(learner.policy)

"""`python -m trainer train`."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from trainer.cli.command import (
    Commands,
    add_command,
    add_configuration,
    configuration,
    console_with_log,
    stop_on_signals,
)

_AUTO = Path("auto")
_EXAMPLES = """\
  python -m trainer train --config training -o ppo.lr=3e-4 --out data/first
  python -m trainer train --config training --config mine.toml --num-episodes 500 --enable-pygame-display
  python -m trainer train --resume data/first              # goes on there, from the newest checkpoint
  python -m trainer train --resume data/first/checkpoints/best.pt --out data/second
  python -m trainer train --config training --resume auto  # goes on where it was ended, or begins
  CARLA_PORT=2000 python -m trainer train                  # on one server, without carlad
"""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "train",
        _run,
        "Train a policy. Ctrl-C or SIGTERM saves and ends it, a second one ends it at once.",
        _EXAMPLES,
    )
    add_configuration(parser)
    parser.add_argument(
        "--num-episodes", type=int, metavar="N", help="end after N episodes (train.episodes_max)"
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE|DIR|auto",
        help="go on from a checkpoint, or a run's newest; auto: with the run in --out, or the newest one of "
        "this configuration that is not at its end, if there is one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="all outputs of the run (default: under data/ and models/; of a resumed run, its own)",
    )
    parser.add_argument(
        "--enable-pygame-display", action="store_true", help="watch it in a window, as python -m viz does"
    )


def _run(arguments: argparse.Namespace) -> int:
    console = console_with_log()
    if arguments.num_episodes is not None:
        arguments.overrides.append(f"train.episodes_max={arguments.num_episodes}")
    path: Path | None = arguments.resume
    config = configuration(arguments) if arguments.config or path in (None, _AUTO) else None
    from trainer import checkpoint, folders, resuming, train, viewer  # torch: not for a mistyped key

    if path == _AUTO:
        assert config is not None
        path = resuming.unfinished(config, arguments.out)
    resume = None if path is None else checkpoint.load(checkpoint.find(path))
    config = config or configuration(arguments, resume.config if resume else None)
    where = folders.of(arguments.out, config.output, time.strftime("%Y%m%d-%H%M%S"), path)
    with ExitStack() as stack:
        if arguments.enable_pygame_display:
            stack.enter_context(viewer.watching(where.run))
        train.train(config, where, resume, stop_on_signals(), console)
    return 0

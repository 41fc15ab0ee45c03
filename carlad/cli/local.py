"""`carlactl local`: a training on this machine, with servers of its own, and what belongs to its day."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli import server
from carlad.cli.command import Exit, add_command, add_family

if TYPE_CHECKING:
    from carlad.cli.command import Commands, Run

_CONFIG = "training.toml"  # in the working directory: yours
_PACKAGED = "training"
_EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 130 interrupted: the training's own.\n"
)
_EXAMPLES = """\
  carlactl local                                   a headless training, until it is done or Ctrl-C
  carlactl local --carla-root /opt/carla           on CARLA
  carlactl local --config demo -o train.seed=7
  carlactl local --resume auto                     goes on where the newest one was ended
  carlactl local viz                               and a window that shows it
  carlactl local carla start && carlactl local     on a server that goes on
"""
_HOW = """\
carlactl: servers for this training: {servers}, of {simulator}. Ctrl-C saves what was learnt, and ends.
carlactl: to watch it, in another terminal here: python -m viz, or carlactl local tensorboard"""
# In a process of its own: carlactl does without what a trainer takes.
_ASK_SESSIONS = """\
import sys
from pathlib import Path
from carlad.errors import CarladError
from trainer.config import load_training_config, override
name, resumed, *overrides = sys.argv[1:]
try:
    if name:
        config = load_training_config(name, overrides=overrides)
    else:
        from trainer import checkpoint
        config = override(checkpoint.load(checkpoint.find(Path(resumed))).config, overrides)
except CarladError as error:
    sys.exit(str(error))
print(config.servers.sessions)
"""
# As short as a training can be that does everything once.
_SHORT = ("train.total_steps=256", "train.eval_episodes=0", "ppo.batch_steps=128", "ppo.minibatch_steps=64")


def add(commands: Commands) -> None:
    whole = add_command(
        commands,
        "local",
        _train,
        "Train on this machine. Servers are started for it and ended with it, unless `carlactl local carla "
        "start` has started one. What comes of it goes to data/ and models/ in the working directory.",
        _EXAMPLES,
        _EXIT_CODES,
        asks_daemon=False,
    )
    _add_options(whole, fresh=True)
    _add_resume(whole, None)
    family = whole.add_subparsers(title="commands", metavar="COMMAND")
    shown = _add(
        family,
        "viz",
        _viz,
        "Train, and show it in a window. Closing that ends nothing.",
        "  carlactl local viz\n",
    )
    _add_resume(shown, argparse.SUPPRESS)
    _add(
        family,
        "test",
        _test,
        "Try everything once. Looks at this machine as `carlactl doctor` does, starts a server, trains on it "
        "for a few seconds, and leaves nothing.",
        "  carlactl local test\n  carlactl local test --carla-root /opt/carla\n",
    )
    config = add_command(
        family,
        "config",
        _config,
        f"Print the training's configuration. That is {_CONFIG} in the working directory, or a packaged one.",
        "  carlactl local config\n  carlactl local config --edit\n",
        "Exit codes: 0 done, 1 the editor failed, 2 there is no such configuration.\n",
        asks_daemon=False,
    )
    config.add_argument("--edit", action="store_true", help=f"make {_CONFIG} where there is none, in $EDITOR")
    tensorboard = add_command(
        family,
        "tensorboard",
        _tensorboard,
        "Show the trainings in a browser, until Ctrl-C.",
        "  carlactl local tensorboard --port 6006\n",
        "Exit codes: 0 done, else TensorBoard's own.\n",
        asks_daemon=False,
    )
    tensorboard.add_argument("--port", type=int, default=6006, metavar="N", help="(default: 6006)")
    tensorboard.add_argument("--logdir", default="data", metavar="DIR", help="(default: data)")
    carla = add_family(
        family, "carla", "A server that goes on between trainings. As `carlactl server` has it."
    )
    server.add_to(carla, called="local carla", in_background=True)
    help_ = family.add_parser("help", help="what you read")
    help_.set_defaults(run=lambda _arguments: whole.print_help())


def _add(family: Commands, name: str, run: Run, description: str, examples: str) -> argparse.ArgumentParser:
    parser = add_command(family, name, run, description, examples, _EXIT_CODES, asks_daemon=False)
    _add_options(parser, fresh=False)
    return parser


def _add_resume(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--resume",
        default=default,
        metavar="FILE|DIR|auto",
        help="go on from a checkpoint, or a run's newest; auto: as `python -m trainer train` has it",
    )


def _add_options(parser: argparse.ArgumentParser, *, fresh: bool) -> None:
    """`fresh`: with defaults; a command of the family leaves alone what stands before its name."""

    def default(value: object) -> object:
        return value if fresh else argparse.SUPPRESS

    parser.add_argument(
        "--config",
        default=default(None),
        metavar="NAME|FILE",
        help=f"of the trainer (default: {_CONFIG} if it is here, else the packaged {_PACKAGED})",
    )
    parser.add_argument(
        "-o",
        dest="override",
        action="append",
        default=default(None),
        metavar="KEY=VALUE",
        help="such as train.seed=7",
    )
    parser.add_argument("--out", default=default(None), metavar="DIR", help="everything goes there instead")
    parser.add_argument(
        "--servers",
        type=_count,
        default=default(None),
        metavar="N",
        help="(default: servers.sessions of the configuration)",
    )
    root = parser.add_argument(
        "--carla-root",
        type=Path,
        default=default(os.environ.get("CARLA_ROOT")),
        metavar="DIR",
        help="the folder of CarlaUE4.sh (default: CARLA_ROOT; without it the stand-in)",
    )
    root.complete = "directory"  # type: ignore[attr-defined]
    parser.add_argument("--quality", choices=("Low", "Medium", "High", "Epic"), default=default("Low"))
    parser.add_argument(
        "--port", type=int, default=default(2000), metavar="N", help="of `local carla` (2000)"
    )


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 64")
    return value


def _train(arguments: argparse.Namespace) -> int:
    return _with_servers(arguments, lambda environ: _run_trainer(arguments, environ, arguments.out))


def _viz(arguments: argparse.Namespace) -> int:
    out = arguments.out
    if out is None and arguments.resume is None:
        out = f"data/local/{time.strftime('%Y%m%d-%H%M%S')}"
    show = [sys.executable, "-m", "viz", "--wait", "120", *(["--run", out] if out else [])]

    def both(environ: dict[str, str]) -> int:
        viewer = subprocess.Popen(show, env=environ)
        try:
            return _run_trainer(arguments, environ, out)
        finally:
            viewer.terminate()
            viewer.wait()

    return _with_servers(arguments, both)


def _test(arguments: argparse.Namespace) -> int:
    looked = subprocess.run([sys.executable, "-m", "carlad.cli", "doctor"], check=False)
    with tempfile.TemporaryDirectory(prefix="carlad-test-") as out:
        arguments.servers, arguments.resume = 1, None
        arguments.override = [*_SHORT, *(arguments.override or [])]
        trained = _with_servers(arguments, lambda environ: _run_trainer(arguments, environ, f"{out}/run"))
    if trained != Exit.DONE:
        print(f"carlactl: the training failed with exit code {trained}", file=sys.stderr)
    elif looked.returncode != Exit.DONE:
        print("carlactl: the training went well, but see what is wrong above", file=sys.stderr)
    else:
        print("a server was started, and a training went well on it")
    return trained or looked.returncode


def _with_servers(arguments: argparse.Namespace, run: Callable[[dict[str, str]], int]) -> int:
    """What `run` returns, given where the trainer finds servers: one that goes on, or some for this time."""
    from carlad.cli.pool import pool
    from carlad.cli.private import Private

    lasting = Private(arguments.port)
    if lasting.runs:
        arguments.servers = 1
        print(f"carlactl: on the server at port {arguments.port}, which goes on afterwards", file=sys.stderr)
        return run({**os.environ, "CARLA_HOST": "127.0.0.1", "CARLA_PORT": str(arguments.port)})
    if arguments.servers is None:
        arguments.servers = _sessions(arguments)
    fleet = server.simulator(arguments.carla_root, arguments.quality) | {"size": arguments.servers}
    simulator = arguments.carla_root or "the bundled stand-in"
    print(_HOW.format(servers=arguments.servers, simulator=simulator), file=sys.stderr)
    with pool(fleet) as endpoint:
        environ = {
            name: value for name, value in os.environ.items() if name not in ("CARLA_HOST", "CARLA_PORT")
        }
        return run({**environ, "CARLAD_ENDPOINT": endpoint})


def _run_trainer(arguments: argparse.Namespace, environ: dict[str, str], out: str | None) -> int:
    """It alone hears of an interrupt only through us, once: a second one would cost what it has learnt."""
    from carlad.cli import execute

    command = [sys.executable, "-m", "trainer", "train"]
    command += ["--config", name] if (name := _config_of(arguments)) else []
    command += ["--out", out] if out else []
    command += ["--resume", arguments.resume] if arguments.resume else []
    for override in (*(arguments.override or ()), f"servers.sessions={arguments.servers}"):
        command += ["-o", override]
    print(f"carlactl: {shlex.join(['python', *command[1:]])}", file=sys.stderr)
    trainer = subprocess.Popen(
        command, env=environ, start_new_session=True, preexec_fn=execute.die_with_parent
    )
    while trainer.poll() is None:
        with suppress(KeyboardInterrupt):
            return trainer.wait()
        trainer.terminate()
    return trainer.returncode


def _sessions(arguments: argparse.Namespace) -> int:
    """How many environments the configuration has. Raises ConfigError where that cannot be used."""
    from carlad.errors import ConfigError

    name, resumed = _config_of(arguments), arguments.resume or ""
    ask = [sys.executable, "-c", _ASK_SESSIONS, name, resumed, *(arguments.override or ())]
    asked = subprocess.run(ask, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise ConfigError(asked.stderr.strip())
    return int(asked.stdout)


def _config_of(arguments: argparse.Namespace) -> str:
    """The training's: a name or a file. Empty: what is resumed has its own."""
    if arguments.config is None and arguments.resume not in (None, "auto"):
        return ""
    return arguments.config or (_CONFIG if Path(_CONFIG).is_file() else _PACKAGED)


def _config(arguments: argparse.Namespace) -> int:
    yours = Path(_CONFIG)
    if arguments.edit:
        if not yours.exists():
            yours.write_text(_packaged().read_text())
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        return Exit.FAILED if subprocess.run([*editor, str(yours)], check=False).returncode else Exit.DONE
    shown = yours if yours.is_file() else _packaged()
    print(f"# {shown}", flush=True)
    print(shown.read_text(), end="")
    return Exit.DONE


def _packaged() -> Path:
    """Raises ConfigError."""
    import importlib.util

    from carlad.errors import ConfigError

    found = importlib.util.find_spec("trainer")
    path = None if found is None or found.origin is None else Path(found.origin).parent / "configs" / _CONFIG
    if path is None or not path.is_file():
        raise ConfigError("cannot find the trainer's configurations: install carlad[trainer]")
    return path


def _tensorboard(arguments: argparse.Namespace) -> int:
    command = ["--logdir", arguments.logdir, "--host", "localhost", "--port", str(arguments.port)]
    return subprocess.run([sys.executable, "-m", "tensorboard.main", *command], check=False).returncode

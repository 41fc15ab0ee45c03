"""`carlactl install --systemd` and `carlactl uninstall --systemd`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli.command import Exit, add_command

if TYPE_CHECKING:
    from carlad.cli.command import Commands, Run
    from carlad.deployment import Step

    Command = Sequence[str]

# Where distributions have a library whose name tells systemd's version.
_LIBRARIES = ("usr/lib/systemd/libsystemd-shared-*.so", "usr/lib/*/systemd/libsystemd-shared-*.so")
_EXIT_CODES = "Exit codes: 0 done, 1 a command of systemd failed, 2 it cannot be done (nothing was).\n"
_NEXT = """\
Next: see what /etc/carlad/carlad.toml says, then
  systemctl enable --now carlad      the daemon, now and at each boot
  usermod -aG carlad USER            who may lease servers
  systemctl status carlad"""
_UNDELEGATED = """\
For systemd {systemd}: nothing is delegated to carlad.service, as that takes {since} (DelegateSubgroup=), so
resources.memory_max_mb limits nothing. Install again after an update of systemd."""
_LEFT = """\
Left are /var/{lib,cache,log}/carlad, /var/{lib,cache}/carlad-trainer, the users carlad and carlad-trainer,
and whatever else is in /etc/carlad."""


def add(commands: Commands) -> None:
    install = _add(
        commands,
        "install",
        _install,
        "Make carlad a service of this machine. Writes the units, a configuration to begin with, and the "
        "services' users; starts nothing. Units that somebody has edited are not replaced: changes belong "
        "into `systemctl edit carlad`.",
        """\
  sudo carlactl install --systemd --dry-run
  sudo carlactl install --systemd --now
  carlactl install --systemd --root image      files alone, below that folder
""",
    )
    install.add_argument(
        "--for-systemd",
        type=int,
        metavar="N",
        help="write for that version (default: the one below --root, else this machine's)",
    )
    install.add_argument("--now", action="store_true", help="start the daemon, now and at each boot")
    _add(
        commands,
        "uninstall",
        _uninstall,
        "Stop carlad's services and remove what `install` wrote. What somebody has edited since stays, as do "
        "logs, the daemon's state, trainings and users.",
        """\
  sudo carlactl uninstall --systemd --dry-run
  sudo carlactl uninstall --systemd
""",
    )


def _add(commands: Commands, name: str, run: Run, description: str, examples: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, run, description, examples, _EXIT_CODES, asks_daemon=False)
    parser.add_argument("--systemd", action="store_true", required=True, help="as services of systemd")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    root = parser.add_argument(
        "--root", type=Path, metavar="DIR", help="write below this folder, and tell systemd nothing"
    )
    root.complete = "directory"  # type: ignore[attr-defined]
    return parser


def _install(arguments: argparse.Namespace) -> int:
    from carlad.deployment import PLACES, SUBGROUPS_SINCE, UNITS, Act, installation, rendered
    from carlad.errors import ConfigError

    scripts = Path(sysconfig.get_path("scripts"))
    _check(arguments, "install")
    if arguments.root is None:
        _check_reachable(scripts / "python")
    systemd = _systemd_version(arguments)
    texts = {name: rendered(_template(name), scripts, systemd) for name in PLACES}
    steps = list(installation(texts, _found(arguments.root), _root(arguments)))
    for step in steps:
        if step.act is Act.REFUSE:
            raise ConfigError(
                f"cannot install: {step.path}: {step.why}; put changes into `systemctl edit "
                f"{step.path.name}`, move that file away, and try again"
            )
    after: list[Command] = [
        ("systemd-sysusers", "carlad.conf"),
        ("systemd-tmpfiles", "--create", "carlad.conf"),
        ("systemctl", "daemon-reload"),
        *([("systemctl", "enable", "--now", UNITS[0])] if arguments.now else []),
    ]
    code = _do(arguments, [], steps, after)
    if code == Exit.DONE and systemd < SUBGROUPS_SINCE:
        print(_UNDELEGATED.format(systemd=systemd, since=SUBGROUPS_SINCE))
    if code == Exit.DONE and arguments.root is None and not (arguments.dry_run or arguments.now):
        print(_NEXT)
    return code


def _uninstall(arguments: argparse.Namespace) -> int:
    from carlad.deployment import UNITS, removal

    _check(arguments, "uninstall")
    found = _found(arguments.root)
    names = {path.name for path in found}
    running = [unit.replace("@.", "@*.") for unit in UNITS if unit in names]
    enabled = [unit for unit in UNITS if unit in names and unit not in ("carlad-reap.service",)]
    before: list[Command] = []
    if running:
        before = [("systemctl", "disable", *enabled), ("systemctl", "stop", *running)]
    code = _do(arguments, before, removal(found), [("systemctl", "daemon-reload")])
    if code == Exit.DONE and arguments.root is None and not arguments.dry_run:
        print(_LEFT)
    return code


def _check(arguments: argparse.Namespace, what: str) -> None:
    """Raises ConfigError where it cannot be done."""
    from carlad.errors import ConfigError

    if arguments.root is not None:
        if getattr(arguments, "now", False):
            raise ConfigError("--now: nothing is started below --root")
        return
    if not Path("/run/systemd/system").is_dir():
        raise ConfigError(
            f"cannot {what}: systemd does not run here; --root DIR writes the files alone, and any other "
            "service manager can run `carlad --config FILE`"
        )
    if os.geteuid() != 0 and not arguments.dry_run:
        raise ConfigError(f"cannot {what}: that takes root; sudo {shlex.join([sys.argv[0], *sys.argv[1:]])}")


def _check_reachable(python: Path) -> None:
    from carlad.deployment import unreachable
    from carlad.errors import ConfigError

    for program in (python, python.resolve()):
        modes = {folder: folder.stat().st_mode for folder in program.parents}
        why = unreachable(program, modes)
        if why is not None:
            raise ConfigError(
                f"cannot install: the services' users cannot run {program}: {why}; install carlad where they "
                "can, as with `python3 -m venv /opt/carlad` and, in a clone of the sources, "
                "`/opt/carlad/bin/pip install .[all]`, and use its carlactl"
            )


def _systemd_version(arguments: argparse.Namespace) -> int:
    """As it was said, else of the system below --root, else of this machine; where none is, the newest."""
    if arguments.for_systemd is not None:
        return int(arguments.for_systemd)
    root = _root(arguments)
    libraries = [path for place in _LIBRARIES for path in root.glob(place)]
    if found := [int(number[1]) for path in libraries if (number := re.search(r"-(\d+)", path.name))]:
        return max(found)
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return sys.maxsize
    said = subprocess.run([systemctl, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.match(r"systemd (\d+)", said)
    return int(number[1]) if number else sys.maxsize


def _template(name: str) -> str:
    """In a wheel the folder is a part of the package, in the sources it lies beside it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "systemd", package.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text()
    from carlad.errors import ConfigError

    raise ConfigError(f"cannot install: {package}/systemd/{name} is missing; install carlad anew")


def _root(arguments: argparse.Namespace) -> Path:
    return Path("/") if arguments.root is None else Path(arguments.root)


def _found(root: Path | None) -> dict[Path, str]:
    """What lies where `install` would write."""
    from carlad.deployment import PLACES

    paths = [(root or Path("/")) / place for place in PLACES.values()]
    return {path: path.read_text(errors="replace") for path in paths if path.exists()}


def _do(
    arguments: argparse.Namespace, before: Iterable[Command], steps: Iterable[Step], after: Iterable[Command]
) -> Exit:
    """Says each thing, and does it but for a dry run. Commands are for the system that runs alone."""
    is_here = arguments.root is None
    for command in before if is_here else ():
        if not _run(command, dry=arguments.dry_run):
            return Exit.FAILED
    for step in steps:
        print(f"{step.act.value:<8} {step.path}{f': {step.why}' if step.why else ''}")
        if not arguments.dry_run:
            _perform(step)
    for command in after if is_here else ():
        if not _run(command, dry=arguments.dry_run):
            return Exit.FAILED
    return Exit.DONE


def _perform(step: Step) -> None:
    """Raises ConfigError."""
    from carlad.deployment import Act
    from carlad.errors import ConfigError

    try:
        if step.act in (Act.WRITE, Act.REPLACE):
            step.path.parent.mkdir(parents=True, exist_ok=True)
            new = step.path.with_name(f"{step.path.name}.new")
            new.write_text(step.text)
            new.chmod(0o644)
            new.replace(step.path)
        elif step.act is Act.REMOVE:
            step.path.unlink()
    except OSError as error:
        raise ConfigError(f"cannot {step.act.value} {step.path}: {error.strerror}") from error


def _run(command: Command, *, dry: bool) -> bool:
    print(f"{'run':<8} {shlex.join(command)}", flush=True)
    if dry:
        return True
    try:
        code = subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        print(f"carlactl: there is no {command[0]} on this machine", file=sys.stderr)
        return False
    if code != 0:
        print(f"carlactl: it failed with exit code {code}", file=sys.stderr)
    return code == 0

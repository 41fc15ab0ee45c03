"""`carlactl`: all commands together, and errors as exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from carlad import __version__
from carlad.cli import (
    completion,
    configuration,
    doctor,
    events,
    install,
    keygen,
    leases,
    local,
    logs,
    operator,
    reap,
    server,
    sessions,
    status,
    top,
)
from carlad.cli.command import EXIT_CODES, Exit, Run, add_endpoint
from carlad.errors import CarladError, ConfigError, NoDaemonError, RequestError, WaitedInVainError

_FAMILIES = (
    status,
    sessions,
    top,
    leases,
    logs,
    events,
    operator,
    reap,
    server,
    local,
    configuration,
    doctor,
    keygen,
    install,
    completion,
)
_INTERRUPTS = (signal.SIGTERM, signal.SIGHUP)
_EXAMPLES = f"""\
examples:
  carlactl status                          the fleet at a glance
  carlactl lease --wait 60 --ttl 600       a server for ten minutes
  carlactl release lease-17                give it back
  carlactl events -f                       what happens, as it happens

The daemon is found by --endpoint, else CARLAD_ENDPOINT, else the user's or the system's default socket.
{EXIT_CODES}"""


def carlactl(argv: Sequence[str] | None = None) -> int:
    """Does one command. Returns the exit code."""
    arguments = _parse(list(sys.argv[1:] if argv is None else argv))
    run: Run = arguments.run
    try:
        with _signals_interrupt():
            code = run(arguments) or Exit.DONE
            sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except CarladError as error:
        print(f"carlactl: {error}", file=sys.stderr)
        return exit_code(error)
    return code


def _parse(words: list[str]) -> argparse.Namespace:
    """What is behind --exec is another command's, every `--` and `--help` of it: argparse sees none of it."""
    if "--exec" not in words:
        return parser().parse_args(words)
    end = words.index("--exec") + 1
    arguments = parser().parse_args(words[:end])
    arguments.exec = words[end:]
    return arguments


def exit_code(error: CarladError) -> Exit:
    match error:
        case ConfigError() | RequestError(code="bad-config"):
            return Exit.USAGE
        case NoDaemonError():
            return Exit.NO_DAEMON
        case WaitedInVainError():
            return Exit.WAITED_IN_VAIN
        case _:
            return Exit.FAILED


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="carlactl",
        description="Ask the carlad daemon.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"carlactl {__version__}")
    add_endpoint(whole)
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for family in _FAMILIES:
        family.add(commands)
    return whole


def every_command(whole: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of commands that do something, but for those that completion alone uses."""
    if whole.description and whole.get_default("run") is not None:
        yield whole
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from every_command(command)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that was closed, too: a request that waits is then withdrawn."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

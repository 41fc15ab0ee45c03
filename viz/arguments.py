"""What all commands of `python -m viz` ask for: which session, how large, how long."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

from viz import sessions
from viz.scene import ViewerError

_LOOK_AGAIN_S = 0.1


def add_what(
    parser: argparse.ArgumentParser, help_: str = "a run's name or directory, or a session's id"
) -> None:
    """The arguments that say which session is meant."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("what", nargs="?", help=help_)
    what.add_argument("--telemetry", metavar="ENDPOINT", help="telemetry endpoint of one session")
    what.add_argument(
        "--run", metavar="DIR", type=Path, help="run directory of a trainer (has sessions.json)"
    )
    parser.add_argument("--session", metavar="NAME", help="which session of the run (default: the first)")
    parser.add_argument(
        "--endpoint", help="of the daemon (default: CARLAD_ENDPOINT, else its socket on this machine)"
    )
    parser.add_argument(
        "--wait",
        metavar="S",
        type=positive,
        help="how long to wait for the run, and then for a first picture (default: 0 and 30 s)",
    )


def found_in_time(options: argparse.Namespace) -> tuple[sessions.Listing, str | None]:
    """Waits for what is to be watched as long as --wait says, and not at all without it."""
    deadline_s = time.monotonic() + (options.wait or 0.0)
    while True:
        try:
            return _found(options)
        except sessions.NoRunError:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _found(options: argparse.Namespace) -> tuple[sessions.Listing, str | None]:
    """Raises ViewerError where there is no such run or session."""
    if options.telemetry is not None:
        return sessions.of_endpoint(options.telemetry, options.session), None
    if options.run is not None:
        listing, chosen = sessions.of_run(options.run), None
    else:
        listing, chosen = sessions.find(options.what, options.endpoint)
    names = [session.session for session in listing()]
    if options.session not in (None, *names):
        raise ViewerError(f"cannot watch {options.session!r}: the sessions there are {', '.join(names)}")
    return listing, options.session or chosen


def positive(text: str) -> float:
    """Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"cannot use {text!r}: a number above 0 is wanted")
    return value


def size_of(text: str) -> tuple[int, int]:
    """Width and height in pixels. Raises ArgumentTypeError."""
    width, _, height = text.partition("x")
    if not (
        width.isdecimal() and height.isdecimal() and 800 <= int(width) <= 7680 and 600 <= int(height) <= 4320
    ):
        raise argparse.ArgumentTypeError(
            f"cannot use {text!r}: sizes are WIDTHxHEIGHT, from 800x600 to 7680x4320"
        )
    return int(width), int(height)

"""`python -m viz`: watch a training that is running, in a window or as a picture in a file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import closing
from pathlib import Path

from carlad.errors import CarladError
from viz.source import NoRunError, Session, Source, ViewerError, newest_run, read_sessions

_EXAMPLES = """\
examples:
  python -m viz                                       the newest run under data/
  python -m viz --run data/runs/demo --session env-1  one session of a run
  python -m viz --telemetry ipc:///run/user/1000/carlad/env-1.telemetry
  python -m viz --snapshot now.png --size 800x600     no screen needed
"""


_FIRST_PICTURE_WITHIN_S = 10.0  # several times what a learner's update takes
_LOOK_AGAIN_S = 0.1


def main(arguments: list[str] | None = None) -> int:
    """The command's exit code: 0 done, 1 nothing to see or no screen, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        with closing(_source_in_time(options)) as source:
            _show(source, options)
    except CarladError as error:
        print(f"viz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _show(source: Source, options: argparse.Namespace) -> None:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if options.snapshot is not None:
        os.environ["SDL_VIDEODRIVER"] = "dummy"
    from viz import app  # pygame reads these variables when it is imported

    if options.snapshot is None:
        app.run_window(source, options.size)
    else:
        app.snapshot(source, options.snapshot, options.size, options.wait or _FIRST_PICTURE_WITHIN_S)
        print(options.snapshot)


def _source_in_time(options: argparse.Namespace) -> Source:
    """Waits for the run as long as --wait says, and not at all without it."""
    deadline_s = time.monotonic() + (options.wait or 0.0)
    while True:
        try:
            return _source(options)
        except NoRunError:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _source(options: argparse.Namespace) -> Source:
    """Raises ViewerError where there is no such run or session, TelemetryError for a bad endpoint."""
    if options.telemetry is not None:
        return Source([Session(options.session or options.telemetry, options.telemetry)])
    run = options.run or newest_run(Path("data"))
    sessions = read_sessions(run)
    names = [session.session for session in sessions]
    if options.session not in (None, *names):
        raise ViewerError(f"cannot watch {options.session!r}: {run} has the sessions {', '.join(names)}")
    return Source(sessions, names.index(options.session) if options.session else 0, run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m viz",
        description="Watch a training that is running; it does not slow down, and you may leave at any time.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--telemetry", metavar="ENDPOINT", help="telemetry endpoint of one session")
    what.add_argument(
        "--run", metavar="DIR", type=Path, help="run directory of a trainer (has sessions.json)"
    )
    parser.add_argument("--session", metavar="NAME", help="which session of the run (default: the first)")
    parser.add_argument(
        "--size", metavar="WxH", type=_size, default=(1280, 720), help="window size in pixels"
    )
    parser.add_argument("--snapshot", metavar="FILE.png", type=Path, help="write one picture and exit")
    parser.add_argument(
        "--wait",
        metavar="S",
        type=float,
        help="how long to wait for the run, and then for a snapshot's picture (default: 0 and 10 s)",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (
        width.isdecimal() and height.isdecimal() and 800 <= int(width) <= 7680 and 600 <= int(height) <= 4320
    ):
        raise argparse.ArgumentTypeError(
            f"cannot use {text!r}: sizes are WIDTHxHEIGHT, from 800x600 to 7680x4320"
        )
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m viz`: watch a training that is running, in a window, or as a picture or a film in a file."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.errors import CarladError
from viz.arguments import add_what, found_in_time, positive, size_of
from viz.scene import ViewerError

if TYPE_CHECKING:
    from viz.replay import Replay
    from viz.source import Source

_EXAMPLES = """\
examples:
  python -m viz                                   the newest run under data/, else the daemon's sessions
  python -m viz first --session env-1             one session of the run data/.../first
  python -m viz session-1f00c2a9                  a session of the daemon
  python -m viz --list                            what there is to watch
  python -m viz first --snapshot now.png          no screen needed
  python -m viz first --video drive.mp4 --seconds 10
  python -m viz first --record drive.mcap --seconds 10
  python -m viz cloud first                       the LiDAR's points in three dimensions
  python -m viz replay drive.mcap --speed 2
  python -m viz info drive.mcap
"""

_FIRST_PICTURE_WITHIN_S = 30.0  # several times what a learner's update takes on a loaded machine
_SIZE = (1280, 720)


def main(arguments: list[str] | None = None) -> int:
    """The command's exit code: 0 done, 1 nothing to see or no screen, 2 wrong usage."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # read when pygame is imported
    given = sys.argv[1:] if arguments is None else arguments
    command = _COMMANDS.get(given[0]) if given else None
    try:
        return command(given[1:]) if command is not None else _watch(given)
    except CarladError as error:
        print(f"viz: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _watch(given: list[str]) -> int:
    options = _parser().parse_args(given)
    listing, chosen = found_in_time(options)
    if options.list:
        for session in listing():
            print(f"{session.session}\t{session.telemetry}")
        return 0
    _prepare_pygame(options)
    from viz.source import Source

    with closing(Source(listing, chosen)) as source:
        if options.record is not None:
            _record(source, options)
        else:
            _show(source, options)
    return 0


def _replay(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m viz replay", description="Show a recording.")
    parser.add_argument("file", type=Path, metavar="FILE.mcap")
    parser.add_argument("--speed", type=positive, default=1.0, help="times as quick as it was (default: 1)")
    parser.add_argument("--at", type=float, default=0.0, metavar="S", help="begin there, in seconds")
    _add_output(parser)
    options = parser.parse_args(given)
    _prepare_pygame(options)
    from viz.replay import Replay

    with closing(Replay(options.file, options.speed)) as replay:
        replay.go_to(options.at)
        replay.update(0.0)
        _show(replay, options)
    return 0


def _info(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m viz info", description="Say what is in a recording.")
    parser.add_argument("file", type=Path, metavar="FILE.mcap")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(given)
    from viz.info import print_info

    print_info(options.file, as_json=options.json)
    return 0


def _cloud(given: list[str]) -> int:
    from viz.cloud_command import main

    return main(given)


_COMMANDS = {"replay": _replay, "info": _info, "cloud": _cloud}


def _prepare_pygame(options: argparse.Namespace) -> None:
    """What needs no screen gets none: pygame reads this variable when it is imported."""
    if options.snapshot is not None or options.video is not None:
        os.environ["SDL_VIDEODRIVER"] = "dummy"


def _show(source: Source | Replay, options: argparse.Namespace) -> None:
    from viz import app, headless

    wait_s = getattr(options, "wait", None) or _FIRST_PICTURE_WITHIN_S
    if options.snapshot is not None:
        headless.snapshot(source, options.snapshot, options.size, wait_s, options.scale)
        print(options.snapshot)
    elif options.video is not None:
        seconds = options.seconds or (math.inf if hasattr(source, "reader") else 10.0)
        count = headless.film(source, options.video, options.size, seconds, wait_s, options.scale)
        print(f"{options.video}: {count} pictures")
    else:
        app.run_window(source, options.size, options.scale)


def _record(source: Source, options: argparse.Namespace) -> None:
    """Record without showing anything, until the time is over or the command is interrupted."""
    wait_s = options.wait or _FIRST_PICTURE_WITHIN_S
    if not source.update(wait_s):
        endpoint = source.scene().session.telemetry
        raise ViewerError(f"no telemetry from {endpoint} within {wait_s:g} s: is the training running?")
    source.record(options.record)
    if (said := source.scene().said) is not None:
        raise ViewerError(said)
    deadline_s = time.monotonic() + (options.seconds or math.inf)
    try:
        while time.monotonic() < deadline_s:
            source.update(0.1)
    except KeyboardInterrupt:
        pass
    source.stop_recording()
    print(source.scene().said)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m viz",
        description="Watch a training that is running; it does not slow down, and you may leave at any time.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_what(parser)
    parser.add_argument("--list", action="store_true", help="print the sessions instead of showing one")
    parser.add_argument("--record", metavar="FILE.mcap", type=Path, help="record, and show nothing")
    _add_output(parser)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", metavar="WxH", type=size_of, default=_SIZE, help="window size in pixels (default: 1280x720)"
    )
    parser.add_argument(
        "--scale", type=positive, help="of letters and lines, 1 to 4 (default: as the size suggests)"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--snapshot", metavar="FILE.png", type=Path, help="write one picture and exit")
    output.add_argument("--video", metavar="FILE.mp4", type=Path, help="write a film and exit")
    parser.add_argument(
        "--seconds", metavar="S", type=positive, help="length of a film (10; of a replay: all) or recording"
    )


if __name__ == "__main__":
    sys.exit(main())

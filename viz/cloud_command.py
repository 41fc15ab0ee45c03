"""`python -m viz cloud`: the LiDAR's points of a session or a recording, in a window or as a picture."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from viz.arguments import add_what, found_in_time, size_of
from viz.geometry import COLOURINGS, PRESETS

if TYPE_CHECKING:
    from viz.replay import Replay
    from viz.source import Source

_EXAMPLES = """\
examples:
  python -m viz cloud first                              a run; as `python -m viz` finds it
  python -m viz cloud drive.mcap --at 12 --colour height
  python -m viz cloud first --camera top --snapshot cloud.png
"""
_FIRST_WITHIN_S = 30.0


def main(given: list[str]) -> int:
    """Raises CarladError."""
    options = _parser().parse_args(given)
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws the caption only
    from viz import cloud
    from viz.caption import save_with_caption

    with ExitStack() as stack:
        source = stack.enter_context(closing(_source(options)))
        scene = cloud.first_cloud(source, options.wait or _FIRST_WITHIN_S)
        view = stack.enter_context(closing(cloud.CloudView(options.size, options.snapshot is None)))
        view.colour(options.colour)
        view.look(PRESETS[options.camera])
        view.show(scene)
        if options.snapshot is not None:
            save_with_caption(view.picture(), scene, options.colour, options.snapshot)
            print(options.snapshot)
        else:
            print(cloud.KEYS, flush=True)
            cloud.run_cloud(source, view)
    return 0


def _source(options: argparse.Namespace) -> Source | Replay:
    from viz.replay import Replay
    from viz.source import Source

    if options.what is not None and options.what.endswith(".mcap"):
        replay = Replay(Path(options.what))
        replay.go_to(options.at)
        replay.update(0.0)
        return replay
    return Source(*found_in_time(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m viz cloud",
        description="Show the LiDAR's points with boxes, route and axes.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_what(parser, "a run's name or directory, a session's id, or a recording FILE.mcap")
    parser.add_argument("--at", type=float, default=0.0, metavar="S", help="of a recording: begin there")
    parser.add_argument("--colour", choices=COLOURINGS, default=COLOURINGS[0])
    parser.add_argument("--camera", choices=tuple(PRESETS), default="behind")
    parser.add_argument("--size", metavar="WxH", type=size_of, default=(1280, 720))
    parser.add_argument("--snapshot", metavar="FILE.png", type=Path, help="write one picture and exit")
    return parser

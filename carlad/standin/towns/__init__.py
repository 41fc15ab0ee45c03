"""The towns that come with the stand-in, and towns made of a user's OpenDRIVE text.

available()                      # ("/Game/Carla/Maps/Town01", ...), as get_available_maps answers
load("Town01")                   # a Town; a path before the name is accepted; raises UnknownTownError
load("Town01", [Path("maps")])   # files found there take the place of bundled ones of their name
from_opendrive(name, xodr)       # a Town of any OpenDRIVE text; raises OpenDriveError
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carlad.standin.towns import files
from carlad.standin.towns.lights import LightGroup, StopLine, TrafficLight
from carlad.standin.towns.signs import TrafficSign
from carlad.standin.towns.town import OpenDriveError, Town, from_opendrive, town_of

__all__ = [
    "LightGroup",
    "OpenDriveError",
    "StopLine",
    "Town",
    "TrafficLight",
    "TrafficSign",
    "UnknownTownError",
    "available",
    "from_opendrive",
    "load",
]


class UnknownTownError(LookupError):
    """There is no town of that name."""


def available(directories: Sequence[Path] = ()) -> tuple[str, ...]:
    """Names in the form in which a CARLA server lists its maps. Raises NotADirectoryError."""
    return tuple(f"/Game/Carla/Maps/{name}" for name in files.names(directories))


def load(name: str, directories: Sequence[Path] = ()) -> Town:
    """A town, by its plain name or with CARLA's path before it.

    `directories` hold OpenDRIVE files, or CARLA installations. Raises UnknownTownError, OpenDriveError for a
    file that is none, NotADirectoryError.
    """
    plain = name.rpartition("/")[2]
    path = files.path_of(plain, directories)
    if path is None:
        raise UnknownTownError(f"cannot load map {name!r}: there are {', '.join(files.names(directories))}")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    build = town_of if files.is_bundled(path) else from_opendrive
    return build(f"Carla/Maps/{plain}", text)

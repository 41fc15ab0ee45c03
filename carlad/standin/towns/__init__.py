"""The towns that come with the stand-in, and towns made of a user's OpenDRIVE text.

available()                      # ("/Game/Carla/Maps/Town01", ...), as get_available_maps answers
load("Town01")                   # a Town; a path before the name is accepted; raises UnknownTownError
from_opendrive(name, xodr)       # a Town of any OpenDRIVE text; raises OpenDriveError
"""

from __future__ import annotations

from pathlib import Path

from carlad.standin.towns.lights import LightGroup, StopLine, TrafficLight
from carlad.standin.towns.town import OpenDriveError, Town, from_opendrive

__all__ = [
    "LightGroup",
    "OpenDriveError",
    "StopLine",
    "Town",
    "TrafficLight",
    "UnknownTownError",
    "available",
    "from_opendrive",
    "load",
]

_FILES = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.xodr"))}


class UnknownTownError(LookupError):
    """There is no town of that name."""


def available() -> tuple[str, ...]:
    """Names in the form in which a CARLA server lists its maps."""
    return tuple(f"/Game/Carla/Maps/{name}" for name in _FILES)


def load(name: str) -> Town:
    """A bundled town, by its plain name or with CARLA's path before it."""
    plain = name.rpartition("/")[2]
    if plain not in _FILES:
        raise UnknownTownError(f"cannot load map {name!r}: there are {', '.join(_FILES)}")
    return from_opendrive(f"Carla/Maps/{plain}", _FILES[plain].read_text(encoding="utf-8"))

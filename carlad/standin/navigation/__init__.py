"""Where walkers may walk: the navigation mesh that the client's crowd simulation loads.

file_name("Carla/Maps/Town01", xodr)   # how the client is to call the file; None: the map has no pavement
mesh_file(town_map, xodr)              # the file's content

The file is Detour's. Walkers keep to pavements, use crosswalks, and cross roads where the client's cross
factor lets them. Pavements are the map's sidewalk lanes, joined around junctions' corners where the map
leaves gaps there; crosswalks are the map's, or, where it draws none, one before every junction.
"""

from __future__ import annotations

import logging
import re
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.standin.navigation import detour, tiles
from carlad.standin.navigation.build import patches
from carlad.standin.navigation.check import NavigationFileError, checked
from carlad.standin.navigation.mesh import joined

if TYPE_CHECKING:
    import carla

__all__ = ["FOLDER", "NavigationFileError", "file_name", "mesh_file"]

log = logging.getLogger("carlad.standin")

FOLDER = "Nav"  # under which the client asks for it
_LOST_M2 = 1.0
_NAME_MAX = 40
_SIDEWALK = re.compile(r"""type\s*=\s*["']sidewalk["']""")


@lru_cache(8)
def file_name(town_name: str, xodr: str) -> str | None:
    """The file's name, with a hash of all that its content follows from: the map and this package.

    A client that has a file of that name takes it without asking again, for ever. None where the map has no
    sidewalk lane.
    """
    if _SIDEWALK.search(xodr) is None:
        return None
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", town_name.rpartition("/")[2])[:_NAME_MAX]
    key = sha256(_package_hash() + xodr.encode()).hexdigest()[:16]
    return f"{FOLDER}/{plain}-{key}.bin"


def mesh_file(town_map: carla.Map, xodr: str) -> bytes:
    """The file for a map, checked; empty where nobody can walk. `xodr` is the map's OpenDRIVE text.

    Raises NavigationFileError rather than return what would corrupt the user's process.
    """
    try:
        found = patches(town_map, xodr)
    except (
        ArithmeticError,
        LookupError,
        RuntimeError,
        ValueError,
    ) as error:  # the map library's, and those of numbers that are none
        raise NavigationFileError(f"cannot make a navigation mesh of the map: {error}") from error
    pieces = [(patch.polygon, patch.area) for patch in found.patches]
    many = len(pieces) > tiles.POLYGONS_MAX
    mesh = joined(tiles.cut(pieces) if many else pieces)
    if not mesh.polygons:
        return b""
    if mesh.lost_m2 > _LOST_M2:
        log.info("navigation mesh: %.1f m2 of overlapping ground left out", mesh.lost_m2)
    content = detour.write(mesh, tiles.tiled(mesh) if many else tiles.whole(mesh))
    checked(content)
    return content


@cache
def _package_hash() -> bytes:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).digest()

"""From a map to its walkers' mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carlad.standin.navigation import crossings
from carlad.standin.navigation.convex import convex_parts
from carlad.standin.navigation.corners import corners
from carlad.standin.navigation.patchwork import Area, Patchwork
from carlad.standin.navigation.pavements import Strip, sections
from carlad.standin.towns.attributes import parsed

if TYPE_CHECKING:
    import carla


def patches(town_map: carla.Map, xodr: str) -> Patchwork:
    """Pavements, crosswalks and the roads between pavements, as walkers may use them.

    `xodr` is the OpenDRIVE text of `town_map`, which itself lists driving lanes only. Junctions' middles are
    left out: pedestrians cross streets, not junctions.
    """
    pavements = list(sections(town_map, parsed(xodr)))
    patchwork = Patchwork()
    for section in pavements:
        for strip in (*section.left, *section.right):
            _lay(patchwork, strip, Area.SIDEWALK)
    for strip in corners(town_map, pavements):
        _lay(patchwork, strip, Area.SIDEWALK)
    for crosswalk in list(crossings.drawn(town_map)) or crossings.plausible(pavements):
        patchwork.add(crossings.reaching_pavements(crosswalk, patchwork), Area.CROSSWALK)
    for section in pavements:
        if section.roadway is not None and section.junction_id is None:
            _lay(patchwork, section.roadway, Area.ROAD)
    return patchwork


def _lay(patchwork: Patchwork, strip: Strip, area: Area) -> None:
    for quad in strip.pieces():
        for part in convex_parts(quad):
            patchwork.add(part, area)

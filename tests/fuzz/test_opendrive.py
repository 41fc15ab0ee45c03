"""OpenDRIVE texts: each becomes a town or is refused, in words; the `carla` package aborts at some."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carlad.standin import towns
from carlad.standin.navigation.pavements import sections
from carlad.standin.rendering.lanes import lanes_of
from carlad.standin.towns import OpenDriveError
from carlad.standin.towns.design import grid, opendrive
from carlad.standin.towns.design.plan import plan
from tests.fuzz.damage import damaged_text, damaged_values
from tests.fuzz.effort import tried

SOUND = opendrive.write(plan(grid.network(grid.GridSpec("any", (60.0, 60.0), (60.0, 60.0)))))
WORDS = (
    "<",
    ">",
    '"',
    "/>",
    "-1",
    "0",
    "nan",
    "1e308",
    "inf",
    "999999",
    "<road/>",
    "</road>",
    "&",
    "junction",
)


def test_the_text_that_is_damaged_here_is_sound() -> None:
    assert towns.from_opendrive("any", SOUND).spawn_points


@tried(24)
@given(st.one_of(damaged_text(SOUND, WORDS), damaged_values(SOUND, WORDS)))
def test_damaged_maps_become_towns_or_are_refused(text: str) -> None:
    with suppress(OpenDriveError):
        town = towns.from_opendrive("any", text)
        assert town.map.name == "any"
        for lane in lanes_of(town.map, town.xodr):
            assert np.isfinite([lane.left, lane.right]).all()
        for section in sections(town.map, ET.fromstring(town.xodr.encode())):
            for strip in (*section.left, *section.right):
                assert np.isfinite([strip.inner, strip.outer]).all()

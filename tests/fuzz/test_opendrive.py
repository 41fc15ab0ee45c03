"""OpenDRIVE texts: each becomes a town or is refused, in words; the `carla` package aborts at some."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given

from carlad.standin import towns
from carlad.standin.towns import OpenDriveError
from carlad.standin.towns.design import grid, opendrive
from carlad.standin.towns.design.plan import plan
from tests.fuzz.damage import damaged_text
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


@tried(12)
@given(damaged_text(SOUND, WORDS))
def test_damaged_maps_become_towns_or_are_refused(text: str) -> None:
    with suppress(OpenDriveError):
        assert towns.from_opendrive("any", text).map.name == "any"

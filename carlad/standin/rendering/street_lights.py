"""Masts and bulbs of the street lights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from carlad.standin.rendering.mesh import Color, Mesh, box, join, up, yaw_matrix
from carlad.standin.street_lights import ARM_M, MAST_M, masts_of
from carlad.standin.towns import Town
from carlad.wire.types import CityObjectLabel as Tag

_STEEL: Color = (96, 100, 104)
_OFF: Color = (188, 186, 178)
_THICKNESS_M = 0.06
_BULB_M = (0.32, 0.14, 0.07)  # half sizes

TRIANGLES_PER_BULB = 12


def masts(town: Town) -> Iterator[tuple[Mesh, float]]:
    """Each mast with its arm, and the arm's direction in degrees."""
    for mast in masts_of(town):
        foot, half = np.array((mast.x, mast.y, mast.z)), MAST_M / 2
        arm = yaw_matrix(mast.yaw_deg) @ (ARM_M / 2, 0.0, MAST_M)
        upright = box(foot + up(half), (_THICKNESS_M, _THICKNESS_M, half), mast.yaw_deg, Tag.POLES, _STEEL)
        across = box(foot + arm, (ARM_M / 2, _THICKNESS_M, _THICKNESS_M), mast.yaw_deg, Tag.POLES, _STEEL)
        yield join((upright, across)), mast.yaw_deg


def bulbs(town: Town) -> Iterator[Mesh]:
    """`TRIANGLES_PER_BULB` triangles for each mast."""
    for mast in masts_of(town):
        lamp = mast.lamp
        yield box((lamp.x, lamp.y, lamp.z - _BULB_M[2]), _BULB_M, mast.yaw_deg, Tag.POLES, _OFF)

"""Images that tell things apart: instances, and directions of surfaces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.cameras import Image, labelled
from carlad.standin.rendering.daylight import pack
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.scene import Frame
from carlad.wire.types import CityObjectLabel as Tag
from carlad.wire.types import Transform

_OPAQUE = np.uint32(0xFF000000)
_VEHICLES = (Tag.CAR, Tag.TRUCK, Tag.BUS, Tag.TRAIN, Tag.MOTORCYCLE, Tag.BICYCLE)
_COSMOS_COLORS = {  # of ACosmosControlSensor; road markings have those of lane lines
    Tag.ROAD_LINES: (98, 183, 249),
    Tag.POLES: (66, 40, 144),
    Tag.TRAFFIC_SIGNS: (131, 175, 155),
    Tag.TRAFFIC_LIGHT: (252, 157, 155),
    Tag.PEDESTRIANS: (0, 255, 0),
    **dict.fromkeys(_VEHICLES, (255, 0, 0)),
}


def _palette() -> npt.NDArray[np.uint32]:
    """The word of each tag's pixels."""
    words = np.full(256, _OPAQUE)
    for tag, (r, g, b) in _COSMOS_COLORS.items():
        words[tag] = _OPAQUE | np.uint32(r << 16 | g << 8 | b)
    return words


_COSMOS = _palette()
_GREY = np.array((128.0, 128.0, 128.0))  # the sky looks nowhere


def render_instance(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """CityObjectLabel in R, the thing's number in G (low byte) and B: an actor's id, or a structure's."""
    things = frame.instances
    words = frame.tags.astype(np.uint32) << 16 | (things & 0xFF) << 8 | things >> 8 & 0xFF | _OPAQUE
    return labelled(frame, camera, world_from_camera, words.astype(np.uint32, copy=False))


def render_cosmos(
    frame: Frame, camera: CameraModel, world_from_camera: Transform, unseen: frozenset[int]
) -> Image:
    """CARLA's colours for Cosmos by kind of thing on black, without the vehicles `unseen`, by actor id."""
    shown = _COSMOS[frame.tags]
    if unseen:
        hidden = np.isin(frame.instances, list(unseen)) & np.isin(frame.tags, _VEHICLES)
        shown = np.where(hidden, _OPAQUE, shown)
    return labelled(frame, camera, world_from_camera, shown)


def render_normals(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """The surface's outward normal in the world: x, y, z from -1 to 1 as R, G, B from 0 to 255."""
    colors = frame.normals * 127.5 + 127.5
    colors[frame.sky] = _GREY
    return labelled(frame, camera, world_from_camera, pack(colors))

"""Images that tell things apart: instances, and directions of surfaces."""

from __future__ import annotations

import numpy as np

from carlad.standin.rendering.cameras import CameraModel, Image, labelled
from carlad.standin.rendering.daylight import pack
from carlad.standin.rendering.scene import Frame
from carlad.wire.types import Transform

_OPAQUE = np.uint32(0xFF000000)
_GREY = np.array((128.0, 128.0, 128.0))  # the sky looks nowhere


def render_instance(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """CityObjectLabel in R, the thing's number in G (low byte) and B: an actor's id, or a structure's."""
    things = frame.instances
    words = frame.tags.astype(np.uint32) << 16 | (things & 0xFF) << 8 | things >> 8 & 0xFF | _OPAQUE
    return labelled(frame, camera, world_from_camera, words.astype(np.uint32, copy=False))


def render_normals(frame: Frame, camera: CameraModel, world_from_camera: Transform) -> Image:
    """The surface's outward normal in the world: x, y, z from -1 to 1 as R, G, B from 0 to 255."""
    colors = frame.normals * 127.5 + 127.5
    colors[frame.sky] = _GREY
    return labelled(frame, camera, world_from_camera, pack(colors))

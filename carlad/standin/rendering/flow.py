"""Optical flow: how far each pixel's surface has moved in the image since the camera's last look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.cameras import look, plane
from carlad.standin.rendering.geometry import FloatArray, location_of, rotation_of
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.scene import Frame
from carlad.wire.types import Transform

Flow = npt.NDArray[np.float32]  # (H, W, 2)

_FLOW_MAX = 2.0  # the whole image, as CARLA's range
_NEAR_M = 1e-3


class FlowCamera:
    """sensor.camera.optical_flow. The first image of a camera shows no flow.

    Flow is in halves of the image's size, x to the right and y upwards: 2 is a whole image.
    """

    def __init__(self, camera: CameraModel) -> None:
        self._camera = camera
        self._before: tuple[Objects, Transform] | None = None

    def render(self, frame: Frame, world_from_camera: Transform) -> Flow:
        before, self._before = self._before, (frame.objects, world_from_camera)
        camera = self._camera
        if before is None:
            return np.zeros((camera.height, camera.width, 2), np.float32)
        hits = look(frame, camera, world_from_camera)
        seen = _rays(camera)
        sky = hits.triangle == frame.sky
        seen_m = seen * np.where(sky, 1.0, hits.distance)[:, None]
        origin, turn = location_of(world_from_camera), rotation_of(world_from_camera)
        places = seen_m @ turn.T + origin
        _move_back(places, frame.object_ids[hits.triangle], frame.objects, before[0])
        origin_before, turn_before = location_of(before[1]), rotation_of(before[1])
        places -= np.where(sky[:, None], origin, origin_before)
        then = places @ turn_before
        flow = _on_screen(seen, camera) - _on_screen(then, camera)
        flow[then[:, 0] < _NEAR_M] = 0.0
        clipped = np.clip(flow, -_FLOW_MAX, _FLOW_MAX)
        return clipped.astype(np.float32).reshape(camera.height, camera.width, 2)


def _rays(camera: CameraModel) -> FloatArray:
    """(H * W, 3), from the camera to the plane x = 1, camera frame"""
    y, z = plane(camera)
    rays = np.ones((camera.height, camera.width, 3))
    rays[..., 1], rays[..., 2] = y, z[:, None]
    return rays.reshape(-1, 3)


def _move_back(places: FloatArray, owner: npt.NDArray[np.uint32], now: Objects, before: Objects) -> None:
    """Move the places (N, 3) that are on objects to where these had them before."""
    rows_before = {int(actor_id): row for row, actor_id in enumerate(before.actor_id)}
    for row, actor_id in enumerate(now.actor_id.tolist()):
        on_it = np.flatnonzero(owner == actor_id) if actor_id in rows_before else ()
        if not len(on_it):
            continue
        old = rows_before[actor_id]
        local = (places[on_it] - now.pose[row, :3]) @ now.world_from_actor[row]
        places[on_it] = local @ before.world_from_actor[old].T + before.pose[old, :3]


def _on_screen(points: FloatArray, camera: CameraModel) -> FloatArray:
    """(N, 3) in the camera's frame to (N, 2), from -1 to 1 across the image, x right and y up"""
    ahead = np.maximum(points[:, :1], _NEAR_M)
    scale = 2.0 * camera.focal_px / np.array((camera.width, camera.height))
    screen: FloatArray = points[:, 1:] / ahead * scale
    return screen

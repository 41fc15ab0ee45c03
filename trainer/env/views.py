"""Cameras for viewers alone: carried while somebody watches, never waited for.

The policy sees nothing of them and no step waits: a viewer gets the newest image that has come. They are
rendered with each tick, which costs what a camera costs, so an environment carries them where its
configuration allows that.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import carla
import numpy as np

from carlad.log import get_logger
from carlad.telemetry import Array
from carlad.telemetry.bundle import VIEW_PREFIX
from trainer.env.listening import listen

log = get_logger("carlad.trainer")

_WIDTH_PX, _HEIGHT_PX, _FOV_DEG = 640, 360, 90.0
_MOUNTS: dict[
    str, tuple[tuple[float, float, float], float]
] = {  # x forward, z up in metres; pitch in degrees
    "chase": ((-6.5, 0.0, 3.2), -14.0),
    "front": ((1.2, 0.0, 1.5), 0.0),
    "top": ((0.0, 0.0, 28.0), -90.0),
}
_LAST_IMAGE_S = 2.0  # how long the image of the last tick is waited for before a camera is taken away


class Views:
    """Those that `show` asked for last, on the vehicle: to be shown none at the end."""

    def __init__(self, world: Any, vehicle: Any) -> None:
        self._world, self._vehicle = world, vehicle
        self._cameras: dict[str, _Camera] = {}
        self._was_undrawn = False  # as the setting was found, while there are cameras

    def show(self, channels: frozenset[str], frame: int) -> None:
        """Carry the cameras of these channels ("view.chase", ...) and no others from the next tick on;
        `frame` was the last one. One that the server refuses is left out."""
        for channel in self._cameras.keys() - channels:
            self._cameras.pop(channel).close(frame)
        if channels and not self._cameras:
            self._draw()
        for channel in sorted(channels - self._cameras.keys()):
            self._add(channel, frame)
        if not self._cameras:
            self._draw_no_more()

    def image(self, channel: str) -> Array | None:
        """The newest one: uint8 (H, W, 3), RGB; None where there is none yet."""
        camera = self._cameras.get(channel)
        return None if camera is None else camera.newest()

    def _add(self, channel: str, frame: int) -> None:
        try:
            self._cameras[channel] = _Camera(self._world, self._vehicle, channel, frame)
        except RuntimeError as error:
            log.warning("view.refused", view=channel, reason=error)

    def _draw(self) -> None:
        """Where nobody looks at images the server is told to draw none."""
        settings = self._world.get_settings()
        if settings.no_rendering_mode:
            self._was_undrawn = True
            settings.no_rendering_mode = False
            self._world.apply_settings(settings)

    def _draw_no_more(self) -> None:
        if self._was_undrawn:
            self._was_undrawn = False
            settings = self._world.get_settings()
            settings.no_rendering_mode = True
            self._world.apply_settings(settings)


class _Camera:
    """Raises RuntimeError where the server refuses it. `frame` was the last one before it."""

    def __init__(self, world: Any, vehicle: Any, channel: str, frame: int) -> None:
        place, pitch_deg = _MOUNTS[channel.removeprefix(VIEW_PREFIX)]
        blueprint = world.get_blueprint_library().find("sensor.camera.rgb")
        sizes = {"image_size_x": _WIDTH_PX, "image_size_y": _HEIGHT_PX, "fov": _FOV_DEG}
        for name, value in sizes.items():
            blueprint.set_attribute(name, str(value))
        mount = carla.Transform(carla.Location(*place), carla.Rotation(pitch_deg))
        self._newest: Any = None
        self._newest_frame = frame
        self._has_come = threading.Event()
        self._sensor = world.spawn_actor(blueprint, mount, attach_to=vehicle)
        self._stop = listen(self._sensor, self._note)

    def newest(self) -> Array | None:
        if (image := self._newest) is None:
            return None
        pixels = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
        return np.ascontiguousarray(pixels[:, :, 2::-1])

    def close(self, frame: int) -> None:
        """A stream that is closed while an image is on its way can abort the process in carla 0.9.16: that of
        the last tick is awaited first."""
        deadline_s = time.monotonic() + _LAST_IMAGE_S
        while self._newest_frame < frame and self._has_come.wait(max(0.0, deadline_s - time.monotonic())):
            self._has_come.clear()
        self._stop()
        self._sensor.destroy()

    def _note(self, image: Any) -> None:
        """Called on one of the client's threads."""
        self._newest, self._newest_frame = image, image.frame
        self._has_come.set()

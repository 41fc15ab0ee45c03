"""Camera and LiDAR on the ego vehicle, in step with the world's ticks.

Every measurement of every tick is taken from the client before anything is stopped: a stream that is closed
while data is on its way can abort the process in carla 0.9.16.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import carla
import numpy as np
from numpy.typing import NDArray

from trainer.env.config import CameraConfig, LidarConfig, RouteConfig
from trainer.env.listening import listen

Array = NDArray[Any]

CAMERAS = {
    "camera": "sensor.camera.rgb",
    "depth": "sensor.camera.depth",
    "semantic": "sensor.camera.semantic_segmentation",
}
_DEPTH_FAR_M = 1000.0  # what CARLA's encoding of 24 bits calls 1
_COUNT_STEP = 51  # five points in a cell and more are 255
_HEIGHT_STEP = 80.0  # per metre above the ground: 3.2 m and more are 255
_WAITING = 64  # measurements that a sensor may be ahead by; there is one a tick


class Sensors:
    """Those that `config.observe.keys` names. `readings` is what the last tick showed, by key."""

    def __init__(self, world: Any, vehicle: Any, config: RouteConfig) -> None:
        self.readings: dict[str, Array] = {}
        self.cloud: Array | None = None  # the LiDAR's points as they came: float32 (N, 4) in its own frame
        self._config = config
        self._sensors: dict[str, queue.SimpleQueue[Any]] = {}
        self._undo = ExitStack()
        library = world.get_blueprint_library()
        with ExitStack() as undo:
            for key in config.observe.keys:
                if key in CAMERAS:
                    self._add(
                        key, *_camera(library.find(CAMERAS[key]), config.observe.camera), world, vehicle, undo
                    )
                elif key == "lidar":
                    blueprint = library.find("sensor.lidar.ray_cast")
                    self._add(
                        key, *_lidar(blueprint, config.observe.lidar, config.delta_s), world, vehicle, undo
                    )
            self._undo = undo.pop_all()

    def collect(self, frame: int) -> None:
        """Take in what all of them measured in that tick. Raises RuntimeError if one does not in time."""
        if not self._sensors:
            return
        raw = {key: self._measured(key, waiting, frame) for key, waiting in self._sensors.items()}
        observe = self._config.observe
        for key, measurement in raw.items():
            if key == "lidar":
                self.cloud = points(measurement)
                self.readings[key] = LIDAR_FORMS[observe.lidar.form](self.cloud, observe.lidar)
            else:
                self.readings[key] = IMAGES[key](bgra(measurement), observe.camera)

    def close(self) -> None:
        """Stop and remove them."""
        self._undo.close()
        self._sensors.clear()

    def _add(self, key: str, blueprint: Any, mount: Any, world: Any, vehicle: Any, undo: ExitStack) -> None:
        sensor = world.spawn_actor(blueprint, mount, attach_to=vehicle)
        undo.callback(sensor.destroy)
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        undo.callback(listen(sensor, waiting.put))
        self._sensors[key] = waiting

    def _measured(self, key: str, waiting: queue.SimpleQueue[Any], frame: int) -> Any:
        limit_s = self._config.client_timeout_s
        for _ in range(_WAITING):
            try:
                measurement = waiting.get(timeout=limit_s)
            except queue.Empty:
                break
            if measurement.frame >= frame:
                return measurement
        raise RuntimeError(f"time-out of {limit_s:g} s while waiting for the {key} sensor's frame {frame}")


def bgra(image: Any) -> Array:
    """A carla.Image's pixels: uint8 (H, W, 4), read-only."""
    pixels: Array = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
    return pixels


def points(measurement: Any) -> Array:
    """A carla.LidarMeasurement's: float32 (N, 4), x forward, y right, z up from the sensor, intensity."""
    return np.frombuffer(measurement.raw_data, np.float32).reshape(-1, 4)


def rgb_image(pixels: Array, _: CameraConfig) -> Array:
    """uint8 (3, H, W), RGB."""
    return np.ascontiguousarray(pixels[:, :, 2::-1].transpose(2, 0, 1))


def depth_image(pixels: Array, config: CameraConfig) -> Array:
    """uint8 (1, H, W): the distance along the view / `depth_max_m` * 255, 255 where it is more."""
    blue, green, red = (pixels[:, :, i].astype(np.float32) for i in range(3))
    metres = (red + 256.0 * green + 65536.0 * blue) * (_DEPTH_FAR_M / (2**24 - 1))
    scaled = np.minimum(metres * (255.0 / config.depth_max_m), 255.0)
    image: Array = scaled.astype(np.uint8)[None]
    return image


def semantic_image(pixels: Array, _: CameraConfig) -> Array:
    """uint8 (1, H, W): CARLA's semantic tags."""
    tags: Array = pixels[None, :, :, 2].copy()
    return tags


def lidar_points(cloud: Array, config: LidarConfig) -> Array:
    """float32 (points, 4), x, y, z, intensity: evenly thinned out where there are more, zeros where fewer."""
    fixed = np.zeros((config.points, 4), np.float32)
    if len(cloud) > config.points:
        cloud = cloud[np.linspace(0, len(cloud) - 1, config.points).astype(np.int64)]
    fixed[: len(cloud)] = cloud
    return fixed


def lidar_pillars(cloud: Array, config: LidarConfig) -> Array:
    """uint8 (3, size_px, size_px), the vehicle in the middle, forward up, right to the right.

    0 how many points are in the cell, five and more are 255; 1 and 2 the highest and the lowest one's height
    above the ground, 3.2 m and more are 255; all 0 in an empty cell.
    """
    size = config.size_px
    row = np.floor(size / 2 - cloud[:, 0] * config.px_per_m).astype(np.int64)
    column = np.floor(size / 2 + cloud[:, 1] * config.px_per_m).astype(np.int64)
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    cell = row[inside] * size + column[inside]
    height = np.clip((cloud[inside, 2] + config.z_m) * _HEIGHT_STEP, 0, 255)
    count = np.bincount(cell, minlength=size * size)
    highest, lowest = np.zeros(size * size), np.full(size * size, 255.0)
    np.maximum.at(highest, cell, height)
    np.minimum.at(lowest, cell, height)
    lowest[count == 0] = 0.0
    layers = np.stack([np.minimum(count * _COUNT_STEP, 255), highest, lowest])
    return layers.astype(np.uint8).reshape(3, size, size)


IMAGES: dict[str, Callable[[Array, CameraConfig], Array]] = {
    "camera": rgb_image,
    "depth": depth_image,
    "semantic": semantic_image,
}
LIDAR_FORMS: dict[str, Callable[[Array, LidarConfig], Array]] = {
    "points": lidar_points,
    "pillars": lidar_pillars,
}


def _camera(blueprint: Any, config: CameraConfig) -> tuple[Any, Any]:
    attributes = {"image_size_x": config.width_px, "image_size_y": config.height_px, "fov": config.fov_deg}
    place = carla.Location(config.x_m, config.y_m, config.z_m)
    return _set(blueprint, attributes), carla.Transform(
        place, carla.Rotation(config.pitch_deg, config.yaw_deg)
    )


def _lidar(blueprint: Any, config: LidarConfig, delta_s: float) -> tuple[Any, Any]:
    attributes = {
        "channels": config.channels,
        "range": config.range_m,
        "points_per_second": round(config.points_per_tick / delta_s),
        "rotation_frequency": 1.0 / delta_s,  # one turn a tick
        "upper_fov": config.upper_fov_deg,
        "lower_fov": config.lower_fov_deg,
        "dropoff_general_rate": 0.0,  # no points are lost by chance: the same seed sees the same
    }
    return _set(blueprint, attributes), carla.Transform(carla.Location(z=config.z_m))


def _set(blueprint: Any, attributes: dict[str, float]) -> Any:
    for name, value in attributes.items():
        blueprint.set_attribute(name, str(value))
    return blueprint

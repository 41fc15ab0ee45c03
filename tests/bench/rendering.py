"""Images by OpenGL against images by rays, without server and client: `python -m tests.bench.rendering`."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from carlad.standin import towns
from carlad.standin.rendering import cameras
from carlad.standin.rendering.cameras import render_depth, render_rgb
from carlad.standin.rendering.lidar import Lidar, LidarModel
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.raster import raster
from carlad.standin.rendering.scene import Scene
from carlad.wire.types import CityObjectLabel, Location, Transform, WeatherParameters
from tests.bench.harness import Report, rate

TOWN = "Town10HD"
SIZES = ((84, 84), (128, 128), (256, 256), (800, 600))
VEHICLES = 10
ROUND_S = 0.5
LIDAR = LidarModel(
    channels=64, range_m=80.0, points_per_second=2_000_000, rotation_frequency_hz=20.0, dropoff_general=0.0
)


def main() -> None:
    report = Report("rendering")
    scene = Scene(towns.load(TOWN))
    scene.warm()
    objects, eye = _street(scene)
    by = raster()
    print(f"OpenGL: {by.name if by is not None else 'none'}; {len(scene.static().mesh):,} triangles")
    for width, height in SIZES:
        camera = CameraModel(width, height)
        draws: dict[str, Callable[[], object]] = {
            "RGB": lambda camera=camera: render_rgb(scene.frame(objects), camera, eye, WeatherParameters()),  # type: ignore[misc]
            "depth": lambda camera=camera: render_depth(scene.frame(objects), camera, eye),  # type: ignore[misc]
        }
        for name, draw in draws.items():
            case = f"{name} {width}x{height}"
            with patch.object(cameras, "raster_for", lambda _camera: None):
                report.add(f"{case}, rays", rate(draw, ROUND_S), "images/s")
            with patch.object(cameras, "raster_for", lambda _camera: by):
                report.add(f"{case}, OpenGL", rate(draw, ROUND_S), "images/s", f"{case}, rays")
    lidar = Lidar(LIDAR)
    scan = rate(lambda: lidar.scan(scene.frame(objects), eye, 0.05), ROUND_S)
    report.add("LiDAR of 100k rays", scan, "scans/s")
    report.write()


def _street(scene: Scene) -> tuple[Objects, Transform]:
    """A street with vehicles before and behind a camera on a roof."""
    start = scene.town.spawn_points[0]
    place, count = start.location, VEHICLES
    pose = np.zeros((count, 6))
    pose[:, 0] = place.x + 9.0 * np.arange(-2, count - 2)
    pose[:, 1:3] = place.y, place.z
    objects = Objects(
        actor_id=np.arange(1, count + 1, dtype=np.uint32),
        tag=np.full(count, CityObjectLabel.CAR, np.uint8),
        color=np.full((count, 3), 120, np.uint8),
        pose=pose,
        center=np.tile((0.0, 0.0, 0.75), (count, 1)),
        extent=np.tile((2.3, 1.0, 0.75), (count, 1)),
    )
    return objects, Transform(Location(place.x, place.y, place.z + 2.4), start.rotation)


if __name__ == "__main__":
    main()

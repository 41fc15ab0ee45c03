"""Debug shapes, as the official client's RGB cameras see them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import carla
import numpy as np
import numpy.typing as npt
import pytest

from tests.standin.conftest import DELTA_S
from tests.standin.test_official_client import blueprint

HIGH = 60.0  # m: above all houses
PINK = carla.Color(255, 0, 255)


@pytest.fixture
def images(world: carla.World) -> Iterator[queue.Queue]:
    """Of a level camera high above the town, which looks along x."""
    with _watching(world, carla.Transform(carla.Location(z=HIGH))) as taken:
        yield taken
    world.debug.clear_debug_shape()


@contextmanager
def _watching(world: carla.World, pose: carla.Transform) -> Iterator[queue.Queue]:
    sensor = world.spawn_actor(blueprint(world, "sensor.camera.rgb", image_size_x=80, image_size_y=60), pose)
    taken: queue.Queue = queue.Queue()
    sensor.listen(taken.put)
    yield taken
    sensor.stop()
    sensor.destroy()


def pink(world: carla.World, images: queue.Queue) -> npt.NDArray[np.bool_]:
    """bool (H, W): where the next tick's picture has the colour that is drawn with."""
    world.tick()
    image = images.get(timeout=5.0)
    colors = np.frombuffer(image.raw_data, np.uint8).reshape(image.height, image.width, 4)
    found: npt.NDArray[np.bool_] = (colors[..., :3] == (PINK.b, PINK.g, PINK.r)).all(axis=2)
    return found


def test_a_line_is_where_it_was_drawn(world: carla.World, images: queue.Queue) -> None:
    start, end = carla.Location(10, -5, HIGH - 2), carla.Location(10, 5, HIGH - 2)
    world.debug.draw_line(start, end, thickness=0.1, color=PINK, life_time=1.0)
    rows, columns = np.nonzero(pink(world, images))
    assert set(rows.tolist()) == {38}
    assert (columns.min(), columns.max()) == pytest.approx((20, 60), abs=1)


@pytest.mark.parametrize(("life_time", "ticks_seen"), [(3 * DELTA_S, 3), (DELTA_S, 1), (0.001, 1), (-1.0, 6)])
def test_a_shape_lives_as_long_as_it_was_given(
    world: carla.World, images: queue.Queue, life_time: float, ticks_seen: int
) -> None:
    world.debug.draw_point(carla.Location(10, 0, HIGH), size=1.0, color=PINK, life_time=life_time)
    assert [bool(pink(world, images).any()) for _ in range(6)] == [True] * ticks_seen + [False] * (
        6 - ticks_seen
    )


def test_cleared_shapes_are_gone(world: carla.World, images: queue.Queue) -> None:
    world.debug.draw_point(carla.Location(10, 0, HIGH), size=1.0, color=PINK, life_time=-1.0)
    assert pink(world, images).any()
    world.debug.clear_debug_shape()
    assert not pink(world, images).any()


def test_boxes_have_edges_and_arrows_have_heads(world: carla.World, images: queue.Queue) -> None:
    box = carla.BoundingBox(carla.Location(12, 0, HIGH), carla.Vector3D(2, 4, 3))
    world.debug.draw_box(box, carla.Rotation(), thickness=0.01, color=PINK, life_time=DELTA_S)
    edges = pink(world, images)
    assert edges[:, 23:25].any()
    assert edges[:, 55:57].any()
    assert not edges[28:32, 36:44].any()
    start, end = carla.Location(10, -3, HIGH - 4), carla.Location(10, 3, HIGH - 4)
    world.debug.draw_arrow(start, end, thickness=0.01, arrow_size=2.0, color=PINK, life_time=DELTA_S)
    rows, columns = np.nonzero(pink(world, images))
    assert columns.max() - columns.min() >= 23
    shaft = rows[columns.argmin()]
    assert columns[rows != shaft].min() > 40


def test_what_stands_before_a_line_hides_it(world: carla.World) -> None:
    house = world.get_environment_objects(carla.CityObjectLabel.Buildings)[0].bounding_box
    above = carla.Transform(house.location + carla.Location(z=60.0), carla.Rotation(pitch=-90.0))
    roof = house.location + carla.Location(z=house.extent.z + 2.0)
    with _watching(world, above) as images:
        for place, seen in ((house.location, False), (roof, True)):
            world.debug.draw_point(place, size=0.5, color=PINK, life_time=DELTA_S)
            assert pink(world, images).any() == seen


def test_lines_through_the_camera_and_behind_it_do_no_harm(world: carla.World, images: queue.Queue) -> None:
    here, far = carla.Location(0, 0, HIGH), carla.Location(1e6, 1e6, HIGH)
    world.debug.draw_line(here - carla.Location(x=50), far, thickness=5.0, color=PINK, life_time=DELTA_S)
    world.debug.draw_line(here, here, thickness=0.0, color=PINK, life_time=DELTA_S)
    world.debug.draw_point(carla.Location(-10, 0, HIGH), size=5.0, color=PINK, life_time=DELTA_S)
    world.debug.draw_string(here, "text", color=PINK, life_time=DELTA_S)
    pink(world, images)
    assert not pink(world, images).any()

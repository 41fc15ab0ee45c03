from __future__ import annotations

import subprocess
import sys
import threading

import carla
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin import towns
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.scene import Frame, Scene
from carlad.wire.types import CityObjectLabel as Tag
from tests.standin.rendering.things import HIGH, cube, pose, several


def _straight_down(frame: Frame, points: list[tuple[float, float, float]]) -> tuple[list[int], list[float]]:
    """Tags and heights of what lies under points that are 30 m above `points`."""
    rays = np.array([(x, y, z + 30.0, 0.0, 0.0, -1.0) for x, y, z in points], np.float32)
    hits = frame.cast(rays)
    heights = [z + 30.0 - float(d) for (_, _, z), d in zip(points, hits.distance, strict=True)]
    return frame.tags[hits.triangle].tolist(), heights


@pytest.mark.parametrize("name", ["Town01", "Town02"])
def test_every_driving_lane_is_clear_road(name: str) -> None:
    town = towns.load(name)
    places = [waypoint.transform.location for waypoint in town.map.generate_waypoints(1.0)]
    tags, heights = _straight_down(Scene(town).frame(Objects.none()), [(p.x, p.y, p.z) for p in places])
    assert set(tags) <= {Tag.ROADS, Tag.ROAD_LINES}
    assert np.abs(heights).max() < 0.03


def test_pavements_lie_beside_the_road_a_kerb_higher(scene: Scene) -> None:
    places = []
    for spawn_point in scene.town.spawn_points:
        waypoint = scene.town.map.get_waypoint(
            carla.Location(spawn_point.location.x, spawn_point.location.y, 0.0)
        )
        while waypoint.lane_type.name != "Sidewalk":
            waypoint = waypoint.get_right_lane()
        places.append(waypoint.transform.location)
    tags, heights = _straight_down(scene.frame(Objects.none()), [(p.x, p.y, p.z) for p in places])
    under_crowns = [tag for tag in tags if tag != Tag.SIDEWALKS]
    assert set(under_crowns) <= {Tag.VEGETATION}
    assert len(under_crowns) < len(tags) / 4
    assert [h for h, tag in zip(heights, tags, strict=True) if tag == Tag.SIDEWALKS] == pytest.approx(
        [0.1] * (len(tags) - len(under_crowns)), abs=0.001
    )


def test_a_broken_line_divides_the_lanes(scene: Scene) -> None:
    """In the middle of the street, where the lane ends on its left: paint, and road between the dashes."""
    waypoints = [scene.town.map.get_waypoint_xodr(0, -1, 12.0 + 0.25 * k) for k in range(48)]
    middles = [
        waypoint.transform.location - waypoint.transform.get_right_vector() * (waypoint.lane_width / 2)
        for waypoint in waypoints
    ]
    tags, heights = _straight_down(scene.frame(Objects.none()), [(p.x, p.y, 0.0) for p in middles])
    painted = [height for tag, height in zip(tags, heights, strict=True) if tag == Tag.ROAD_LINES]
    assert set(tags) == {Tag.ROADS, Tag.ROAD_LINES}
    assert painted == pytest.approx([0.012] * len(painted), abs=0.001)


def test_the_country_has_houses_trees_posts_and_ground(scene: Scene) -> None:
    assert {Tag.BUILDINGS, Tag.VEGETATION, Tag.POLES, Tag.TRAFFIC_LIGHT, Tag.TERRAIN} <= set(
        scene.static().mesh.tag.tolist()
    )


def test_static_surfaces_face_outwards(scene: Scene) -> None:
    """Rays from the sky meet no surface from behind."""
    xy = np.random.default_rng(5).uniform((-20, -180), (190, 20), (4000, 2))
    rays = np.concatenate((xy, np.full((4000, 1), 90.0), np.tile((0.1, 0.2, -1.0), (4000, 1))), axis=1)
    frame = scene.frame(Objects.none())
    hits = frame.cast(rays.astype(np.float32))
    assert (np.einsum("ij,ij->i", frame.normals[hits.triangle], rays[:, 3:]) < 0).all()


def test_the_same_map_gives_the_same_triangles() -> None:
    first, second = (Scene(towns.load("Town02")).static().mesh for _ in range(2))
    assert first.corners.tobytes() == second.corners.tobytes()
    assert first.color.tobytes() == second.color.tobytes()


# --- objects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "thickness"),
    [(Tag.CAR, 1.0), (Tag.TRUCK, 1.0), (Tag.BICYCLE, 1.0), (Tag.PEDESTRIANS, 0.5), (Tag.STATIC, 1.0)],
)
def test_a_shape_fills_its_box_and_stays_inside(scene: Scene, tag: Tag, thickness: float) -> None:
    """Walkers alone are less thick than their box is long."""
    extent = np.array((2.0, 0.9, 0.8))
    frame = scene.frame(several([(10, 20, HIGH, 0, 0, 0)], [extent.tolist()], [tag]))
    corners = frame.moving.corners.reshape(-1, 3) - (10, 20, HIGH)
    filled = extent * (thickness, 1.0, 1.0)
    assert corners.min(axis=0) == pytest.approx(-filled, abs=0.12)
    assert corners.max(axis=0) == pytest.approx(filled, abs=0.12)
    assert (np.abs(corners) <= extent + 1e-4).all()


@pytest.mark.parametrize("tag", [Tag.CAR, Tag.TRUCK, Tag.BICYCLE, Tag.PEDESTRIANS, Tag.STATIC])
def test_a_shape_is_seen_from_outside_from_every_side(scene: Scene, tag: Tag) -> None:
    frame = scene.frame(several([(0, 0, HIGH, 20, 30, 10)], [(2.0, 0.9, 0.8)], [tag]))
    directions = np.random.default_rng(3).normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rays = np.concatenate((np.array((0, 0, HIGH)) - 8 * directions, directions), axis=1).astype(np.float32)
    hits = frame.cast(rays)
    found = hits.triangle > frame.sky
    assert found.mean() > 0.6  # through a walker's legs or a bicycle's frame rays may pass
    assert (np.einsum("ij,ij->i", frame.normals[hits.triangle[found]], rays[found, 3:]) <= 0).all()
    assert set(frame.object_ids[hits.triangle[found]].tolist()) == {7}


def test_a_box_is_not_seen_from_inside(scene: Scene) -> None:
    frame = scene.frame(
        several([(0, 0, HIGH, 0, 0, 0), (10, 0, HIGH, 0, 0, 0)], [(2, 2, 2)] * 2, [Tag.STATIC] * 2)
    )
    hits = frame.cast(np.array([(0, 0, HIGH, 1, 0, 0), (0, 0, HIGH, 0, 1, 0)], np.float32))
    assert hits.distance[0] == pytest.approx(8.0, abs=0.01)
    assert frame.object_ids[hits.triangle].tolist() == [8, 0]
    assert frame.tags[hits.triangle].tolist() == [Tag.STATIC, Tag.SKY]


def test_distance_counts_in_lengths_of_the_direction(scene: Scene) -> None:
    frame = scene.frame(cube(10, 0, HIGH))
    hits = frame.cast(np.array([(0, 0, HIGH, 2, 0, 0)], np.float32))
    assert hits.distance.tolist() == pytest.approx([4.75])


def test_no_rays_have_no_hits(scene: Scene) -> None:
    hits = scene.frame(cube(0, 0, HIGH)).cast(np.empty((0, 6), np.float32))
    assert len(hits.distance) == len(hits.triangle) == 0


def test_light_states_must_fit_the_town(scene: Scene) -> None:
    with pytest.raises(ValueError, match=f"the town has {len(scene.town.lights)}"):
        scene.frame(Objects.none(), [0])


def test_nothing_heavy_is_imported_before_the_first_look() -> None:
    script = (
        "import sys; from carlad.standin import towns; from carlad.standin.rendering.scene import Scene; "
        "from carlad.standin.rendering import cameras, lidar; "
        "from carlad.standin.rendering.objects import Objects; "
        "Scene(towns.load('Town02')).frame(Objects.none()); print('open3d' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.strip() == "False"


def test_warming_in_several_threads_builds_once() -> None:
    scene = Scene(towns.load("Town02"))
    built: list[int] = []
    threads = [threading.Thread(target=lambda: built.append(id(scene.static()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(built) == 4
    assert len(set(built)) == 1


@settings(max_examples=40)
@given(
    st.lists(st.tuples(*[st.floats(-30.0, 30.0)] * 2, st.floats(-3.0, 3.0), st.floats(0.3, 3.0)), max_size=8)
)
def test_rays_of_one_head_miss_no_object(
    scene: Scene, places: list[tuple[float, float, float, float]]
) -> None:
    """Whether asked of those rays alone that may meet an object, or of all."""
    objects = several(
        [(x, y, HIGH + z, 10.0 * z, 9.0 * x, 5.0) for x, y, z, _half in places],
        [(2 * half, half, half / 2) for _x, _y, _z, half in places],
        [Tag.CAR] * len(places),
    )
    angles = np.linspace(-np.pi, np.pi, 400)
    beams = np.stack((np.cos(angles), np.sin(angles), 0.3 * np.sin(7 * angles)), axis=1)
    beams = (beams / np.linalg.norm(beams, axis=1, keepdims=True)).astype(np.float32)
    frame = scene.frame(objects if places else Objects.none())
    hits, directions = frame.cast_from(pose(0, 0, HIGH), beams, 100.0)
    rays = np.concatenate((np.tile((0.0, 0.0, HIGH), (400, 1)), directions), axis=1).astype(np.float32)
    everything = frame.cast(rays)
    assert np.array_equal(hits.triangle, everything.triangle)
    assert np.array_equal(hits.distance, everything.distance)

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin.rendering.cameras import render_depth, render_rgb, render_semantic
from carlad.standin.rendering.geometry import rotation_of
from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.scene import Scene
from carlad.wire.types import CityObjectLabel as Tag
from carlad.wire.types import TrafficLightState, Transform, WeatherParameters
from tests.standin.rendering.things import CLEAR_NOON, HIGH, cube, depth_m, pose, several

CAMERA = CameraModel(width=160, height=120, fov_deg=90.0)


def _where(image: npt.NDArray[np.uint8], tag: int) -> npt.NDArray[np.float64]:
    """Mean column and row of the pixels with that tag in a semantic image."""
    rows, columns = np.nonzero(image[..., 2] == tag)
    assert len(rows), "nothing of that tag is in the picture"
    return np.array((columns.mean(), rows.mean()))


@pytest.mark.parametrize(
    ("yaw", "box", "side"),
    [
        (0.0, (10, 3, 0), "right"),
        (0.0, (10, -3, 0), "left"),
        (0.0, (10, 0, 3), "top"),
        (0.0, (10, 0, -3), "bottom"),
        (90.0, (-3, 10, 0), "right"),
        (90.0, (3, 10, 0), "left"),
        (180.0, (-10, -3, 0), "right"),
        (-90.0, (3, -10, 0), "right"),
    ],
)
def test_the_picture_is_not_mirrored(
    scene: Scene, yaw: float, box: tuple[float, float, float], side: str
) -> None:
    frame = scene.frame(cube(box[0], box[1], HIGH + box[2]))
    column, row = _where(render_semantic(frame, CAMERA, pose(0, 0, HIGH, yaw=yaw)), Tag.STATIC)
    expected = {"right": column > 100, "left": column < 60, "top": row < 40, "bottom": row > 80}
    assert expected[side]


def test_positive_pitch_looks_up_and_positive_roll_leans_right(scene: Scene) -> None:
    level = _where(render_semantic(scene.frame(cube(10, 2, HIGH)), CAMERA, pose(0, 0, HIGH)), Tag.STATIC)
    up = _where(
        render_semantic(scene.frame(cube(10, 2, HIGH)), CAMERA, pose(0, 0, HIGH, pitch=10)), Tag.STATIC
    )
    leaning = _where(
        render_semantic(scene.frame(cube(10, 2, HIGH)), CAMERA, pose(0, 0, HIGH, roll=20)), Tag.STATIC
    )
    assert up[1] > level[1] + 5
    assert leaning[1] < level[1] - 2


def test_a_point_lies_where_the_documented_projection_puts_it(scene: Scene) -> None:
    """u = w / 2 + f y / x, v = h / 2 - f z / x with f = w / (2 tan(fov / 2)), as CARLA's examples project."""
    camera, eye = CameraModel(320, 200, 70.0), pose(3, -4, HIGH, pitch=-7, yaw=33, roll=5)
    target = np.array((18.0, 7.0, HIGH - 1.0))
    image = render_semantic(scene.frame(cube(18.0, 7.0, HIGH - 1.0, half=0.1)), camera, eye)
    x, y, z = (target - (3, -4, HIGH)) @ rotation_of(eye)
    focal = 320 / (2 * math.tan(math.radians(35.0)))
    assert _where(image, Tag.STATIC) + 0.5 == pytest.approx(
        (160 + focal * y / x, 100 - focal * z / x), abs=0.6
    )


def test_depth_is_measured_along_the_axis_not_along_the_ray(scene: Scene) -> None:
    wall = several([(20.5, 0, HIGH, 0, 0, 0)], [(0.5, 30, 30)], [Tag.WALLS])
    assert depth_m(render_depth(scene.frame(wall), CAMERA, pose(0, 0, HIGH))) == pytest.approx(
        20.0, abs=0.001
    )


def test_the_sky_is_a_thousand_metres_away(scene: Scene) -> None:
    frame, eye = scene.frame(Objects.none()), pose(0, 0, HIGH, pitch=60)
    assert depth_m(render_depth(frame, CAMERA, eye)).min() == pytest.approx(1000.0)
    assert (render_semantic(frame, CAMERA, eye)[..., 2] == Tag.SKY).all()


def test_images_are_opaque_rows_of_blue_green_red_alpha(scene: Scene) -> None:
    frame, eye = scene.frame(Objects.none()), pose(30, -90, 2)
    for image in (
        render_rgb(frame, CAMERA, eye, CLEAR_NOON),
        render_depth(frame, CAMERA, eye),
        render_semantic(frame, CAMERA, eye),
    ):
        assert image.shape == (120, 160, 4)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert (image[..., 3] == 255).all()


def test_semantic_images_use_red_only(scene: Scene) -> None:
    image = render_semantic(scene.frame(Objects.none()), CAMERA, _street(scene))
    assert not image[..., :2].any()
    assert {Tag.ROADS, Tag.ROAD_LINES, Tag.SIDEWALKS, Tag.SKY} <= set(image[..., 2].ravel().tolist())


def test_the_three_images_agree_on_what_is_sky(scene: Scene) -> None:
    frame, eye = scene.frame(Objects.none()), _street(scene)
    sky = render_semantic(frame, CAMERA, eye)[..., 2] == Tag.SKY
    assert ((depth_m(render_depth(frame, CAMERA, eye)) > 999.9) == sky).all()
    blue_over_red = np.diff(render_rgb(frame, CAMERA, eye, CLEAR_NOON).astype(int)[..., [2, 0]], axis=-1)[
        ..., 0
    ]
    assert blue_over_red[sky].min() > 25
    assert np.median(blue_over_red[~sky]) < 15


_place = st.floats(-12.0, 12.0)
_turn = st.floats(-180.0, 180.0)
_thing = st.tuples(_place, _place, _place, _turn, _turn, _turn)


@settings(max_examples=60, deadline=None)
@given(
    eye=_thing,
    things=st.lists(_thing, min_size=1, max_size=4),
    half=st.sampled_from([0.3, 2.0, 6.0]),
    fov=st.sampled_from([40.0, 90.0, 150.0]),
)
def test_no_pixel_of_an_object_is_missed(
    scene: Scene, eye: tuple[float, ...], things: list[tuple[float, ...]], half: float, fov: float
) -> None:
    """The camera asks only pixels near objects for them; asking all pixels gives the same picture."""
    camera = CameraModel(24, 18, fov)
    objects = several(
        [(x, y, z + HIGH, *turn) for x, y, z, *turn in things],
        [(half, 0.5, 0.4)] * len(things),
        [Tag.STATIC] * len(things),
    )
    frame, where = scene.frame(objects), pose(eye[0], eye[1], eye[2] + HIGH, *eye[3:])
    hits = frame.cast(_rays(camera, where))
    assert (
        render_semantic(frame, camera, where)[..., 2].ravel().tolist() == frame.tags[hits.triangle].tolist()
    )


def test_a_driver_looks_out_of_the_car(scene: Scene) -> None:
    car = several([(0, 0, HIGH, 0, 0, 0)], [(2.4, 1.0, 0.75)], [Tag.CAR])
    image = render_semantic(scene.frame(car), CAMERA, pose(0.0, 0.0, HIGH + 0.3))
    assert (image[:60, :, 2] == Tag.SKY).all()


def test_a_camera_over_the_bonnet_sees_it(scene: Scene) -> None:
    car = several([(0, 0, HIGH, 0, 0, 0)], [(2.4, 1.0, 0.75)], [Tag.CAR])
    image = render_semantic(scene.frame(car), CAMERA, pose(1.2, 0.0, HIGH + 0.9, pitch=-20))
    assert (image[95:, 80, 2] == Tag.CAR).all()
    assert (image[:40, :, 2] != Tag.CAR).all()


# --- colours ---------------------------------------------------------------------------------------


def _brightness(scene: Scene, weather: WeatherParameters) -> float:
    return float(render_rgb(scene.frame(Objects.none()), CAMERA, _street(scene), weather)[..., :3].mean())


def test_night_is_darker_than_dusk_and_dusk_than_noon(scene: Scene) -> None:
    night, dusk, noon = (
        _brightness(scene, WeatherParameters(sun_altitude_angle=altitude)) for altitude in (-90.0, 3.0, 60.0)
    )
    assert 10 < night < dusk < noon < 220


def test_fog_hides_what_is_far(scene: Scene) -> None:
    frame, where = scene.frame(Objects.none()), _street(scene)
    distance = depth_m(render_depth(frame, CAMERA, where))
    far = (distance > 60.0) & (distance < 400.0)

    def contrast(fog: float) -> float:
        weather = WeatherParameters(sun_altitude_angle=45.0, fog_density=fog)
        return float(render_rgb(frame, CAMERA, where, weather)[far][:, 1].std())

    assert contrast(80.0) < 0.5 * contrast(0.0)


@pytest.mark.parametrize(
    ("state", "brightest"),
    [(TrafficLightState.RED, 2), (TrafficLightState.GREEN, 1)],
)
def test_a_light_shows_its_state_to_those_who_wait_for_it(
    scene: Scene, state: TrafficLightState, brightest: int
) -> None:
    light = scene.town.lights[0]
    stop = light.stop_lines[0]
    yaw = math.radians(stop.yaw)
    head = np.array((light.pose.location.x, light.pose.location.y, 3.0))
    eye = head - np.array((math.cos(yaw), math.sin(yaw), 0.0)) * 6.0
    where = pose(eye[0], eye[1], eye[2], yaw=stop.yaw)

    def picture(states: list[int]) -> npt.NDArray[np.int64]:
        frame = scene.frame(Objects.none(), states)
        return render_rgb(frame, CAMERA, where, CLEAR_NOON).astype(np.int64)

    count = len(scene.town.lights)
    change = picture([state] * count) - picture([TrafficLightState.OFF] * count)
    lit = change.sum(axis=(0, 1))[:3]
    assert lit.argmax() == brightest
    assert lit[brightest] > 1000


def test_an_object_has_its_own_colour(scene: Scene) -> None:
    box = cube(5, 0, HIGH)
    red = Objects(
        box.actor_id, box.tag, np.array([[220, 20, 20]], np.uint8), box.pose, box.center, box.extent
    )
    blue, green, red_part, _ = render_rgb(scene.frame(red), CAMERA, pose(0, 0, HIGH), CLEAR_NOON)[60, 80]
    assert red_part > 3 * max(blue, green)


def test_the_same_frame_gives_the_same_bytes(scene: Scene) -> None:
    first, second = (
        render_rgb(scene.frame(cube(40, -80, 1)), CAMERA, _street(scene), CLEAR_NOON).tobytes()
        for _ in range(2)
    )
    assert first == second


def test_cameras_of_one_frame_do_not_disturb_each_other(scene: Scene) -> None:
    shared, here = scene.frame(cube(40, -80, 1)), _street(scene)
    there = pose(here.location.x + 5, here.location.y, 3.0, yaw=40.0)
    for where in (here, there, here):
        render_depth(shared, CAMERA, where)
        seen = render_rgb(shared, CAMERA, where, CLEAR_NOON)
        alone = render_rgb(scene.frame(cube(40, -80, 1)), CAMERA, where, CLEAR_NOON)
        assert seen.tobytes() == alone.tobytes()


# --- models ----------------------------------------------------------------------------------------


def test_a_model_is_read_from_a_blueprint_s_attributes() -> None:
    values = {"image_size_x": "84", "image_size_y": "64", "fov": "110.5", "gamma": "2.2"}
    assert CameraModel.from_attributes(values) == CameraModel(84, 64, 110.5)
    assert CameraModel.from_attributes({}) == CameraModel(800, 600, 90.0)


@pytest.mark.parametrize(("width", "height", "fov_deg"), [(0, 10, 90.0), (10, -1, 90.0), (10, 10, 180.0)])
def test_an_impossible_camera_is_refused(width: int, height: int, fov_deg: float) -> None:
    with pytest.raises(ValueError, match="cannot make a camera"):
        CameraModel(width, height, fov_deg)


def _street(scene: Scene) -> Transform:
    """A driver's view from the first spawn point."""
    spawn = scene.town.spawn_points[0]
    return pose(spawn.location.x, spawn.location.y, 1.6, yaw=spawn.rotation.yaw)


def _rays(camera: CameraModel, where: Transform) -> npt.NDArray[np.float32]:
    """One ray for each pixel, by the documented projection."""
    focal = camera.width / (2 * math.tan(math.radians(camera.fov_deg) / 2))
    rows, columns = np.mgrid[: camera.height, : camera.width]
    y, z = (columns + 0.5 - camera.width / 2) / focal, (camera.height / 2 - rows - 0.5) / focal
    local = np.stack((np.ones_like(y), y, z), axis=-1).reshape(-1, 3)
    place = (where.location.x, where.location.y, where.location.z)
    return np.concatenate((np.tile(place, (len(local), 1)), local @ rotation_of(where).T), axis=1).astype(
        np.float32
    )

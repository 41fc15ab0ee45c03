from __future__ import annotations

import carla
import pytest

from carlad.standin.spring_arm import SpringArm
from carlad.wire.types import AttachmentType, Location, Rotation, Transform
from tests.standin.conftest import DELTA_S
from tests.standin.test_official_client import blueprint, car, ticks

GHOST = AttachmentType.SPRING_ARM_GHOST
BEHIND = Transform(Location(-6.0, 0.0, 0.0), Rotation())


def parent(yaw: float, pitch: float = 0.0) -> Transform:
    return Transform(Location(), Rotation(pitch, yaw, 0.0))


def test_the_arm_begins_where_the_actor_was_attached() -> None:
    pose = SpringArm(BEHIND, GHOST).carry(parent(90.0), DELTA_S)
    assert (pose.location.x, pose.location.y) == pytest.approx((0.0, -6.0))
    assert pose.rotation.yaw == pytest.approx(90.0)


def test_the_arm_lags_behind_a_turn_and_catches_up() -> None:
    arm = SpringArm(BEHIND, GHOST)
    arm.carry(parent(170.0), DELTA_S)
    behind = [(-160.0 - arm.carry(parent(-160.0), DELTA_S).rotation.yaw) % 360.0 for _ in range(20)]
    assert 15.0 < behind[0] < 25.0
    assert behind == sorted(behind, reverse=True)
    assert behind[-1] < 0.1


def test_the_length_of_ticks_hardly_matters() -> None:
    yaws = []
    for ticks_per_s in (20, 200):
        arm = SpringArm(BEHIND, GHOST)
        arm.carry(parent(0.0), 0.0)
        for _ in range(ticks_per_s // 5):
            pose = arm.carry(parent(40.0), 1.0 / ticks_per_s)
        yaws.append(pose.rotation.yaw)
    assert yaws[0] == pytest.approx(yaws[1], abs=1.0)


def test_the_parents_pitch_is_ignored() -> None:
    assert SpringArm(BEHIND, GHOST).carry(parent(0.0, pitch=20.0), DELTA_S).rotation.pitch == 0.0


@pytest.mark.parametrize(("attachment", "rise"), [("SpringArm", 0.3), ("SpringArmGhost", 0.0)])
def test_a_camera_on_an_arm_looks_at_its_vehicle(world: carla.World, attachment: str, rise: float) -> None:
    vehicle = car(world)
    place = carla.Transform(carla.Location(x=-5.5, z=2.5), carla.Rotation(pitch=8.0))
    camera = world.spawn_actor(
        blueprint(world, "sensor.camera.rgb"), place, vehicle, getattr(carla.AttachmentType, attachment)
    )
    ticks(world, 40)
    pose, home = camera.get_transform(), vehicle.get_transform()
    assert pose.location.distance(home.location + carla.Location(z=rise)) == pytest.approx(6.04, abs=0.02)
    assert pose.location.z - home.location.z == pytest.approx(2.5 + rise, abs=0.02)
    assert pose.rotation.pitch == pytest.approx(8.0 - 24.44, abs=0.1)
    assert (pose.rotation.yaw - home.rotation.yaw + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.1)

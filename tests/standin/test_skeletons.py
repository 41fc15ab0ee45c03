"""Bones, sockets, components and what is accepted only, through the official client."""

from __future__ import annotations

import carla
import pytest

from tests.standin.test_official_client import blueprint, car


@pytest.fixture
def walker(world: carla.World) -> carla.Walker:
    pose = world.get_map().get_spawn_points()[7]
    found = world.spawn_actor(blueprint(world, "walker.pedestrian.0001"), pose)
    world.tick()
    return found


def bones(walker: carla.Walker) -> dict[str, carla.BoneTransformDataOut]:
    return {bone.name: bone for bone in walker.get_bones().bone_transforms}


def test_a_walker_stands_upright_on_its_feet(walker: carla.Walker) -> None:
    found, middle = bones(walker), walker.get_location()
    feet = middle.z - 0.9
    assert found["crl_root"].world.location.z == pytest.approx(feet, abs=0.01)
    assert found["crl_Head__C"].world.location.z > feet + 1.4
    assert abs(found["crl_toe__L"].world.location.z - feet) < 0.1
    left, right = (found[f"crl_hand__{side}"].component.location.y for side in "LR")
    assert left < 0.0 < right
    assert walker.get_bone_names() == list(found)


def test_a_set_pose_is_shown_as_far_as_it_is_blended_in(world: carla.World, walker: carla.Walker) -> None:
    before = bones(walker)["crl_hand__R"].world.location
    raised = carla.Transform(bones(walker)["crl_arm__R"].relative.location, carla.Rotation(roll=-90.0))
    walker.set_bones(carla.WalkerBoneControlIn([("crl_arm__R", raised)]))
    assert bones(walker)["crl_hand__R"].world.location.z == pytest.approx(before.z)
    walker.blend_pose(1.0)
    assert abs(bones(walker)["crl_hand__R"].world.location.z - before.z) > 0.4
    walker.get_pose_from_animation()
    assert bones(walker)["crl_hand__R"].world.location.z == pytest.approx(before.z)
    walker.hide_pose()


def test_a_vehicles_wheels_are_bones(world: carla.World) -> None:
    vehicle = car(world)
    names = vehicle.get_bone_names()
    wheels = [f"Wheel_{end}_{side}" for end in ("Front", "Rear") for side in ("Left", "Right")]
    assert names == ["Vehicle_Base", *wheels]
    places = dict(zip(names, vehicle.get_vehicle_bone_world_transforms(), strict=True))
    for name, wheel in zip(wheels, vehicle.get_physics_control().wheels, strict=True):
        assert places[name].location.x * 100.0 == pytest.approx(wheel.position.x, abs=1.0)
    assert len(vehicle.get_socket_relative_transforms()) == len(vehicle.get_socket_names()) == 5
    assert places["Vehicle_Base"].location.distance(vehicle.get_location()) < 0.01


def test_components_are_named_and_placed(world: carla.World) -> None:
    vehicle = car(world)
    mesh, *_ = vehicle.get_component_names()
    place = vehicle.get_component_world_transform(mesh).location
    assert place.distance(vehicle.get_location()) < 0.01
    assert vehicle.get_component_relative_transform(mesh).location.length() == 0.0
    with pytest.raises(RuntimeError, match="Component Name could not be found"):
        vehicle.get_component_world_transform("nothing")


def test_a_cars_lamps_are_components_at_its_ends(world: carla.World) -> None:
    vehicle = car(world)
    box, lamps = vehicle.bounding_box, vehicle.get_component_names()[1:]
    assert {f"front-blinker-{side}-1" for side in "lr"} | {"back-brake-l-1", "back-reverse-r-1"} <= set(lamps)
    for name in lamps:
        pose = vehicle.get_component_relative_transform(name)
        assert all(abs(v) <= limit + 1e-3 for v, limit in zip(xyz(pose, box), extents(box), strict=True))
        if name.startswith("front"):
            assert xyz(pose, box)[0] == pytest.approx(box.extent.x, abs=1e-3)
        if name.endswith("-r-1"):
            assert xyz(pose, box)[1] > 0.3
    seen = vehicle.get_component_world_transform("front-blinker-r-1").location
    there = vehicle.get_component_relative_transform("front-blinker-r-1").location
    assert seen.distance(vehicle.get_transform().transform(there)) < 0.01


def xyz(pose: carla.Transform, box: carla.BoundingBox) -> tuple[float, float, float]:
    """From the box's middle."""
    place = pose.location - box.location
    return place.x, place.y, place.z


def extents(box: carla.BoundingBox) -> tuple[float, float, float]:
    return box.extent.x, box.extent.y, box.extent.z


def test_what_has_two_wheels_has_no_lamps(world: carla.World) -> None:
    pose = world.get_map().get_spawn_points()[5]
    bike = world.spawn_actor(blueprint(world, "vehicle.bh.crossbike"), pose)
    assert bike.get_component_names() == ["VehicleMesh"]


def test_textures_and_gbuffers_are_accepted(world: carla.World) -> None:
    texture = carla.TextureColor(2, 2)
    texture.set(0, 0, carla.Color(255, 0, 0, 255))
    name = world.get_names_of_all_objects()[0]
    world.apply_color_texture_to_object(name, carla.MaterialParameter.Diffuse, texture)
    sensor = world.spawn_actor(blueprint(world, "sensor.camera.rgb"), carla.Transform(carla.Location(z=9.0)))
    sensor.listen_to_gbuffer(carla.GBufferTextureID.SceneDepth, lambda image: None)
    world.set_annotations_traverse_translucency(True)
    world.tick()
    sensor.stop_gbuffer(carla.GBufferTextureID.SceneDepth)
    sensor.destroy()


def test_a_sensor_is_enabled_for_ros_until_it_is_disabled(world: carla.World) -> None:
    height = carla.Transform(carla.Location(z=9.0))
    sensor, other = (world.spawn_actor(blueprint(world, "sensor.other.gnss"), height) for _ in range(2))
    states = [sensor.is_enabled_for_ros()]
    for change in (sensor.enable_for_ros, sensor.disable_for_ros):
        change()
        states.append(sensor.is_enabled_for_ros())
    assert states == [False, True, False]
    assert not other.is_enabled_for_ros()

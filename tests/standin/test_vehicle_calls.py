"""What the official client can do to a vehicle, and what it is told about it."""

from __future__ import annotations

import math
from collections.abc import Callable

import carla
import pytest

from tests.standin.process import StandIn
from tests.standin.raw import raw_client

DELTA_S = 0.05
WHEELBASE_M, MASS_KG = 2.871, 1696.0  # of the Lincoln
FULL = carla.VehicleControl(throttle=1.0)


def car(world: carla.World, model: str = "vehicle.lincoln.mkz_2017") -> carla.Vehicle:
    """One that stands on its wheels."""
    pose = world.get_map().get_spawn_points()[0]
    vehicle = world.spawn_actor(world.get_blueprint_library().find(model), pose)
    ticks(world, 10)
    return vehicle


def ticks(world: carla.World, count: int) -> None:
    for _ in range(count):
        world.tick()


def forward_speed(vehicle: carla.Vehicle) -> float:
    return vehicle.get_velocity().dot(vehicle.get_transform().get_forward_vector())


# --- physics control ---------------------------------------------------------------------------------

PLAIN = (
    "max_rpm", "moi", "damping_rate_full_throttle", "damping_rate_zero_throttle_clutch_engaged",
    "damping_rate_zero_throttle_clutch_disengaged", "use_gear_autobox", "gear_switch_time", "clutch_strength",
    "final_ratio", "mass", "drag_coefficient", "use_sweep_wheel_collision",
)  # fmt: skip
OF_A_WHEEL = (
    "tire_friction", "damping_rate", "max_steer_angle", "radius", "max_brake_torque", "max_handbrake_torque",
    "lat_stiff_max_load", "lat_stiff_value", "long_stiff_value",
)  # fmt: skip


def numbers(control: carla.VehiclePhysicsControl) -> list[float]:
    """All that a control says, the wheels' positions apart."""
    middle = control.center_of_mass
    return [
        *(float(getattr(control, name)) for name in PLAIN),
        *(middle.x, middle.y, middle.z),
        *(value for point in control.torque_curve for value in (point.x, point.y)),
        *(value for point in control.steering_curve for value in (point.x, point.y)),
        *(value for gear in control.forward_gears for value in (gear.ratio, gear.down_ratio, gear.up_ratio)),
        *(getattr(wheel, name) for wheel in control.wheels for name in OF_A_WHEEL),
    ]


def test_physics_control_comes_back_as_it_was_applied(world: carla.World) -> None:
    vehicle = car(world)
    control = vehicle.get_physics_control()
    for name in PLAIN:
        value = getattr(control, name)
        setattr(control, name, not value if isinstance(value, bool) else value * 1.25 + 0.01)
    control.center_of_mass = carla.Vector3D(0.3, 0.1, -0.2)
    control.torque_curve = [carla.Vector2D(0, 111), carla.Vector2D(2500, 555), carla.Vector2D(7000, 333)]
    control.steering_curve = [carla.Vector2D(0, 1), carla.Vector2D(50, 0.5)]
    control.forward_gears = [carla.GearPhysicsControl(3.3, 0.2, 0.9), carla.GearPhysicsControl(1.7, 0.3, 0.8)]
    wheels = control.wheels
    for number, wheel in enumerate(wheels):
        for name in OF_A_WHEEL:
            setattr(wheel, name, getattr(wheel, name) * 1.1 + number)
    control.wheels = wheels
    vehicle.apply_physics_control(control)
    world.tick()
    assert numbers(vehicle.get_physics_control()) == pytest.approx(numbers(control), rel=1e-6, abs=1e-3)


def test_every_vehicles_physics_control_makes_the_round_trip(world: carla.World) -> None:
    models = sorted(found.id for found in world.get_blueprint_library().filter("vehicle.*"))
    assert len(models) == 41
    for model in models:
        vehicle = car(world, model)
        control = vehicle.get_physics_control()
        vehicle.apply_physics_control(control)
        world.tick()
        assert numbers(vehicle.get_physics_control()) == pytest.approx(numbers(control), abs=1e-3), model
        vehicle.destroy()


def test_wheels_are_where_the_vehicle_stands(world: carla.World) -> None:
    vehicle = car(world)
    pose, wheels = vehicle.get_transform(), vehicle.get_physics_control().wheels
    middle = sum((wheel.position for wheel in wheels), carla.Vector3D()) / 400.0
    assert math.hypot(middle.x - pose.location.x, middle.y - pose.location.y) < 0.02
    ahead = wheels[0].position - wheels[2].position
    assert ahead.dot(pose.get_forward_vector()) / 100.0 == pytest.approx(WHEELBASE_M, abs=0.02)


@pytest.mark.parametrize(
    ("change", "faster"),
    [
        (lambda control: setattr(control, "mass", 2.0 * control.mass), False),
        (lambda control: setattr(control, "final_ratio", 0.4 * control.final_ratio), False),
        (lambda control: setattr(control, "torque_curve", [carla.Vector2D(0, 700)]), True),
    ],
    ids=["twice the mass", "a long gear", "more torque"],
)
def test_physics_control_changes_how_the_car_goes(
    world: carla.World, change: Callable[[carla.VehiclePhysicsControl], None], faster: bool
) -> None:
    speeds = []
    for changed in (False, True):
        vehicle = car(world)
        if changed:
            control = vehicle.get_physics_control()
            change(control)
            vehicle.apply_physics_control(control)
        vehicle.apply_control(FULL)
        ticks(world, 30)
        speeds.append(forward_speed(vehicle))
        vehicle.destroy()
    assert (speeds[1] > 1.1 * speeds[0]) if faster else (speeds[1] < 0.9 * speeds[0])


def test_a_physics_control_that_no_car_can_have_changes_nothing(world: carla.World) -> None:
    vehicle = car(world)
    before = numbers(vehicle.get_physics_control())
    for name, value in {"mass": 0.0, "max_rpm": -1.0, "moi": math.nan, "torque_curve": []}.items():
        control = vehicle.get_physics_control()
        setattr(control, name, value)
        vehicle.apply_physics_control(control)
    assert numbers(vehicle.get_physics_control()) == before


# --- gears, brakes, pushes ---------------------------------------------------------------------------


def test_gears_can_be_chosen_by_hand(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0, manual_gear_shift=True, gear=2))
    ticks(world, 40)
    assert vehicle.get_control().gear == 2
    second = forward_speed(vehicle)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0, manual_gear_shift=True, gear=0))
    ticks(world, 20)
    assert forward_speed(vehicle) < second
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    ticks(world, 40)
    vehicle.apply_control(carla.VehicleControl(throttle=0.5, manual_gear_shift=True, gear=-1))
    ticks(world, 20)
    assert forward_speed(vehicle) < -1.0


def test_the_gearbox_shifts_by_itself(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.apply_control(FULL)
    gears = set()
    for _ in range(110):
        world.tick()
        gears.add(vehicle.get_control().gear)
    assert gears >= {1, 2, 3}


def test_hand_brake_stops_the_car(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.set_target_velocity(vehicle.get_transform().get_forward_vector() * 8.0)
    vehicle.apply_control(carla.VehicleControl(throttle=1.0, hand_brake=True))
    ticks(world, 60)
    assert vehicle.get_velocity().length() == pytest.approx(0.0, abs=1e-3)


def test_impulse_changes_the_velocity_by_its_share_of_the_mass(world: carla.World) -> None:
    vehicle = car(world)
    mass = vehicle.get_physics_control().mass
    vehicle.add_impulse(vehicle.get_transform().get_forward_vector() * mass * 4.0)
    world.tick()
    assert forward_speed(vehicle) == pytest.approx(4.0, abs=0.15)


def test_force_works_for_one_tick(world: carla.World) -> None:
    vehicle = car(world)
    mass = vehicle.get_physics_control().mass
    for _ in range(20):
        vehicle.add_force(vehicle.get_transform().get_forward_vector() * mass * 5.0)
        world.tick()
    pushed = forward_speed(vehicle)
    assert pushed == pytest.approx(20 * DELTA_S * 5.0, rel=0.1)
    ticks(world, 5)
    assert forward_speed(vehicle) < pushed


def test_upward_impulse_lifts_and_gravity_brings_down(world: carla.World) -> None:
    vehicle = car(world)
    ground, mass = vehicle.get_location().z, vehicle.get_physics_control().mass
    vehicle.add_impulse(carla.Vector3D(z=mass * 3.0))
    ticks(world, 6)
    assert vehicle.get_location().z == pytest.approx(ground + 3.0 * 0.3 - 4.9 * 0.09, abs=0.05)
    ticks(world, 10)
    assert vehicle.get_location().z == pytest.approx(ground, abs=0.01)


def test_without_gravity_it_stays_in_the_air(world: carla.World) -> None:
    vehicle = car(world)
    pose = vehicle.get_transform()
    pose.location.z += 3.0
    vehicle.set_enable_gravity(False)
    vehicle.set_transform(pose)
    ticks(world, 20)
    assert vehicle.get_location().z == pytest.approx(pose.location.z, abs=1e-3)
    vehicle.set_enable_gravity(True)
    ticks(world, 30)
    assert vehicle.get_location().z < pose.location.z - 2.5


@pytest.mark.parametrize(
    ("push", "seconds"), [(carla.command.ApplyAngularImpulse, 1.0), (carla.command.ApplyTorque, DELTA_S)]
)
def test_a_turn_about_the_vertical_axis(
    client: carla.Client, world: carla.World, push: type, seconds: float
) -> None:
    """In the air, where no tyre holds it; CARLA's unit is kg cm^2 deg. `Actor.add_torque` of 0.9.16 asks for
    an impulse, so the commands are used.
    """
    vehicle = car(world)
    pose = vehicle.get_transform()
    pose.location.z += 3.0
    vehicle.set_enable_gravity(False)
    vehicle.set_transform(pose)
    world.tick()
    client.apply_batch_sync([push(vehicle, carla.Vector3D(z=3e9))])
    world.tick()
    expected = 3e5 / (MASS_KG * (WHEELBASE_M / 2) ** 2) * seconds
    assert vehicle.get_angular_velocity().z == pytest.approx(expected, rel=0.02)


# --- Ackermann ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target_mps", [6.0, -3.0])
def test_ackermann_control_reaches_its_speed_and_stops(world: carla.World, target_mps: float) -> None:
    vehicle = car(world)
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(speed=target_mps, acceleration=2.0))
    ticks(world, 300)
    assert forward_speed(vehicle) == pytest.approx(target_mps, abs=0.7)
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(speed=0.0))
    ticks(world, 300)
    assert abs(forward_speed(vehicle)) < 0.2


def test_ackermann_control_steers_by_the_angle_of_the_wheels(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(steer=0.3))
    ticks(world, 3)
    right = vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FR_Wheel)
    left = vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FL_Wheel)
    assert right == pytest.approx(math.degrees(0.3), abs=0.1)
    assert 0.0 < left < right
    vehicle.apply_ackermann_control(carla.VehicleAckermannControl(steer=-0.3, steer_speed=0.5))
    ticks(world, 10)
    assert (
        right - math.degrees(0.35)
        < vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FR_Wheel)
        < right
    )
    vehicle.apply_control(carla.VehicleControl(brake=1.0))
    ticks(world, 2)
    assert vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FR_Wheel) == 0.0


def test_ackermann_settings_come_back(world: carla.World) -> None:
    vehicle = car(world)
    wanted = carla.AckermannControllerSettings(0.2, 0.01, 0.3, 0.02, 0.001, 0.03)
    vehicle.apply_ackermann_controller_settings(wanted)
    got = vehicle.get_ackermann_controller_settings()
    for name in ("speed_kp", "speed_ki", "speed_kd", "accel_kp", "accel_ki", "accel_kd"):
        assert getattr(got, name) == pytest.approx(getattr(wanted, name))


# --- what a vehicle tells ----------------------------------------------------------------------------


def test_the_servers_own_autopilot_lets_go_of_the_pedals_and_keeps_what_it_is_told_then(
    server: StandIn, world: carla.World
) -> None:
    loose = world.get_blueprint_library().find("vehicle.lincoln.mkz_2017")
    loose.set_attribute("sticky_control", "false")
    vehicle = world.spawn_actor(loose, world.get_map().get_spawn_points()[0])
    with raw_client(server.rpc_port) as raw:

        def throttle_after_two_ticks(autopilot: bool) -> float:
            raw.call("set_actor_autopilot", vehicle.id, autopilot)
            ticks(world, 1)
            assert vehicle.get_control().throttle == 0.0
            vehicle.apply_control(FULL)
            ticks(world, 2)
            return vehicle.get_control().throttle

        assert throttle_after_two_ticks(autopilot=True) == 1.0
        assert throttle_after_two_ticks(autopilot=False) == 0.0


def test_telemetry_fits_the_motion(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.apply_control(carla.VehicleControl(throttle=0.7, steer=0.1))
    ticks(world, 40)
    told, control = vehicle.get_telemetry_data(), vehicle.get_physics_control()
    assert told.speed == pytest.approx(forward_speed(vehicle), abs=0.05)
    assert (told.throttle, told.steer) == (pytest.approx(0.7), pytest.approx(0.1))
    assert told.gear == vehicle.get_control().gear
    assert 700.0 < told.engine_rpm <= control.max_rpm
    assert sum(wheel.tire_load for wheel in told.wheels) == pytest.approx(control.mass * 9.81, rel=1e-3)
    assert told.wheels[0].omega * control.wheels[0].radius / 100.0 == pytest.approx(told.speed, rel=1e-3)
    assert all(wheel.lat_force > 0.0 for wheel in told.wheels)


def test_doors_and_wheels_take_what_they_are_told(world: carla.World) -> None:
    vehicle = car(world)
    vehicle.open_door(carla.VehicleDoor.All)
    vehicle.close_door(carla.VehicleDoor.FL)
    vehicle.set_wheel_steer_direction(carla.VehicleWheelLocation.FR_Wheel, 12.5)
    vehicle.set_wheel_pitch_angle(carla.VehicleWheelLocation.FL_Wheel, 30.0)
    assert vehicle.get_wheel_steer_angle(carla.VehicleWheelLocation.FR_Wheel) == pytest.approx(12.5)
    assert vehicle.get_wheel_pitch_angle(carla.VehicleWheelLocation.FL_Wheel) == pytest.approx(30.0)


# --- tyres, and controls that do not stick -------------------------------------------------------------


def test_wheels_without_friction_slow_nothing_down(world: carla.World) -> None:
    vehicle = car(world)
    with_friction(vehicle, 0.0)
    vehicle.set_target_velocity(10.0 * vehicle.get_transform().get_forward_vector())
    ticks(world, 20)
    assert forward_speed(vehicle) == pytest.approx(10.0, abs=1e-3)


def test_a_friction_trigger_changes_the_tyres_of_who_is_in_it(world: carla.World) -> None:
    vehicle = car(world)
    with_friction(vehicle, 1.0)
    box = world.get_blueprint_library().find("static.trigger.friction")
    for name, value in (("friction", 2.5), ("extent_x", 500.0), ("extent_y", 500.0), ("extent_z", 500.0)):
        box.set_attribute(name, str(value))
    trigger = world.spawn_actor(box, vehicle.get_transform())
    world.tick()
    assert friction_of(vehicle) == 2.5
    vehicle.set_location(vehicle.get_location() + carla.Location(x=40.0))
    ticks(world, 2)
    assert friction_of(vehicle) == 1.0
    trigger.destroy()


def test_a_control_that_does_not_stick_works_for_one_tick(world: carla.World) -> None:
    blueprint = world.get_blueprint_library().find("vehicle.lincoln.mkz_2017")
    blueprint.set_attribute("sticky_control", "False")
    vehicle = world.spawn_actor(blueprint, world.get_map().get_spawn_points()[0])
    ticks(world, 10)
    vehicle.apply_control(FULL)
    world.tick()
    assert vehicle.get_control().throttle == 1.0
    world.tick()
    assert vehicle.get_control().throttle == 0.0


def with_friction(vehicle: carla.Vehicle, friction: float) -> None:
    control = vehicle.get_physics_control()
    wheels = control.wheels
    for wheel in wheels:
        wheel.tire_friction = friction
    control.wheels, control.drag_coefficient = wheels, 0.0
    vehicle.apply_physics_control(control)


def friction_of(vehicle: carla.Vehicle) -> float:
    return float(vehicle.get_physics_control().wheels[0].tire_friction)


# --- acceleration ------------------------------------------------------------------------------------


def test_acceleration_is_the_change_of_the_velocity_whatever_changed_it(world: carla.World) -> None:
    vehicle = car(world)
    ticks(world, 20)
    forward = vehicle.get_transform().get_forward_vector()
    for change in (
        lambda: vehicle.add_impulse(5.0 * MASS_KG * forward),
        lambda: vehicle.set_target_velocity(carla.Vector3D()),
        lambda: vehicle.apply_control(FULL),
    ):
        before = vehicle.get_velocity()
        change()
        world.tick()
        expected = (vehicle.get_velocity() - before) / DELTA_S
        assert (vehicle.get_acceleration() - expected).length() < 1e-3 * max(1.0, expected.length())

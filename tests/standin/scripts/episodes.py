"""Maps are loaded over and over, with sensors that come and go in each: PORT CYCLES."""

from __future__ import annotations

import json
import queue
import sys

import carla

TOWNS = ("Town01", "Town02")
SENSORS = ("sensor.lidar.ray_cast_semantic", "sensor.camera.rgb", "sensor.other.imu")


def main(port: int, cycles: int) -> dict[str, object]:
    client = carla.Client("127.0.0.1", port)
    client.set_timeout(20.0)
    seen = []
    for cycle in range(cycles):
        world = client.load_world(TOWNS[cycle % 2])
        kept = world.get_settings().synchronous_mode
        seen.append({"id": world.id, "map": world.get_map().name, "synchronous": kept})
        use_sensors(world)
    world = client.reload_world(False)
    kept = world.get_settings().synchronous_mode
    one_frame = world.tick() + 1 == world.tick()
    lights = world.get_actors().filter("traffic.*")
    seen.append({"id": world.id, "map": world.get_map().name, "synchronous": kept})
    drawn = client.generate_opendrive_world(world.get_map().to_opendrive())
    return {
        "episodes": seen,
        "ticked_after_reload": one_frame,
        "lights": len(lights),
        "drawn": drawn.get_map().name,
        "vehicles_left": len(drawn.get_actors().filter("vehicle.*")),
    }


def use_sensors(world: carla.World) -> None:
    """Synchronous mode, a vehicle, sensors that are stopped right after a frame."""
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    library = world.get_blueprint_library()
    point = world.get_map().get_spawn_points()[0]
    vehicle = world.spawn_actor(library.find("vehicle.tesla.model3"), point)
    sensors, messages = [], []
    for name in SENSORS:
        blueprint = library.find(name)
        if "camera" in name:
            blueprint.set_attribute("image_size_x", "200")
            blueprint.set_attribute("image_size_y", "150")
        sensors.append(world.spawn_actor(blueprint, carla.Transform(carla.Location(z=2)), attach_to=vehicle))
        messages.append(queue.Queue())
        sensors[-1].listen(messages[-1].put)
    for _ in range(2):
        frame = world.tick()
        assert all(waiting.get(timeout=20.0).frame == frame for waiting in messages)
    for sensor in sensors:
        sensor.stop()
        sensor.destroy()


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))

"""Programs that hold a server, in processes of their own: the official client, and what it leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_BEGIN = """
import sys, time, carla
port = int(sys.argv[1])
client = carla.Client("127.0.0.1", port)
client.set_timeout(20.0)
world = client.get_world()
"""

FLOOD = """
library, spawn = world.get_blueprint_library(), carla.command.SpawnActor
places = world.get_map().get_spawn_points()
cars = library.filter("vehicle.*")
batch = [spawn(cars[n % len(cars)], places[n % len(places)]) for n in range(int(sys.argv[2]))]
spawned = [r.actor_id for r in client.apply_batch_sync(batch, False) if not r.error]
assert len(spawned) > 20, spawned
camera = library.find("sensor.camera.rgb")
camera.set_attribute("image_size_x", "32")
camera.set_attribute("image_size_y", "32")
gnss = library.find("sensor.other.gnss")
sensors = [world.spawn_actor(gnss, carla.Transform(), attach_to=world.get_actor(n)) for n in spawned[:10]]
sensors.append(world.spawn_actor(camera, carla.Transform(), attach_to=world.get_actor(spawned[0])))
sensors[-1].listen(lambda image: None)
walker, ai = library.find("walker.pedestrian.0001"), library.find("controller.ai.walker")
for n in range(10):
    place = carla.Transform(world.get_random_location_from_navigation())
    body = world.try_spawn_actor(walker, place)
    if body:
        world.spawn_actor(ai, carla.Transform(), attach_to=body)
"""

SETTINGS = """
settings = world.get_settings()
settings.synchronous_mode, settings.fixed_delta_seconds, settings.no_rendering_mode = True, 0.1, True
world.apply_settings(settings)
world.set_weather(carla.WeatherParameters(fog_density=80.0, sun_altitude_angle=-40.0))
world.get_spectator().set_transform(carla.Transform(carla.Location(10.0, 20.0, 30.0)))
world.freeze_all_traffic_lights(True)
world.debug.draw_point(carla.Location(), life_time=0.0)
world.tick()
"""

LIGHTS = """
for light in world.get_actors().filter("traffic.traffic_light"):
    light.set_green_time(99.0)
    light.set_state(carla.TrafficLightState.Off)
street = world.get_lightmanager()
street.turn_on(street.get_all_lights())
time.sleep(0.3)
"""

TRAFFIC = """
traffic = client.get_trafficmanager(port + 3)
car = world.get_blueprint_library().find("vehicle.tesla.model3")
world.spawn_actor(car, world.get_map().get_spawn_points()[3]).set_autopilot(True, port + 3)
time.sleep(0.5)
"""

RECORDING = """
client.start_recorder("scrubbed.log")
time.sleep(0.2)
"""

OTHER_MAP = """
client.load_world("Town02")
"""

_STAY = """
print("done", flush=True)
sys.stdin.readline()
"""

RESTLESS = """
print("done", flush=True)
while True:
    try:
        world.set_weather(carla.WeatherParameters(fog_density=66.0))
    except RuntimeError:
        pass
    time.sleep(0.01)
"""

RECONNECTING = """
print("done", flush=True)
while True:
    try:
        carla.Client("127.0.0.1", port).get_server_version()
    except RuntimeError:
        pass
    time.sleep(0.01)
"""


def hold(port: int, *what: str, count: int = 60) -> None:
    """Does these things one after the other, and dies without tidying up."""
    with holding(port, *what, count=count):
        pass


@contextmanager
def holding(port: int, *what: str, count: int = 60) -> Iterator[subprocess.Popen[str]]:
    """A holder that did these things and is still there; killed at the end of the block."""
    stays = what[-1] in (RESTLESS, RECONNECTING)
    code = "".join((_BEGIN, *what, "" if stays else _STAY))
    command = [sys.executable, "-c", code, str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()

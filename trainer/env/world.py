"""The simulator as Route-v0 sees it: one vehicle in a world that it ticks, among those that it spawns."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import ExitStack
from typing import Any
from weakref import WeakValueDictionary

import carla
import numpy as np

from carlad.log import get_logger
from carlad.session.environment import Server
from carlad.telemetry import Array
from trainer.env.config import RouteConfig
from trainer.env.episode import Truth
from trainer.env.listening import listen
from trainer.env.moment import Ego
from trainer.env.route import Place
from trainer.env.rules import LaneUse, LaneWatch
from trainer.env.scores import Infraction
from trainer.env.sensors import Sensors
from trainer.env.signals import Signals
from trainer.env.surroundings import Others, Surroundings
from trainer.env.town import Town, town_of
from trainer.env.traffic import Traffic
from trainer.env.views import Views

log = get_logger("carlad.trainer")

# The car stands still with its wheels straight: what a teleported vehicle is given until it has settled.
_HOLD = carla.VehicleControl(throttle=0.0, steer=0.0, brake=1.0)
_SETTLE_TICKS = 2
_SAME_COLLISION_S = 3.0  # whoever goes on touching the same thing has collided once
# Nearer to the route than this, and along it, a vehicle is in the route's lane: lanes are twice as wide.
_SURELY_ON_LANE_M, _SURELY_ALONG_COS = 1.0, 0.5
_DRIVABLE = carla.LaneType(carla.LaneType.Driving | carla.LaneType.Bidirectional | carla.LaneType.Parking)
_SPEED_LIMIT_KMH = 30.0  # where the simulator knows of none
_LAMPS = {
    "position": int(carla.VehicleLightState.Position),
    "low_beam": int(carla.VehicleLightState.LowBeam),
    "high_beam": int(carla.VehicleLightState.HighBeam),
    "brake": int(carla.VehicleLightState.Brake),
    "right_blinker": int(carla.VehicleLightState.RightBlinker),
    "left_blinker": int(carla.VehicleLightState.LeftBlinker),
    "reverse": int(carla.VehicleLightState.Reverse),
    "fog": int(carla.VehicleLightState.Fog),
}


class World:
    """A connection in synchronous mode with the ego vehicle in it.

    Methods that call the server raise RuntimeError, carla's only error, when it does not answer in time.
    """

    def __init__(self, server: Server, config: RouteConfig) -> None:
        self.config = config
        self.server = server
        self._client = client_of(server)
        self._client.set_timeout(config.client_timeout_s)
        self._connect(config)

    def _connect(self, config: RouteConfig) -> None:
        server = self.server
        if config.map:
            self._load(config)
        self._world = self._client.get_world()
        self._control = carla.VehicleControl()
        self.map = self._world.get_map()
        self.town: Town = town_of(self.map)
        self.spawn_points: list[Any] = self.map.get_spawn_points()
        self._collisions: deque[Infraction] = deque()  # filled by one of the client's threads
        self._touched: dict[int, float] = {}
        self._sim_time_s = 0.0
        self._frame = 0
        self._lamps: list[str] | None = None
        self.tick_s = self.sensors_s = 0.0  # what the last tick took, and waiting for its measurements
        with ExitStack() as undo:
            undo.callback(self._world.apply_settings, self._world.get_settings())
            self.found_weather = self._world.get_weather()
            self._weather = self.found_weather
            undo.callback(self._put_weather_back)
            self._world.apply_settings(_synchronous(self._world.get_settings(), config))
            self._vehicle = self._spawn(config.vehicle)
            extent = self._vehicle.bounding_box.extent  # a call to the server
            self._half_size_m = extent.x, extent.y
            undo.callback(self._vehicle.destroy)
            self._attach_collision_sensor(undo)
            self.sensors = Sensors(self._world, self._vehicle, config)
            undo.callback(self.sensors.close)
            self._views = Views(self._world, self._vehicle)
            undo.callback(self._show_none)
            self._traffic = Traffic(self._client, self._world, server.traffic_manager_port)
            undo.callback(self._traffic.close)
            self.signals = Signals(self._world, self.map)
            self._surroundings = Surroundings(self._world, self._vehicle.id)
            self._lanes = LaneWatch(self.map, _DRIVABLE)
            self._tick()
            self._undo = undo.pop_all()

    @property
    def name(self) -> str:
        """The map's, without folders."""
        return str(self.map.name).rpartition("/")[2]

    def begin(self, config: RouteConfig, start: Any, weather_values: Any, rng: np.random.Generator) -> Ego:
        """Begin an episode: the vehicle stands at the carla.Transform `start`, everybody else is spawned
        anew.

        `weather_values`: the carla.WeatherParameters to set, or None for the server's own.
        """
        self.config = config
        self._traffic.clear()
        self._set_weather(weather_values or self.found_weather)
        self._teleport(start)
        self._traffic.spawn(config.traffic, self.spawn_points, start.location, rng)
        self._traffic.set_lights(config.traffic.lights)
        ego = self._tick()
        if self._traffic.walks:
            self._traffic.begin_walking(config.traffic, rng)
        for _ in range(_SETTLE_TICKS - 1):
            ego = self._tick()
        self._collisions.clear()
        self._touched.clear()
        self._lamps = None
        self._lanes = LaneWatch(self.map, _DRIVABLE)
        return ego

    def drive(self, steer: float, throttle: float, brake: float) -> Ego:
        """Apply the control and tick once; returns the vehicle in the new frame, without another call."""
        control = self._control
        control.steer, control.throttle, control.brake = steer, throttle, brake
        self._vehicle.apply_control(control)
        return self._tick()

    def show(self, views: frozenset[str]) -> None:
        """Carry the cameras of these channels for viewers, and no others."""
        self._views.show(views, self._frame)

    def view(self, channel: str) -> Array | None:
        """The newest image of such a camera: uint8 (H, W, 3), RGB; None where there is none."""
        return self._views.image(channel)

    def attitude_deg(self) -> tuple[float, float]:
        """The vehicle's pitch, positive with its nose up, and roll."""
        rotation = self._transform.rotation
        return rotation.pitch, rotation.roll

    def gear(self) -> int:
        """The vehicle's, -1 in reverse, as of the last tick."""
        return int(self._vehicle.get_control().gear)

    def lamps(self) -> list[str]:
        """Those that are lit on the vehicle, as they were when they were first asked for in the episode: it
        takes a call to the server, and nothing here switches them."""
        if self._lamps is None:
            state = int(self._vehicle.get_light_state())
            self._lamps = [name for name, flag in _LAMPS.items() if state & flag]
        return self._lamps

    def others(self) -> Others:
        """Everybody else in the last tick."""
        return self._surroundings.update(self._snapshot)

    def truth(self) -> Truth:
        """What an episode may ask about this world."""
        signals = self.signals
        return Truth(signals.lines, signals.zones, signals.state, self.lane_use, self.half_size_m())

    def lane_use(self, ego: Ego, place: Place | None) -> LaneUse:
        """How the vehicle stands to the lanes; looked up unless `place`, on the route, makes that plain."""
        if place is not None:
            offset_m, along = abs(place.lateral_m), math.cos(ego.yaw_rad - place.heading_rad)
            if offset_m < _SURELY_ON_LANE_M and along > _SURELY_ALONG_COS:
                return self._lanes.on_route(offset_m)
        return self._lanes.look(self._location, ego.yaw_rad)

    def collisions(self) -> list[Infraction]:
        """What the vehicle has begun to touch since the last call; an event may come a tick late."""
        found = []
        while self._collisions:
            found.append(self._collisions.popleft())
        return found

    def speed_limit_mps(self) -> float:
        """The limit that holds for the vehicle."""
        limit_kmh = self._vehicle.get_speed_limit()
        return (limit_kmh if limit_kmh > 0 else _SPEED_LIMIT_KMH) / 3.6

    def half_size_m(self) -> tuple[float, float]:
        """Half the vehicle's length and width."""
        return self._half_size_m

    def close(self) -> None:
        """Remove all that was spawned and put the world's settings back."""
        try:
            self._undo.close()
        except RuntimeError as error:
            log.warning("world.left_behind", reason=error)

    def _show_none(self) -> None:
        self.show(frozenset())

    def _tick(self) -> Ego:
        began_s = time.perf_counter()
        self._frame = frame = self._world.tick()
        self._snapshot = snapshot = self._world.get_snapshot()
        ticked_s = time.perf_counter()
        self.sensors.collect(frame)
        self.tick_s, self.sensors_s = ticked_s - began_s, time.perf_counter() - ticked_s
        vehicle = snapshot.find(self._vehicle.id)
        if vehicle is None:
            raise RuntimeError(f"the vehicle {self._vehicle.id} is gone from the world")
        self._transform = transform = vehicle.get_transform()
        velocity = vehicle.get_velocity()
        self._location = location = transform.location
        self._sim_time_s = snapshot.timestamp.elapsed_seconds
        vx, vy = velocity.x, velocity.y
        return Ego(
            location.x,
            location.y,
            location.z,
            math.radians(transform.rotation.yaw),
            vx,
            vy,
            math.hypot(vx, vy),
            math.radians(vehicle.get_angular_velocity().z),
            frame,
            self._sim_time_s,
        )

    def _teleport(self, transform: Any) -> None:
        self._vehicle.apply_control(_HOLD)
        self._vehicle.set_transform(transform)
        self._vehicle.set_target_velocity(carla.Vector3D())
        self._vehicle.set_target_angular_velocity(carla.Vector3D())

    def _set_weather(self, wanted: Any) -> None:
        if wanted != self._weather:
            self._world.set_weather(wanted)
            self._weather = wanted

    def _put_weather_back(self) -> None:
        self._set_weather(self.found_weather)

    def _load(self, config: RouteConfig) -> None:
        """Have the server run the configured map."""
        running = self._client.get_world().get_map().name
        if running.rpartition("/")[2] == config.map:
            return
        known = sorted({path.rpartition("/")[2] for path in self._client.get_available_maps()})
        if config.map not in known:
            raise ValueError(f"cannot load the map {config.map!r}: the server has {', '.join(known)}")
        log.info("world.loading", map=config.map, was=running)
        self._client.set_timeout(config.map_timeout_s)
        self._client.load_world(config.map)
        self._client.set_timeout(config.client_timeout_s)

    def _spawn(self, blueprint_id: str) -> Any:
        blueprint = self._world.get_blueprint_library().find(blueprint_id)
        blueprint.set_attribute("role_name", "hero")
        for transform in self.spawn_points:
            if (vehicle := self._world.try_spawn_actor(blueprint, transform)) is not None:
                return vehicle
        raise ValueError(
            f"cannot spawn a vehicle in {self.name}: its {len(self.spawn_points)} spawn points are all taken"
        )

    def _attach_collision_sensor(self, undo: ExitStack) -> None:
        blueprint = self._world.get_blueprint_library().find("sensor.other.collision")
        sensor = self._world.spawn_actor(blueprint, carla.Transform(), attach_to=self._vehicle)
        undo.callback(sensor.destroy)
        undo.callback(listen(sensor, self._note_collision))

    def _note_collision(self, event: Any) -> None:
        """Called on one of the client's threads."""
        other, now_s = event.other_actor, event.timestamp
        last_s = self._touched.get(other.id, -math.inf)
        self._touched[other.id] = now_s
        if now_s - last_s > _SAME_COLLISION_S:
            self._collisions.append(_kind_of_collision(other.type_id))


# One client for a server, as long as somebody has it: to make another one, or to let one go, while its
# threads still hear from the server can abort the process in carla 0.9.16.
_clients: WeakValueDictionary[tuple[str, int], Any] = WeakValueDictionary()
_CLIENT_THREADS = (
    1  # for what servers stream; by default one for each core, of which each message wakes several
)


def client_of(server: Server) -> Any:
    """This process's `carla.Client` of a server. Who makes many environments on one server keeps it."""
    address = server.host, server.rpc_port
    client = _clients.get(address)
    if client is None:
        client = _clients[address] = carla.Client(*address, _CLIENT_THREADS)
    return client


def _kind_of_collision(type_id: str) -> Infraction:
    if type_id.startswith("walker."):
        return Infraction.COLLISION_PEDESTRIAN
    return Infraction.COLLISION_VEHICLE if type_id.startswith("vehicle.") else Infraction.COLLISION_STATIC


def _synchronous(settings: Any, config: RouteConfig) -> Any:
    settings.synchronous_mode = True
    settings.fixed_delta_seconds = config.delta_s
    # where nothing looks at images, an idle GPU is worth many servers
    settings.no_rendering_mode = not {"camera", "depth", "semantic"} & set(config.observe.keys)
    return settings

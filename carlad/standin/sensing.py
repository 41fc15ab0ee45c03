"""The sensors: which are due, and what they send. What nobody reads is not measured."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from carlad.standin.actors import Actor
from carlad.standin.collisions import Collision
from carlad.standin.instruments import Gnss, Imu
from carlad.wire import sensors
from carlad.wire.sensors import SensorType

if TYPE_CHECKING:
    from carlad.standin.simulation import Simulation
    from carlad.standin.vision import Eyes

COLLISION = "sensor.other.collision"
GNSS = "sensor.other.gnss"
IMU = "sensor.other.imu"
_TYPES: dict[str, SensorType] = {  # those with a stream: all but lane invasion and RSS
    COLLISION: SensorType.COLLISION,
    GNSS: SensorType.GNSS,
    IMU: SensorType.IMU,
    "sensor.camera.rgb": SensorType.RGB,
    "sensor.camera.depth": SensorType.DEPTH,
    "sensor.camera.semantic_segmentation": SensorType.SEMANTIC_SEGMENTATION,
    "sensor.camera.instance_segmentation": SensorType.INSTANCE_SEGMENTATION,
    "sensor.camera.normals": SensorType.NORMALS,
    "sensor.camera.optical_flow": SensorType.OPTICAL_FLOW,
    "sensor.camera.dvs": SensorType.DVS,
    "sensor.lidar.ray_cast": SensorType.LIDAR,
    "sensor.lidar.ray_cast_semantic": SensorType.SEMANTIC_LIDAR,
    "sensor.other.radar": SensorType.RADAR,
    "sensor.other.obstacle": SensorType.OBSTACLE,
    "sensor.camera.cosmos_visualization": SensorType.COSMOS,
    "sensor.other.v2x": SensorType.V2X,
    "sensor.other.v2x_custom": SensorType.V2X_CUSTOM,
}
_CAMERAS = "sensor.camera."
_SILENT = frozenset({"sensor.other.v2x", "sensor.other.v2x_custom"})  # accepted only: they send nothing
_DUE_EPSILON_S = 1e-4  # simulated time is a sum of float32: five ticks of 0.02 s take 2e-9 less than 0.1 s


class Instrument(Protocol):
    """What measures for one sensor actor."""

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...] | None:
        """The buffers that follow the header of the sensor's message; None: there is nothing to report."""
        ...


class _Silent:
    """Never reports anything."""

    def measure(self, sensor: Actor, delta_s: float) -> None:
        return None


def has_stream(type_id: str) -> bool:
    return type_id in _TYPES


class Sensing:
    """All sensors of an episode. Noise is drawn from generators seeded by `seed` and the sensor."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self._simulation = simulation
        self._seed = seed
        self._sensors: dict[int, _Sensor] = {}
        self._eyes: Eyes | None = None

    def add(self, actor: Actor) -> None:
        """A sensor was spawned. Raises CallError where its attributes make no sense."""
        instrument = None if actor.type_id == COLLISION else self._instrument(actor)
        self._sensors[actor.id] = _Sensor(actor, instrument)

    def remove(self, actor: Actor) -> None:
        self._sensors.pop(actor.id, None)
        self._simulation.streams.end(actor.stream_id)

    @property
    def is_blind(self) -> bool:
        """Whether what cameras see is still being built, which takes up to some seconds."""
        return self._eyes is not None and self._eyes.are_opening

    def rehearse(self, actor: Actor) -> None:
        """Have a camera's first picture drawn now and not in a tick: it takes longer than all others."""
        sensor = self._sensors.get(actor.id)
        draw = getattr(sensor.instrument, "rehearse", None) if sensor is not None else None
        if draw is not None:
            draw(actor)

    def opened(self) -> Iterator[float]:
        """Wait until cameras can see."""
        while self.is_blind:
            yield 0.0

    def publish(self, frame: int, time_s: float, delta_s: float) -> None:
        """Send what is due at this frame to those who listen; before they can see, cameras are silent."""
        blind = self.is_blind
        for sensor in self._sensors.values():
            actor, instrument = sensor.actor, sensor.instrument
            if not self._simulation.streams.wanted(actor.stream_id) or (blind and sensor.looks):
                continue
            if instrument is None:
                for collision in self._felt(actor.parent):
                    self._send(actor, frame, time_s, (self._collision_body(collision),))
            elif sensor.is_due(time_s):
                parts = instrument.measure(actor, delta_s)
                if parts is not None:
                    self._send(actor, frame, time_s, parts)

    def _felt(self, actor: Actor | None) -> list[Collision]:
        """What an actor ran into in this tick."""
        return [felt for felt in self._simulation.world.collisions if felt.actor is actor]

    def _send(self, actor: Actor, frame: int, time_s: float, parts: tuple[Any, ...]) -> None:
        header = sensors.header(_TYPES[actor.type_id], frame, time_s, actor.pose)
        self._simulation.streams.publish(actor.stream_id, header, *parts)

    def _collision_body(self, collision: Collision) -> bytes:
        described = self._simulation.described
        return sensors.collision_body(
            described(collision.actor), described(collision.other), collision.impulse
        )

    def _instrument(self, actor: Actor) -> Instrument:
        """Raises ValueError where the attributes make no sense."""
        if actor.type_id in _SILENT:
            return _Silent()
        if actor.type_id == GNSS:
            return Gnss(actor, self._simulation, self._seed)
        if actor.type_id == IMU:
            return Imu(actor, self._simulation, self._seed)
        if actor.type_id.startswith(_CAMERAS):
            from carlad.standin.cameras import CAMERAS

            return CAMERAS[actor.type_id](actor, self.eyes)
        from carlad.standin.ranging import RANGING

        self.eyes.will_cast()
        return RANGING[actor.type_id](actor, self.eyes)

    @property
    def eyes(self) -> Eyes:
        """What sees the world for cameras, LiDARs and rays."""
        if self._eyes is None:
            from carlad.standin.vision import Eyes  # imported at the first camera: start-up must be quick

            self._eyes = Eyes(self._simulation)
        return self._eyes


class _Sensor:
    """When one sensor measures: every tick, or every `sensor_tick` seconds of simulated time."""

    def __init__(self, actor: Actor, instrument: Instrument | None) -> None:
        self.actor = actor
        self.instrument = instrument  # None: a collision sensor, which only reports what happened
        self.looks = not isinstance(instrument, (Gnss, Imu, _Silent, type(None)))
        self._period_s = float(actor.values.get("sensor_tick") or 0)
        self._due_s = -inf  # at once, and by its own period from then on

    def is_due(self, time_s: float) -> bool:
        if time_s < self._due_s - _DUE_EPSILON_S:
            return False
        self._due_s += self._period_s
        if self._due_s < time_s - _DUE_EPSILON_S:  # the first one, or nobody listened meanwhile
            self._due_s = time_s + self._period_s
        return True

"""A CARLA server in virtual time: the calls and streams that the control plane and holders use."""

from __future__ import annotations

import struct
from math import inf
from typing import Any, Protocol

import msgspec
import trio

from carlad.wire import CARLA_VERSION
from carlad.wire import types as t
from carlad.wire.calls import BARE, CALLS
from carlad.wire.commands import ApplyTransform, DestroyActor, decode_command
from carlad.wire.msgpackrpc import RequestReader, answer, answer_bare, refuse
from carlad.wire.sensors import RECORD_BYTES, ActorState, SensorType, episode_header, header
from carlad.wire.streaming import WORLD_STREAM, SubscriptionReader, Token, frame_prefix
from tests.simulation.machine import Connection, Machine

MAPS = ("Town01", "Town02")
TICK_S = 0.05
_LIGHT, _VEHICLE = "traffic.traffic_light", "vehicle.tesla.model3"
_WRITES = frozenset(
    {
        "spawn_actor",
        "set_episode_settings",
        "set_weather_parameters",
        "load_new_episode",
        "tick_cue",
        "apply_batch",
    }
)
_record = struct.Struct("<IB6f36x54s")


class Witness(Protocol):
    def commanded(self, server: SimServer, who: object, name: str) -> None: ...
    def broke(self, server: SimServer) -> None: ...


class World:
    """An episode: what a scrub has to put back."""

    def __init__(self, episode_id: int, map: str) -> None:
        self.episode_id, self.map = episode_id, map
        self.settings = t.EpisodeSettings()
        self.weather = t.WeatherParameters()
        self.actors = {1: _LIGHT, 2: _LIGHT}

    def foreign(self) -> list[str]:
        """What is not as in a new one."""
        found = []
        if self.settings != t.EpisodeSettings():
            found.append(f"settings {self.settings}")
        if self.weather != t.WeatherParameters():
            found.append("weather")
        if extra := self.actors.keys() - {1, 2}:
            found.append(f"actors {sorted(extra)}")
        return found


class SimServer:
    """`witness` hears of every command that takes effect, and of its faults."""

    def __init__(
        self, machine: Machine, rpc_port: int, map: str, load_s: float, answer_s: float, witness: Witness
    ) -> None:
        self.machine, self.rpc_port = machine, rpc_port
        self.pid = next(machine.pids)
        self.how: str | None = None  # it ended
        self.ended = trio.Event()
        self.is_hung = False
        self.fault_at_s = 0.0  # since when it is hung, or has ended
        self.well_until_s = inf
        self.answer_s = answer_s
        self.was_slow = False
        self.world = World(1, map)
        self._witness, self._load_s = witness, load_s
        self._frame, self._frame_at_s = 1, trio.current_time()
        self._works_until_s = 0.0
        self._readers: dict[Connection, RequestReader] = {}
        self._subscribers: dict[Connection, SubscriptionReader | None] = {}
        self._next_actor = 100

    # --- what happens to it

    def listen(self) -> bool:
        """False where somebody else has its ports."""
        ports, listeners = (self.rpc_port, self.rpc_port + 1), self.machine.network.listeners
        if any(port in listeners for port in ports):
            return False
        listeners.update(dict.fromkeys(ports, self))
        return True

    @property
    def is_listening(self) -> bool:
        return self.machine.network.listeners.get(self.rpc_port) is self

    def end(self, how: str) -> None:
        if self.how is not None:
            return
        self.how, self.fault_at_s = how, trio.current_time()
        self.well_until_s = min(self.well_until_s, self.fault_at_s)
        listeners = self.machine.network.listeners
        for port in [port for port, service in listeners.items() if service is self]:
            del listeners[port]
        self.machine.busy.discard(self.pid)
        self.machine.network.cut(lambda one: one.service is self, by_client=False)
        self.ended.set()
        self._witness.broke(self)

    crash = end

    def hang(self, *, in_a_loop: bool) -> None:
        self.is_hung, self.fault_at_s = True, trio.current_time()
        self.well_until_s = min(self.well_until_s, self.fault_at_s)
        if in_a_loop:
            self.machine.busy.add(self.pid)
        self._witness.broke(self)

    # --- its sockets

    def received(self, connection: Connection, data: bytes) -> None:
        if connection.peer_port == self.rpc_port:
            self._receive_calls(connection, data)
        elif self._subscribers.setdefault(connection, SubscriptionReader()) is not None:
            reader = self._subscribers[connection]
            if reader is not None and reader.receive(data) is not None:
                self._subscribers[connection] = None
                self._send_snapshots(connection)

    def closed(self, connection: Connection) -> None:
        self._readers.pop(connection, None)
        self._subscribers.pop(connection, None)

    def _receive_calls(self, connection: Connection, data: bytes) -> None:
        reader = self._readers.get(connection)
        if reader is None:
            reader = self._readers[connection] = RequestReader()
        requests = reader.receive(data)
        if not requests or self.is_hung:
            return
        due_s = max(trio.current_time(), self._works_until_s) + self.answer_s
        connection.deliver(b"".join(self._served(connection, request) for request in requests), due_s)

    def _served(self, connection: Connection, request: Any) -> bytes:
        if request.name in _WRITES:
            self._witness.commanded(self, connection.party, request.name)
        return self._respond(request)

    def _respond(self, request: Any) -> bytes:
        arguments = CALLS[request.name].decode_arguments(request.arguments)
        if request.name == "load_new_episode" and arguments[0] not in MAPS:
            return refuse(request.msgid, f"Map '{arguments[0]}' not found", void=True)
        value = getattr(self, f"_{request.name}", _nothing)(*arguments)
        return (answer_bare if request.name in BARE else answer)(request.msgid, value)

    # --- its clock: an asynchronous world's frames are counted when somebody looks

    @property
    def frame(self) -> int:
        now_s = trio.current_time()
        if not self.world.settings.synchronous_mode:
            self._frame += int((now_s - self._frame_at_s) / TICK_S)
        self._frame_at_s = now_s - (now_s - self._frame_at_s) % TICK_S
        return self._frame

    def _send_snapshots(self, connection: Connection) -> None:
        """The present frame and, of a world that goes on by itself, some more."""
        now_s, frame = trio.current_time(), self.frame
        if self.is_hung or now_s < self._works_until_s:
            return
        if self.world.settings.synchronous_mode:
            return
        for ahead in range(3):
            connection.deliver(self._snapshot(frame + ahead), now_s + ahead * TICK_S)

    def _snapshot(self, frame: int) -> bytes:
        payload = header(SensorType.WORLD_OBSERVER, frame, frame * TICK_S, None)
        payload += episode_header(self.world.episode_id, 0.0, TICK_S, 0)
        for actor in self.world.actors:
            record = _record.pack(actor, ActorState.ACTIVE, float(actor), 0, 0, 0, 0, 0, bytes(54))
            assert len(record) == RECORD_BYTES
            payload += record
        return frame_prefix(len(payload)) + payload

    # --- its calls

    def _version(self) -> str:
        return CARLA_VERSION

    def _get_available_maps(self) -> list[str]:
        return [f"Carla/Maps/{map}" for map in MAPS]

    def _token(self) -> t.TokenBox:
        return t.TokenBox(Token(WORLD_STREAM, self.rpc_port + 1).encode())

    def _get_episode_info(self) -> t.EpisodeInfo:
        return t.EpisodeInfo(self.world.episode_id, self._token())

    def _get_sensor_token(self, _stream: int) -> t.TokenBox:
        return self._token()

    def _get_episode_settings(self) -> t.EpisodeSettings:
        return self.world.settings

    def _set_episode_settings(self, settings: t.EpisodeSettings) -> int:
        frame = self.frame
        self.world.settings = settings
        for connection, reader in self._subscribers.items():
            if reader is None:
                self._send_snapshots(connection)
        return frame

    def _tick_cue(self) -> int:
        self._frame = self.frame + 1
        for connection, reader in self._subscribers.items():
            if reader is None:
                connection.deliver(self._snapshot(self._frame))
        return self._frame

    def _get_map_info(self) -> t.MapInfo:
        return t.MapInfo(f"Carla/Maps/{self.world.map}", [])

    def _load_new_episode(self, name: str, _reset: bool, _layers: int) -> None:
        self.world = World(self.world.episode_id + 1, name)
        self._works_until_s = trio.current_time() + self._load_s

    def _get_weather_parameters(self) -> t.WeatherParameters:
        return self.world.weather

    def _set_weather_parameters(self, weather: t.WeatherParameters) -> None:
        self.world.weather = weather

    def _get_imui_gravity(self) -> float:
        return 9.81

    def _is_traffic_manager_running(self, _port: int) -> bool:
        return False

    def _get_actors_by_id(self, ids: list[int]) -> list[t.Actor]:
        return [_actor(actor, self.world.actors[actor]) for actor in ids if actor in self.world.actors]

    def _spawn_actor(self, description: t.ActorDescription, _transform: t.Transform) -> t.Actor:
        self._next_actor += 1
        self.world.actors[self._next_actor] = description.id
        return _actor(self._next_actor, description.id)

    def _apply_batch(self, commands: list[msgspec.Raw], _tick: bool) -> list[object]:
        for command in map(decode_command, commands):
            if isinstance(command, DestroyActor):
                self.world.actors.pop(command.actor, None)
            else:
                assert isinstance(command, ApplyTransform), command
        return [(1, 0)] * len(commands)


def _nothing(*_arguments: object) -> None:
    """All else is taken and has no effect."""


def _actor(number: int, blueprint: str) -> t.Actor:
    box = t.BoundingBox(t.Location(), t.Vector3D(), t.Rotation())
    return t.Actor(number, 0, t.ActorDescription(1, blueprint, []), box, b"", b"")


def vehicle() -> tuple[t.ActorDescription, t.Transform]:
    """The arguments of a spawn."""
    return t.ActorDescription(1, _VEHICLE, []), t.Transform(t.Location(), t.Rotation())

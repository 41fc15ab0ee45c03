"""What carlad and its users rely on, asked of a server one call after the other, as the client would.

The world is left as it was: asynchronous, and without what was spawned.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import trio

from carlad.checkup.transcript import Recorder, call_deviations
from carlad.errors import ServerError
from carlad.fleet.ports import Ports
from carlad.rpc import RpcClient, connect
from carlad.wire import types as t
from carlad.wire.calls import BARE, CALLS
from carlad.wire.commands import ApplyVehicleControl, DestroyActor, encode_command
from carlad.wire.errors import CallError, WireError
from carlad.wire.msgpackrpc import result_of
from carlad.wire.sensors import read_header, read_world_snapshot
from carlad.wire.streaming import WORLD_STREAM, MessageReader, Token, subscription

_TICKS = 3
_IMAGE = {"image_size_x": "64", "image_size_y": "48"}
_BUILDINGS = 3  # a label of objects, carla::rpc::CityObjectLabel
_RECEIVE_BYTES = 64 << 10
_CAMERA_AT = t.Transform(t.Location(0.0, 0.0, 2.4), t.Rotation())
_READ_ONLY: tuple[tuple[Any, ...], ...] = (
    ("version",),
    ("get_available_maps",),
    ("get_episode_info",),
    ("get_episode_settings",),
    ("get_sensor_token", WORLD_STREAM),
    ("get_map_info",),
    ("get_map_data",),
    ("get_required_files", ""),
    ("get_navigation_mesh",),
    ("get_actor_definitions",),
    ("get_spectator",),
    ("get_weather_parameters",),
    ("get_imui_gravity",),
    ("get_vehicle_light_states",),
    ("get_names_of_all_objects",),
    ("get_environment_objects", _BUILDINGS),
    ("get_all_level_BBs", _BUILDINGS),
    ("query_lights_state", "doctor"),
    ("is_traffic_manager_running", 8000),
    ("project_point", t.Location(0.0, 0.0, 50.0), t.Vector3D(0.0, 0.0, -1.0), 100.0),
    ("cast_ray", t.Location(0.0, 0.0, 50.0), t.Location(0.0, 0.0, -50.0)),
)


class Interview:
    """`differences` says what the server did not do as carlad.wire and CARLA's documentation say."""

    def __init__(self, rpc: RpcClient, ports: Ports, recorder: Recorder) -> None:
        self.differences: list[str] = []
        self._rpc = rpc
        self._ports = ports
        self._recorder = recorder

    async def ask(self, name: str, *arguments: object) -> Any:
        """The result, or None where there is none that could be used. Raises ServerError."""
        asked_at_s = trio.current_time()
        (response,) = await self._rpc.responses((name, *arguments))
        self._recorder.answered(name, arguments, response, trio.current_time() - asked_at_s)
        self.differences += [f"{name}: {deviation}" for deviation in call_deviations(name, response)]
        with suppress(CallError, WireError):
            return result_of(response, CALLS[name].result, name in BARE)
        return None

    async def ask_all(self) -> None:
        """Raises ServerError where the server is gone."""
        for question in _READ_ONLY:
            await self.ask(*question)
        settings = await self.ask("get_episode_settings")
        still = msgspec.structs.replace(settings, synchronous_mode=True, fixed_delta_seconds=(True, 0.05))
        await self.ask("set_episode_settings", still)
        try:
            self._expect("synchronous settings read back", await self.ask("get_episode_settings"), still)
            async with Stream(self._ports, WORLD_STREAM, self._ports.streaming) as world:
                await self.ask("get_sensor_token", WORLD_STREAM)
                await self._tick(world)
                await self._drive(world)
        finally:
            await self.ask("set_episode_settings", settings)

    async def _tick(self, world: Stream) -> None:
        first = await self.ask("tick_cue")
        for number in range(1, _TICKS):
            self._expect("the frame after a tick", await self.ask("tick_cue"), first + number)
        while (head := read_header(payload := await world.message())).frame < first:
            pass
        self._recorder.saw("world observer", payload)
        self._expect("the frame that the observer was sent first", head.frame, first)

    async def _drive(self, world: Stream) -> None:
        """A vehicle with a camera: spawned, controlled, looked through, destroyed."""
        car = await self._spawn("vehicle.", await self._spawn_point())
        if car is None:
            return
        camera = await self._spawn("sensor.camera.rgb", _CAMERA_AT, parent=car.id, **_IMAGE)
        await self.ask("get_actors_by_id", [car.id])
        for name in ("get_physics_control", "get_vehicle_light_state", "get_telemetry_data"):
            await self.ask(name, car.id)
        await self.ask("apply_control_to_vehicle", car.id, t.VehicleControl(throttle=0.5))
        command = ApplyVehicleControl(car.id, t.VehicleControl(brake=1.0))
        await self.ask("apply_batch", [encode_command(command)], False)
        if camera is not None:
            await self._look_through(camera)
        ids = read_world_snapshot(await self._newest(world)).poses
        self._expect("the new vehicle in the observer's snapshot", car.id in ids, True)
        gone = [encode_command(DestroyActor(actor.id)) for actor in (camera, car) if actor is not None]
        await self.ask("apply_batch", gone, False)
        for _ in range(_TICKS):
            ids = read_world_snapshot(await self._newest(world)).poses
        self._expect("the vehicle in the snapshot after it was destroyed", car.id in ids, False)

    async def _spawn_point(self) -> t.Transform:
        info = await self.ask("get_map_info")
        place: t.Transform = info.spawn_points[0]
        above = msgspec.structs.replace(place.location, z=place.location.z + 0.5)
        return t.Transform(above, place.rotation)

    async def _spawn(self, kind: str, at: t.Transform, parent: int = 0, **attributes: str) -> t.Actor | None:
        definitions = await self.ask("get_actor_definitions") or []
        definition = next((one for one in definitions if one.id.startswith(kind)), None)
        if definition is None:
            self.differences.append(f"get_actor_definitions: none begins with {kind}")
            return None
        values = [
            t.ActorAttributeValue(one.id, one.type, attributes.get(one.id, one.value))
            for one in definition.attributes
        ]
        wanted = t.ActorDescription(definition.uid, definition.id, values)
        name = "spawn_actor_with_parent" if parent else "spawn_actor"
        actor: t.Actor | None = await self.ask(name, wanted, at, *((parent, 0, "") if parent else ()))
        return actor

    async def _look_through(self, camera: t.Actor) -> None:
        token = Token.decode(camera.stream_token)
        async with Stream(self._ports, token.stream_id, token.port) as images:
            await self.ask("get_sensor_token", token.stream_id)
            await self.ask("tick_cue")
            with trio.move_on_after(5.0):
                payload = await images.message()
                self._recorder.saw(camera.description.id, payload)
                expected = 64 * 48 * 4
                self._expect("bytes after an image's headers", len(payload) - 48 - 12, expected)
                return
        self.differences.append("the camera sent no image within 5 s of a tick")

    async def _newest(self, world: Stream) -> bytes:
        """The observer's message of the tick that is done now."""
        frame = await self.ask("tick_cue")
        while read_header(payload := await world.message()).frame < frame:
            pass
        return payload

    def _expect(self, what: str, is_: object, should_be: object) -> None:
        if is_ != should_be:
            self.differences.append(f"{what}: {is_}, not {should_be}")


class Stream:
    """One stream's messages; to be read, or left soon: a server may wait for its readers."""

    def __init__(self, ports: Ports, stream_id: int, port: int) -> None:
        self._where = (ports.host, port)
        self._id = stream_id
        self._reader = MessageReader()
        self._messages: list[bytes] = []

    async def __aenter__(self) -> Stream:
        try:
            self._socket = await trio.open_tcp_stream(*self._where)
            await self._socket.send_all(subscription(self._id))
        except (OSError, trio.BrokenResourceError) as error:
            raise ServerError(f"cannot subscribe at port {self._where[1]}: {error}") from error
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await trio.aclose_forcefully(self._socket)

    async def message(self) -> bytes:
        while not self._messages:
            try:
                data = await self._socket.receive_some(_RECEIVE_BYTES)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise ServerError(f"stream {self._id} was closed by the server")
            self._messages += self._reader.receive(data)
        return self._messages.pop(0)


async def interview(ports: Ports, recorder: Recorder) -> list[str]:
    """Asks everything; what was not as it should be. Raises ServerError where the server is gone."""
    async with connect(ports.host, ports.rpc) as rpc:
        one = Interview(rpc, ports, recorder)
        await one.ask_all()
        return one.differences

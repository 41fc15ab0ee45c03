"""Recordings: what happened in an episode, tick by tick, in a file that can be asked about and replayed.

A file is a series of msgpack objects: a `Head`, then a `Tick` for each frame. A file that ends in the middle
of a tick, because its server was killed, is good up to there.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgpack
import msgspec

from carlad.standin.actors import Actor
from carlad.standin.traffic_lights import TrafficLight
from carlad.standin.traffic_signs import TrafficSign
from carlad.standin.vehicles import Vehicle
from carlad.standin.walkers import Walker
from carlad.wire import types as t

if TYPE_CHECKING:
    from carlad.standin.world import World

MAGIC = "CARLAD_RECORDER"
VERSION = 1
_BYTES_MAX = 1 << 30  # of one tick
OTHER, VEHICLE, WALKER, TRAFFIC_LIGHT = range(4)  # kinds, numbered as CARLA's recorder does


class NotARecordingError(Exception):
    """There is no such file, or it is none of ours; the text is CARLA's."""


class Head(t.Wire):
    magic: str
    version: int
    map: str
    unix_time_s: float


class Created(t.Wire):
    actor_id: int
    kind: int
    description: t.ActorDescription
    pose: t.Transform
    parent_id: int
    is_hero: bool


class Touch(t.Wire):
    first: int
    second: int


class Place(t.Wire):
    """Metres and degrees; `velocity` in m/s, world frame."""

    actor_id: int
    pose: t.Transform
    velocity: t.Vector3D


class LightState(t.Wire):
    actor_id: int
    state: int
    is_frozen: bool
    elapsed_s: float


class Drive(t.Wire):
    actor_id: int
    control: t.VehicleControl
    lights: int


class Walk(t.Wire):
    actor_id: int
    speed: float


class Tick(t.Wire):
    """`elapsed_s` is counted from the recording's start."""

    number: int
    duration_s: float
    elapsed_s: float
    created: list[Created]
    destroyed: list[int]
    touches: list[Touch]
    places: list[Place]
    lights: list[LightState]
    drives: list[Drive]
    walks: list[Walk]


def default_directory() -> Path:
    """Where recordings without a directory of their own go: one for each user, kept between runs."""
    return Path(tempfile.gettempdir()) / f"carlad-recordings-{os.getuid()}"


def path_of(name: str, directory: Path) -> Path:
    """As CARLA does it: a name with a directory in it is used as it is."""
    return Path(name) if "/" in name else directory / name


class Recorder:
    """Writes one file at a time."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._known: dict[int, Actor] = {}
        self._number = 0
        self._elapsed_s = 0.0

    def start(self, path: Path, map_name: str) -> None:
        """Begin a file, in place of an old recording. Raises OSError, FileExistsError for another's file."""
        self.stop()
        if path.exists() and not _is_ours(path):
            raise FileExistsError(f"{path} is there and is not a recording")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._known, self._number, self._elapsed_s = {}, 0, 0.0
        self._file.write(msgspec.msgpack.encode(Head(MAGIC, VERSION, map_name, time.time())))

    def stop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def record(self, world: World, delta_s: float) -> None:
        """Write the world as it is after a tick; nothing where no file was begun."""
        if self._file is None:
            return
        now = dict(world.actors)
        created = [_created(actor) for id, actor in now.items() if id not in self._known]
        destroyed = [id for id in self._known if id not in now]
        self._known = now
        self._number += 1
        self._elapsed_s += delta_s
        tick = Tick(
            number=self._number,
            duration_s=delta_s,
            elapsed_s=self._elapsed_s,
            created=created,
            destroyed=destroyed,
            touches=[Touch(*pair) for pair in _touching(world)],
            places=[Place(a.id, a.pose, a.velocity) for a in now.values() if not isinstance(a, TrafficSign)],
            lights=_lights(world),
            drives=[Drive(v.id, v.control, v.lights) for v in world.vehicles.all],
            walks=[Walk(w.id, w.control.speed) for w in world.walkers],
        )
        self._file.write(msgspec.msgpack.encode(tick))
        self._file.flush()


def read(path: Path) -> tuple[Head, Generator[Tick, None, None]]:
    """What a file begins with, and its ticks as far as they are whole. Raises NotARecordingError."""
    try:
        file = path.open("rb")
    except (OSError, ValueError):  # ValueError: a name with a NUL in it
        raise NotARecordingError(f"File {path} not found on server\n") from None
    values = _values(file)
    try:
        head = msgspec.convert(next(values), Head)
    except (StopIteration, msgspec.ValidationError):
        head = Head("", 0, "", 0.0)
    if head.magic != MAGIC or head.version != VERSION:
        values.close()
        raise NotARecordingError("File is not a CARLA recorder\n")
    return head, _ticks(values)


def _values(file: BinaryIO) -> Generator[object, None, None]:
    with file:
        try:
            yield from msgpack.Unpacker(file, max_buffer_size=_BYTES_MAX)
        except (ValueError, msgpack.UnpackException):
            return


def _ticks(values: Generator[object, None, None]) -> Generator[Tick, None, None]:
    try:
        for value in values:
            yield msgspec.convert(value, Tick)
    except msgspec.ValidationError:
        return
    finally:
        values.close()


def _is_ours(path: Path) -> bool:
    try:
        _head, ticks = read(path)
    except NotARecordingError:
        return False
    ticks.close()
    return True


def _created(actor: Actor) -> Created:
    return Created(
        actor_id=actor.id,
        kind=_kind(actor),
        description=actor.description,
        pose=actor.parent_from_actor or actor.pose,
        parent_id=actor.parent.id if actor.parent is not None else 0,
        is_hero=actor.values.get("role_name") == "hero",
    )


def _kind(actor: Actor) -> int:
    for kind, cls in ((VEHICLE, Vehicle), (WALKER, Walker), (TRAFFIC_LIGHT, TrafficLight)):
        if isinstance(actor, cls):
            return kind
    return OTHER


def _touching(world: World) -> list[tuple[int, int]]:
    """Each pair once."""
    pairs = {(min(c.actor.id, c.other.id), max(c.actor.id, c.other.id)) for c in world.collisions}
    return sorted(pairs)


def _lights(world: World) -> list[LightState]:
    records = world.lights.records.records[: world.lights.records.count]
    return [
        LightState(*row)
        for row in zip(
            records["id"].tolist(),
            records["light_state"].tolist(),
            records["is_frozen"].tolist(),
            records["elapsed_time"].tolist(),
            strict=True,
        )
    ]

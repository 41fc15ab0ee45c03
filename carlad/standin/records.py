"""The world observer's actor records, kept ready to be sent.

Records live in dense segments, one for each kind of actor, so that a tick writes whole columns of numbers
and sends the memory as it is. Layouts: `carlad.wire.sensors`.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.wire.sensors import (
    ACTOR_FIELDS,
    RECORD_BYTES,
    TRAFFIC_LIGHT_FIELDS,
    TRAFFIC_SIGN_FIELDS,
    VEHICLE_FIELDS,
    ActorState,
)

# Location, rotation, velocity, angular velocity and acceleration side by side, to be written at once.
KINEMATICS = ("kinematics", "<15f4", 5)
KINEMATICS_COLUMNS = 15

# What `publish` in motion/contacts.py reads of lights and writes of vehicles.
LIGHT_COLUMNS = ("id", "light_state")
VEHICLE_COLUMNS = ("kinematics", "gear", "has_traffic_light", "traffic_light_id", "traffic_light_state")

Field = tuple[str, str, int]

_kinematics = struct.Struct("<15f")
_KINEMATICS_AT = 5
_ROWS_MIN = 32


class Segment:
    """The records of one kind of actor, without gaps. An actor's `row` changes when others are removed.

    `records` is a structured view of the memory, with `count` rows in use; it is a new array after growth.
    """

    def __init__(self, fields: tuple[Field, ...] = ()) -> None:
        names, formats, offsets = zip(*ACTOR_FIELDS, KINEMATICS, *fields, strict=True)
        self._dtype = np.dtype(
            {
                "names": list(names),
                "formats": list(formats),
                "offsets": list(offsets),
                "itemsize": RECORD_BYTES,
            }
        )
        self.actors: list[Actor] = []
        self._resize(_ROWS_MIN, b"")

    @property
    def count(self) -> int:
        return len(self.actors)

    @property
    def capacity(self) -> int:
        return len(self.records)

    def add(self, actor: Actor) -> None:
        if self.count == self.capacity:
            self._resize(2 * self.capacity, self._memory)
        actor.row = self.count
        self.actors.append(actor)
        self._view[actor.row * RECORD_BYTES : self.count * RECORD_BYTES] = bytes(RECORD_BYTES)
        self.records["id"][actor.row] = actor.id
        self.records["state"][actor.row] = ActorState.ACTIVE

    def columns(self, *names: str) -> tuple[npt.NDArray[Any], ...]:
        """Views of some fields of all rows; of the old memory after growth."""
        return tuple(self.records[name] for name in names)

    def remove(self, actor: Actor) -> None:
        """Take the record out; the last one fills its place."""
        last = self.actors.pop()
        if last is not actor:
            self.records[actor.row] = self.records[last.row]
            self.actors[actor.row] = last
            last.row = actor.row

    def place(self, actor: Actor) -> None:
        """Write where an actor is and how it moves into its record."""
        place, turn = actor.pose.location, actor.pose.rotation
        velocity, turning, felt = actor.velocity, actor.angular_velocity, actor.acceleration
        _kinematics.pack_into(
            self._memory, actor.row * RECORD_BYTES + _KINEMATICS_AT,
            place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll, velocity.x, velocity.y, velocity.z,
            turning.x, turning.y, turning.z, felt.x, felt.y, felt.z,
        )  # fmt: skip

    def write(self, actor: Actor, layout: struct.Struct, offset: int, *values: object) -> None:
        """Write values into an actor's record, at the offset of the record's layout."""
        layout.pack_into(self._memory, actor.row * RECORD_BYTES + offset, *values)

    def view(self) -> memoryview:
        """The records in use, as they travel."""
        return self._view[: self.count * RECORD_BYTES]

    def _resize(self, rows: int, kept: bytes | bytearray) -> None:
        self._memory = bytearray(kept).ljust(rows * RECORD_BYTES, b"\0")
        self._view = memoryview(self._memory)
        self.records: npt.NDArray[np.void] = np.frombuffer(self._memory, self._dtype)


def vehicle_segment() -> Segment:
    return Segment(VEHICLE_FIELDS)


def light_segment() -> Segment:
    return Segment(TRAFFIC_LIGHT_FIELDS)


def sign_segment() -> Segment:
    return Segment(TRAFFIC_SIGN_FIELDS)

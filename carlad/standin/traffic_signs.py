"""Stop, yield and speed limit signs as actors. They live as long as the town and are never destroyed."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, radians, sin
from typing import cast

from carlad.standin.actors import Actor
from carlad.standin.records import Segment, sign_segment
from carlad.standin.towns import StopLine
from carlad.wire import types as t

# Half the size of the cube before a lane's stop line, by the lane's width (StopSignComponent.cpp).
_CUBE = 0.45


class TrafficSign(Actor):
    """What an OpenDRIVE signal becomes: a sign, or a traffic light.

    Its bounding box, in its own frame, is what a client knows as its trigger volume: it holds a cube on each
    of the lanes that the sign rules.
    """

    def __init__(
        self,
        id: int,
        description: t.ActorDescription,
        signal_id: str,
        pose: t.Transform,
        stop_lines: Iterable[StopLine],
        semantic_tag: int,
    ) -> None:
        super().__init__(id, description, pose, trigger_box(id, pose, stop_lines), semantic_tag)
        self.sign_id = signal_id


class TrafficSigns:
    """All signs of a town but its lights."""

    def __init__(self) -> None:
        self.records: Segment = sign_segment()

    @property
    def all(self) -> list[TrafficSign]:
        """In the order of `Town.signs`."""
        return cast("list[TrafficSign]", self.records.actors)

    def add(self, sign: TrafficSign) -> None:
        self.records.add(sign)
        self.records.place(sign)
        self.records.records[sign.row]["sign_id"] = sign.sign_id.encode()


def trigger_box(actor_id: int, pose: t.Transform, stop_lines: Iterable[StopLine]) -> t.BoundingBox:
    """The box around the cubes before the stop lines, in the frame of the sign that stands at `pose`."""
    cosine, sine = cos(radians(pose.rotation.yaw)), sin(radians(pose.rotation.yaw))
    low, high = [float("inf")] * 3, [float("-inf")] * 3
    for line in stop_lines:
        half = max(0.01, _CUBE * line.width)
        x = line.x - half * cos(radians(line.yaw)) - pose.location.x
        y = line.y - half * sin(radians(line.yaw)) - pose.location.y
        middle = x * cosine + y * sine, y * cosine - x * sine, line.z - pose.location.z
        low = [min(least, place - half) for least, place in zip(low, middle, strict=True)]
        high = [max(most, place + half) for most, place in zip(high, middle, strict=True)]
    if low > high:  # it rules no lane
        low = high = [0.0, 0.0, 0.0]
    center = t.Vector3D(*((a + b) / 2 for a, b in zip(low, high, strict=True)))
    extent = t.Vector3D(*((b - a) / 2 for a, b in zip(low, high, strict=True)))
    return t.BoundingBox(center, extent, t.Rotation(), actor_id)

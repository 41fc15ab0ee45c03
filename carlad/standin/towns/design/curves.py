"""Reference lines made of straights and arcs, in OpenDRIVE's frame.

Metres and radians, x east, y north, headings and curvatures positive to the left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

_TINY_M = 1e-6
_STRAIGHT_RAD = 1e-6

Point = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    x: float
    y: float
    heading: float

    def ahead(self, distance_m: float) -> Pose:
        x, y = self.x + distance_m * math.cos(self.heading), self.y + distance_m * math.sin(self.heading)
        return Pose(x, y, self.heading)

    def right(self, distance_m: float) -> Pose:
        x, y = self.x + distance_m * math.sin(self.heading), self.y - distance_m * math.cos(self.heading)
        return Pose(x, y, self.heading)

    def turned(self, angle: float) -> Pose:
        return replace(self, heading=self.heading + angle)


@dataclass(frozen=True)
class Segment:
    """A straight where `curvature` (1/m) is 0, else an arc."""

    x: float
    y: float
    heading: float
    length: float
    curvature: float = 0.0

    def at(self, s: float) -> Pose:
        """The pose `s` metres after the segment's start."""
        if self.curvature == 0:
            return Pose(self.x, self.y, self.heading).ahead(s)
        angle = self.curvature * s
        chord = Pose(self.x, self.y, self.heading + angle / 2).ahead(2 * math.sin(angle / 2) / self.curvature)
        return replace(chord, heading=self.heading + angle)

    def part(self, start: float, end: float) -> Segment:
        pose = self.at(start)
        return Segment(pose.x, pose.y, pose.heading, end - start, self.curvature)


Course = tuple[Segment, ...]


def length(course: Iterable[Segment]) -> float:
    return sum(segment.length for segment in course)


def pose_at(course: Sequence[Segment], s: float) -> Pose:
    """The pose `s` metres along the course; the last segment goes on beyond its end."""
    for segment in course[:-1]:
        if s <= segment.length:
            return segment.at(s)
        s -= segment.length
    return course[-1].at(s)


def trimmed(course: Sequence[Segment], start: float, end: float) -> Course:
    """The part between two stations. Raises ValueError where nothing is left."""
    parts, s = [], 0.0
    for segment in course:
        first, last = max(start - s, 0.0), min(end - s, segment.length)
        if last - first > _TINY_M:
            parts.append(segment.part(first, last))
        s += segment.length
    if not parts:
        raise ValueError(f"a course of {s:.1f} m has nothing between {start:.1f} m and {end:.1f} m")
    return tuple(parts)


def filleted(points: Sequence[Point], radius_m: float) -> Course:
    """Straights through `points` whose corners are rounded, no tighter than they must be."""
    course: list[Segment] = []
    here, heading = points[0], _bearing(points[0], points[1])
    for corner, onward in zip(points[1:], [*points[2:], None], strict=True):
        reach = math.dist(here, corner)
        if onward is None:
            course += _straight(Pose(*here, heading), reach)
            break
        turn = wrapped(_bearing(corner, onward) - heading)
        share = 1.0 if onward == points[-1] else 0.5  # of the next straight may belong to this corner
        tangent = min(radius_m * math.tan(abs(turn) / 2), reach, share * math.dist(corner, onward))
        course += _straight(Pose(*here, heading), reach - tangent)
        begin = Pose(*corner, heading).ahead(-tangent)
        course += _arc(begin, turn, tangent)
        heading += turn
        end = Pose(*corner, heading).ahead(tangent)
        here = (end.x, end.y)
    return tuple(course)


def joining(begin: Pose, end: Pose) -> Course:
    """From one pose to another: straight, arc, straight where one turn does it, else two arcs."""
    turn = wrapped(end.heading - begin.heading)
    along, aside = _seen_from(begin, end)
    if abs(turn) < _STRAIGHT_RAD and abs(aside) < 1e-4:
        return tuple(_straight(begin, along))
    if abs(turn) > _STRAIGHT_RAD:
        after = aside / math.sin(turn)
        before = along - after * math.cos(turn)
        if before > -_TINY_M and after > -_TINY_M:
            return _one_turn(begin, turn, max(before, 0.0), max(after, 0.0))
    return _two_arcs(begin, end)


def wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


# --- pieces ----------------------------------------------------------------------------------------


def _one_turn(begin: Pose, turn: float, before: float, after: float) -> Course:
    tangent = min(before, after)
    corner = begin.ahead(before)
    parts = _straight(begin, before - tangent)
    parts += _arc(corner.ahead(-tangent), turn, tangent)
    parts += _straight(corner.turned(turn).ahead(tangent), after - tangent)
    return tuple(parts)


def _two_arcs(begin: Pose, end: Pose) -> Course:
    """The biarc whose two tangents to the middle are equally long."""
    vx, vy = end.x - begin.x, end.y - begin.y
    tx = math.cos(begin.heading) + math.cos(end.heading)
    ty = math.sin(begin.heading) + math.sin(end.heading)
    # d solves |v|^2 - 2 d v.t + 2 d^2 (t1.t2 - 1) = 0.
    a = 2 * (math.cos(end.heading - begin.heading) - 1)
    b, c = -2 * (vx * tx + vy * ty), vx * vx + vy * vy
    d = -c / b if abs(a) < 1e-9 else (-b - math.sqrt(b * b - 4 * a * c)) / (2 * a)
    first, last = begin.ahead(d), end.ahead(-d)
    heading = _bearing((first.x, first.y), (last.x, last.y))
    halfway = Pose(first.x, first.y, heading).ahead(d)
    parts = _arc(begin, wrapped(heading - begin.heading), d)
    parts += _arc(halfway, wrapped(end.heading - heading), d)
    return tuple(parts)


def _straight(pose: Pose, reach: float) -> list[Segment]:
    return [Segment(pose.x, pose.y, pose.heading, reach)] if reach > _TINY_M else []


def _arc(pose: Pose, turn: float, tangent: float) -> list[Segment]:
    """An arc that turns by `turn` between tangents of length `tangent`."""
    if abs(turn) < _STRAIGHT_RAD:
        return _straight(pose, 2 * tangent)
    radius = tangent / math.tan(abs(turn) / 2)
    return [Segment(pose.x, pose.y, pose.heading, radius * abs(turn), math.copysign(1 / radius, turn))]


def _seen_from(origin: Pose, target: Pose) -> Point:
    dx, dy = target.x - origin.x, target.y - origin.y
    c, s = math.cos(origin.heading), math.sin(origin.heading)
    return dx * c + dy * s, dy * c - dx * s


def _bearing(start: Point, end: Point) -> float:
    return math.atan2(end[1] - start[1], end[0] - start[0])

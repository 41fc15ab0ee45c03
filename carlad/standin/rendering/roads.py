"""Road surfaces, pavements and markings as triangles."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import carla
import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.lanes import Lane
from carlad.standin.rendering.mesh import Color, Mesh, join, quads, strip, uniform, up
from carlad.standin.towns import Town
from carlad.wire.types import CityObjectLabel as Tag

Points = npt.NDArray[np.float64]  # (n, 3), metres

_ASPHALT: Color = (74, 76, 80)
_PAVEMENT: Color = (158, 154, 148)
_KERB: Color = (128, 125, 120)
_VERGE: Color = (110, 112, 104)
_CONCRETE: Color = (136, 132, 126)
_GRASS: Color = (104, 128, 78)
_PAINT: dict[str, Color] = {"Yellow": (214, 174, 62), "Blue": (70, 110, 190), "Red": (180, 70, 60)}
_WHITE: Color = (222, 222, 216)

_SMOOTH_M = 0.004
_KERB_HEIGHT_M = 0.10
_PAINT_HEIGHT_M = 0.012  # above the asphalt, so that rays meet the paint first
_JUNCTION_DEPTH_M = 0.02  # the filling of a junction lies this far under its lanes
_GROUND_DEPTH_M = 0.12  # of the country around, under the lowest road
_WALL_MIN_M = 0.3
_BRIDGE_M = 4.0  # from this height on a road is a bridge
_DECK_M = 0.9
_GROUND_MARGIN_M = 1500.0  # far enough that its edge is at the horizon
_LINE_WIDTH_M = 0.15
_DOUBLE_GAP_M = 0.12
_DASH_M, _DASH_PERIOD_M = 3, 6
_STOP_LINE_LENGTH_M = 0.4
_ZEBRA_PERIOD_M = 1.0
_ZEBRA_HEIGHT_M = 0.018  # over the lanes' paint
_SAME_POINT_M = 1e-3

_DASHED = frozenset({"Broken", "BrokenBroken"})
_DOUBLE = frozenset({"SolidSolid", "SolidBroken", "BrokenSolid", "BrokenBroken"})
_SINGLE = frozenset({"Solid", "Broken"})


def surfaces(lanes: Sequence[Lane]) -> Iterator[Mesh]:
    """Asphalt, verges, pavements with their kerbs, the insides of junctions and the country around."""
    for lane in lanes:
        if lane.is_sidewalk:
            yield join(_pavement(lane))
        elif lane.kind in (
            "driving",
            "bidirectional",
            "parking",
            "stop",
            "entry",
            "exit",
            "onRamp",
            "offRamp",
        ):
            yield _band(lane.left, lane.right, Tag.ROADS, _ASPHALT)
        else:
            yield _band(lane.left, lane.right, Tag.GROUND, _VERGE)
    yield from _junction_floors(lanes)
    yield from _walls(lanes)
    yield _country(lanes)


def markings(lanes: Sequence[Lane]) -> Iterator[Mesh]:
    """The painted borders of all lanes outside junctions."""
    for lane in lanes:
        if lane.junction is not None or lane.is_sidewalk:
            continue
        yield join(_border(lane, lane.right, "right_lane_marking"))
        if lane.lane_id == -1:
            yield join(_border(lane, lane.left, "left_lane_marking"))


def stop_lines(town: Town) -> Iterator[Mesh]:
    """A white bar across each lane that a traffic light or a stop sign rules."""
    lines = [line for light in town.lights for line in light.stop_lines]
    lines += [line for sign in town.signs if sign.type_id == "traffic.stop" for line in sign.stop_lines]
    for line in lines:
        yaw = np.radians(line.yaw)
        ahead = np.array((np.cos(yaw), np.sin(yaw), 0.0)) * _STOP_LINE_LENGTH_M
        aside = np.array((-np.sin(yaw), np.cos(yaw), 0.0)) * (line.width / 2 - _LINE_WIDTH_M)
        start = np.array((line.x, line.y, line.z + _PAINT_HEIGHT_M))
        corners = (start - aside, start - aside + ahead, start + aside + ahead, start + aside)
        yield quads([corners], Tag.ROAD_LINES, _WHITE)


def crosswalks(town_map: carla.Map) -> Iterator[Mesh]:
    """Zebra stripes: each crosswalk is four corners and the first again, the first two across the road."""
    for corners in _crosswalk_corners(town_map):
        across, along = corners[1] - corners[0], corners[3] - corners[0]
        count = max(1, int(np.linalg.norm(across) / _ZEBRA_PERIOD_M))
        starts = corners[0] + across * (np.arange(count)[:, None] + 0.25) / count + up(_ZEBRA_HEIGHT_M)
        width = across * 0.5 / count
        yield quads(
            np.stack((starts, starts + width, starts + width + along, starts + along), axis=1),
            Tag.ROAD_LINES,
            _WHITE,
        )


def _crosswalk_corners(town_map: carla.Map) -> Iterator[Points]:
    """(4, 3) of each crosswalk with four corners, turned so that its stripes face up."""
    outline: list[tuple[float, float, float]] = []
    for place in town_map.get_crosswalks():
        point = (place.x, place.y, place.z)
        if not outline or math.dist(point, outline[0]) > _SAME_POINT_M:
            outline.append(point)
            continue
        corners = np.array(outline)
        outline = []
        if len(corners) == 4:
            yield corners if not _turns_right(corners[0], corners[1], corners[3]) else corners[[1, 0, 3, 2]]


# --- surfaces --------------------------------------------------------------------------------------


def _pavement(lane: Lane) -> Iterator[Mesh]:
    kerb = up(_KERB_HEIGHT_M)
    yield _band(lane.left + kerb, lane.right + kerb, Tag.SIDEWALKS, _PAVEMENT)
    yield _band(lane.left, lane.left + kerb, Tag.SIDEWALKS, _KERB)
    yield _band(lane.right + kerb, lane.right - kerb, Tag.SIDEWALKS, _KERB)


def _band(left: Points, right: Points, tag: Tag, color: Color) -> Mesh:
    """A strip without the points that a straight does not need."""
    kept = _bends(left) | _bends(right)
    return strip(left[kept], right[kept], tag, color)


def _bends(line: Points) -> npt.NDArray[np.bool_]:
    """bool (n,): the points of a polyline that stay when all are within `_SMOOTH_M` (Douglas and Peucker)."""
    kept = np.zeros(len(line), dtype=np.bool_)
    kept[[0, -1]] = True
    pieces = [(0, len(line) - 1)]
    while pieces:
        first, last = pieces.pop()
        if last - first < 2:
            continue
        inner, chord = line[first + 1 : last] - line[first], line[last] - line[first]
        along = inner @ chord
        away = np.einsum("ij,ij->i", inner, inner) - along * along / max(float(chord @ chord), 1e-9)
        farthest = int(away.argmax())  # squared distances from the chord
        if away[farthest] > _SMOOTH_M**2:
            middle = first + 1 + farthest
            kept[middle] = True
            pieces += [(first, middle), (middle, last)]
    return kept


def _junction_floors(lanes: Sequence[Lane]) -> Iterator[Mesh]:
    """Between a junction's lanes there are gaps: the hull of its driving lanes lies under them."""
    borders: dict[str, list[Points]] = defaultdict(list)
    for lane in lanes:
        if lane.junction is not None and lane.kind == "driving":
            borders[lane.junction] += [lane.left, lane.right]
    for points in borders.values():
        hull = _convex_hull(np.concatenate(points))
        hull[:, 2] -= _JUNCTION_DEPTH_M
        middle = np.broadcast_to(hull.mean(axis=0), hull.shape)
        yield uniform(np.stack((middle, hull, np.roll(hull, -1, axis=0)), axis=1), Tag.ROADS, _ASPHALT)


def _convex_hull(points: Points) -> Points:
    """Seen from above, from x towards y (Andrew's monotone chain)."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]

    def chain(candidates: Points) -> list[Points]:
        kept: list[Points] = []
        for point in candidates:
            while len(kept) > 1 and _turns_right(kept[-2], kept[-1], point):
                kept.pop()
            kept.append(point)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turns_right(a: Points, b: Points, c: Points) -> bool:
    return bool((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0)


def _walls(lanes: Sequence[Lane]) -> Iterator[Mesh]:
    """What holds raised roads up: walls down to the country, under bridges only the deck's edge."""
    bottom = _lowest(lanes) - _GROUND_DEPTH_M
    for border in _edges(lanes):
        height = border[:, 2] - bottom
        if height.max() > _WALL_MIN_M:
            depth = np.where(height < _BRIDGE_M, height, _DECK_M)
            yield _band(border, border - depth[:, None] * up(1.0), Tag.WALLS, _CONCRETE)


def _edges(lanes: Sequence[Lane]) -> Iterator[Points]:
    """The outer borders of all roads, headed so that the road lies to their left."""
    sides: dict[tuple[int, int, bool], list[Lane]] = defaultdict(list)
    for lane in lanes:
        sides[lane.road_id, lane.waypoints[0].section_id, lane.lane_id > 0].append(lane)
    for (road, section, left), side in sides.items():
        side.sort(key=lambda lane: abs(lane.lane_id))
        yield side[-1].right
        if (road, section, not left) not in sides:
            yield side[0].left[::-1]


def _lowest(lanes: Sequence[Lane]) -> float:
    return float(min(lane.center[:, 2].min() for lane in lanes))


def _country(lanes: Sequence[Lane]) -> Mesh:
    points = np.concatenate([lane.center for lane in lanes])
    west, south = points.min(axis=0)[:2] - _GROUND_MARGIN_M
    bottom = _lowest(lanes) - _GROUND_DEPTH_M
    east, north = points.max(axis=0)[:2] + _GROUND_MARGIN_M
    corners = ((west, south, bottom), (east, south, bottom), (east, north, bottom), (west, north, bottom))
    return quads([corners], Tag.TERRAIN, _GRASS)


# --- paint -----------------------------------------------------------------------------------------


def _border(lane: Lane, line: Points, side: str) -> Iterator[Mesh]:
    """One border of a lane, split where its kind of marking changes."""
    marks = [_look(getattr(waypoint, side)) for waypoint in lane.waypoints]
    starts = [0, *(i for i in range(1, len(marks)) if marks[i] != marks[i - 1]), len(marks)]
    for start, end in pairwise(starts):
        kind, color = marks[start]
        part = slice(start, min(end + 1, len(marks)))
        for offset in _offsets(kind):
            yield from _line(line[part] + lane.aside[part] * offset, lane.aside[part], kind in _DASHED, color)


def _look(marking: carla.LaneMarking | None) -> tuple[str, Color]:
    """Kind and colour. Lanes of user maps may have no marking."""
    if marking is None:
        return "NONE", _WHITE
    return marking.type.name, _PAINT.get(marking.color.name, _WHITE)


def _offsets(kind: str) -> tuple[float, ...]:
    if kind in _DOUBLE:
        return (-_DOUBLE_GAP_M, _DOUBLE_GAP_M)
    return (0.0,) if kind in _SINGLE else ()


def _line(points: Points, aside: Points, dashed: bool, color: Color) -> Iterator[Mesh]:
    raised = points + up(_PAINT_HEIGHT_M)
    left, right = raised - aside * _LINE_WIDTH_M / 2, raised + aside * _LINE_WIDTH_M / 2
    if not dashed:
        yield _band(left, right, Tag.ROAD_LINES, color)
        return
    for first in range(0, len(points) - 1, _DASH_PERIOD_M):
        dash = slice(first, first + _DASH_M + 1)
        yield _band(left[dash], right[dash], Tag.ROAD_LINES, color)

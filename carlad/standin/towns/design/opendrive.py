"""Writes a plan as OpenDRIVE 1.5 text, by scenariogeneration: roads, lanes and junctions.

Signals, signs and crosswalks are added to the text by `carlad.standin.towns.furnish`.
CARLA reads of it: plan views, elevation, lane widths, links and marks, junctions with lane links, speeds
and the header's geo-reference (LibCarla `carla/opendrive/parser/*.cpp`).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from itertools import pairwise, zip_longest

from scenariogeneration import xodr

from carlad.standin.towns.design.curves import Segment, length, wrapped
from carlad.standin.towns.design.network import Street, Strip
from carlad.standin.towns.design.plan import Arm, Connection, Junction, Lane, Plan, Road

_JUNCTION_SPEED_KMH = 30
_TAPER_M = 6.0  # over which a parking lane opens
_TAPER_CLEAR_M = 12.0  # from a street's end to where its parking begins to open
_MARGIN_M = 20.0
_DIGITS = 9  # so that the text does not depend on a machine's last bits
_ROAD_TYPES = {"town": xodr.RoadType.town, "motorway": xodr.RoadType.motorway, "rural": xodr.RoadType.rural}
_LANE_TYPES = {
    kind: getattr(xodr.LaneType, kind) for kind in ("driving", "median", "parking", "shoulder", "sidewalk")
}


def write(plan: Plan) -> str:
    """OpenDRIVE text of `plan`; the same plan gives the same bytes."""
    network = plan.network
    document = xodr.OpenDrive(
        network.name,
        geo_reference=f"+proj=tmerc +lat_0={network.latitude_deg} +lon_0={network.longitude_deg} +k=1 "
        "+x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs",
    )
    for road in plan.roads:
        start, end = plan.junctions[road.link.start], plan.junctions[road.link.end]
        document.add_road(_road(road, start.id, end.id))
    for junction in plan.junctions:
        document.add_junction(_junction(junction))
        for connection in junction.connections:
            document.add_road(_connecting_road(connection, junction))
    root = document.get_element()
    _finish_header(plan, root)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


# --- roads -----------------------------------------------------------------------------------------


def _road(road: Road, start_junction: int, end_junction: int) -> xodr.Road:
    street = road.link.street
    section = xodr.LaneSection(0.0, _centre_lane(street))
    if street.median_m:
        median = xodr.Lane(xodr.LaneType.median, a=street.median_m)
        median.add_roadmark(_paint(xodr.RoadMarkType.solid, "yellow"))
        section.add_left_lane(median)
    for lane in _side(street, street.backward, road.length):
        section.add_left_lane(lane)
    for lane in _side(street, street.forward, road.length):
        section.add_right_lane(lane)
    lanes = _lanes(section)
    if street.median_m:
        lanes.add_laneoffset(xodr.LaneOffset(a=-street.median_m / 2))
    written = xodr.Road(road.id, _plan_view(road.course), lanes, name=f"Road {road.id}")
    written.add_predecessor(xodr.ElementType.junction, start_junction)
    written.add_successor(xodr.ElementType.junction, end_junction)
    written.add_type(_ROAD_TYPES[street.kind], speed=street.speed_kmh, speed_unit="km/h")
    for s, a, c, d in _rises(road.heights):
        written.add_elevation(s, a, 0.0, c, d)
    return written


def _rises(heights: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float, float, float]]:
    """Station and coefficients a, c, d of cubics that are level at each of `heights`; none if all are 0."""
    knots = list(heights)
    if all(z == 0 for _, z in knots):
        return
    for (s, z), (s_next, z_next) in pairwise(knots):
        reach, rise = s_next - s, z_next - z
        yield s, z, 3 * rise / reach**2, -2 * rise / reach**3


def _connecting_road(connection: Connection, junction: Junction) -> xodr.Road:
    reach = length(connection.course)
    section = xodr.LaneSection(0.0, xodr.Lane())
    for lane in connection.lanes:
        section.add_right_lane(_linked(lane, reach))
    road = xodr.Road(connection.id, _plan_view(connection.course), _lanes(section), road_type=junction.id)
    for add, arm in ((road.add_predecessor, connection.incoming), (road.add_successor, connection.outgoing)):
        add(xodr.ElementType.road, arm.road.id, _contact(arm))
    incoming, outgoing = connection.incoming.road.link.street, connection.outgoing.road.link.street
    speed = (
        min(incoming.speed_kmh, outgoing.speed_kmh) if junction.crossing.interchange else _JUNCTION_SPEED_KMH
    )
    road.add_type(_ROAD_TYPES[incoming.kind], speed=speed, speed_unit="km/h")
    if junction.crossing.z:
        road.add_elevation(0.0, junction.crossing.z, 0.0, 0.0, 0.0)
    return road


def _contact(arm: Arm) -> xodr.ContactPoint:
    return xodr.ContactPoint.end if arm.at_end else xodr.ContactPoint.start


def _junction(junction: Junction) -> xodr.Junction:
    written = xodr.Junction(f"Junction {junction.id}", junction.id)
    for connection in junction.connections:
        link = xodr.Connection(connection.incoming.road.id, connection.id, xodr.ContactPoint.start)
        for number, lane in enumerate(connection.lanes, start=1):
            if lane.before:
                link.add_lanelink(lane.before, -number)
        written.add_connection(link)
    return written


def _plan_view(course: Iterable[Segment]) -> xodr.PlanView:
    view = xodr.PlanView()
    s = 0.0
    for segment in course:
        heading = round(wrapped(segment.heading), _DIGITS)
        x, y = round(segment.x, _DIGITS), round(segment.y, _DIGITS)
        view.add_fixed_geometry(_shape(segment), x, y, heading, round(s, _DIGITS))
        s += segment.length
    return view


def _shape(segment: Segment) -> xodr.Line | xodr.Arc:
    reach = round(segment.length, _DIGITS)
    if segment.curvature == 0:
        return xodr.Line(reach)
    return xodr.Arc(round(segment.curvature, _DIGITS), length=reach)


# --- lanes -----------------------------------------------------------------------------------------


def _lanes(section: xodr.LaneSection) -> xodr.Lanes:
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    return lanes


def _side(street: Street, count: int, road_length: float) -> Iterator[xodr.Lane]:
    strips = street.side(count)
    for strip, beyond in zip_longest(strips, strips[1:]):
        lane = _lane(strip, road_length)
        mark = _mark(strip, beyond)
        if mark is not None:
            lane.add_roadmark(mark)
        yield lane


def _lane(strip: Strip, road_length: float) -> xodr.Lane:
    kind = _LANE_TYPES[strip.kind]
    if not strip.tapered:
        return xodr.Lane(kind, a=strip.width_m)
    opens = min(_TAPER_CLEAR_M, road_length / 4)
    taper = min(_TAPER_M, road_length / 8)
    c, d = 3 * strip.width_m / taper**2, -2 * strip.width_m / taper**3
    lane = xodr.Lane(kind, a=0.0)
    lane.add_lane_width(c=c, d=d, soffset=opens)
    lane.add_lane_width(a=strip.width_m, soffset=opens + taper)
    lane.add_lane_width(a=strip.width_m, c=-c, d=-d, soffset=road_length - opens - taper)
    lane.add_lane_width(soffset=road_length - opens)
    return lane


def _linked(lane: Lane, reach: float) -> xodr.Lane:
    start, end = lane.width_m
    written = xodr.Lane(_LANE_TYPES[lane.kind], a=start, b=(end - start) / reach)
    if lane.before:
        written.add_link("predecessor", lane.before)
    if lane.after:
        written.add_link("successor", lane.after)
    return written


def _mark(strip: Strip, beyond: Strip | None) -> xodr.RoadMark | None:
    """The outer border of a strip."""
    if strip.kind != "driving":
        return None
    if beyond is not None and beyond.kind == "driving":
        return _paint(xodr.RoadMarkType.broken, "white", changeable=True)
    return _paint(xodr.RoadMarkType.solid, "white")


def _centre_lane(street: Street) -> xodr.Lane:
    """Wide streets have a double line, narrow ones a broken one; neither may be crossed."""
    lane = xodr.Lane(xodr.LaneType.none)
    kind = xodr.RoadMarkType.broken
    if street.median_m or not street.backward:
        kind = xodr.RoadMarkType.solid
    elif max(street.forward, street.backward) > 1:
        kind = xodr.RoadMarkType.solid_solid
    lane.add_roadmark(_paint(kind, "yellow"))
    return lane


def _paint(kind: xodr.RoadMarkType, color: str, changeable: bool = False) -> xodr.RoadMark:
    change = xodr.LaneChange.both if changeable else xodr.LaneChange.none
    return xodr.RoadMark(kind, width=0.15, color=getattr(xodr.RoadMarkColor, color), laneChange=change)


# --- the header ------------------------------------------------------------------------------------


def _finish_header(plan: Plan, root: ET.Element) -> None:
    """The town's bounds, and a fixed date so that the text depends on the plan only."""
    header = root.find("header")
    assert header is not None
    points = [(segment.x, segment.y) for road in plan.roads for segment in road.course]
    points += [(crossing.x, crossing.y) for crossing in plan.network.crossings]
    xs, ys = zip(*points, strict=True)
    header.set("date", "2026-01-01T00:00:00")
    header.set("vendor", "carlad")
    header.set("west", str(round(min(xs) - _MARGIN_M, 1)))
    header.set("south", str(round(min(ys) - _MARGIN_M, 1)))
    header.set("east", str(round(max(xs) + _MARGIN_M, 1)))
    header.set("north", str(round(max(ys) + _MARGIN_M, 1)))

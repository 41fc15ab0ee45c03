"""Writes a street plan as OpenDRIVE 1.5 text, by scenariogeneration.

CARLA reads: roads with plan views, lane widths, links and marks; junctions with lane links; signals of type
1000001 with lane validities; controllers that group them; the header's geo-reference
(LibCarla `carla/opendrive/parser/*.cpp`).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from scenariogeneration import xodr

from carlad.standin.towns.grid import (
    LANE_WIDTH_M,
    SIDEWALK_WIDTH_M,
    Arm,
    Connection,
    Junction,
    Plan,
    Road,
    Segment,
)

STOP_LINE_M = 1.0  # a light's stop line lies this far before the road's end
_POST_OFFSET_M = 0.8  # from the kerb to the post
_TRAFFIC_LIGHT_TYPE = "1000001"
_JUNCTION_SPEED_KMH = 30


def write(plan: Plan) -> str:
    """OpenDRIVE text of `plan`; the same plan gives the same bytes."""
    spec = plan.spec
    document = xodr.OpenDrive(
        spec.name,
        geo_reference=f"+proj=tmerc +lat_0={spec.latitude_deg} +lon_0={spec.longitude_deg} +k=1 "
        "+x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs",
    )
    junction_ids = {junction.node: junction.id for junction in plan.junctions}
    roads = {road.id: _road(road, junction_ids[road.start], junction_ids[road.end]) for road in plan.roads}
    for junction in plan.junctions:
        document.add_junction(_junction(junction))
        for connection in junction.connections:
            roads[connection.id] = _connecting_road(connection, junction.id)
    controllers = _add_signals(plan, roads)
    for road in roads.values():
        document.add_road(road)
    root = document.get_element()
    _finish_header(plan, root)
    _add_controllers(root, controllers)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


# --- streets ---------------------------------------------------------------------------------------


def _road(road: Road, start_junction: int, end_junction: int) -> xodr.Road:
    section = xodr.LaneSection(0.0, _centre_lane(road))
    for side in (section.add_left_lane, section.add_right_lane):
        for k in range(road.street.lanes):
            side(_driving_lane(_edge_mark() if k == road.street.lanes - 1 else _divider_mark()))
        side(_sidewalk())
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    written = xodr.Road(road.id, _plan_view(road.segments), lanes, name=f"Road {road.id}")
    written.add_predecessor(xodr.ElementType.junction, start_junction)
    written.add_successor(xodr.ElementType.junction, end_junction)
    written.add_type(xodr.RoadType.town, speed=road.street.speed_kmh, speed_unit="km/h")
    return written


def _connecting_road(connection: Connection, junction_id: int) -> xodr.Road:
    section = xodr.LaneSection(0.0, xodr.Lane())
    section.add_right_lane(_linked(_driving_lane(None), connection.from_lane, connection.to_lane))
    if connection.sidewalk:
        before, after = _pavement(connection.from_lane), _pavement(connection.to_lane)
        section.add_right_lane(_linked(_sidewalk(), before, after))
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    road = xodr.Road(connection.id, _plan_view(connection.segments), lanes, road_type=junction_id)
    for add, arm in ((road.add_predecessor, connection.incoming), (road.add_successor, connection.outgoing)):
        contact = xodr.ContactPoint.end if arm.at_end else xodr.ContactPoint.start
        add(xodr.ElementType.road, arm.road.id, contact)
    road.add_type(xodr.RoadType.town, speed=_JUNCTION_SPEED_KMH, speed_unit="km/h")
    return road


def _junction(junction: Junction) -> xodr.Junction:
    written = xodr.Junction(f"Junction {junction.id}", junction.id)
    for connection in junction.connections:
        link = xodr.Connection(connection.incoming.road.id, connection.id, xodr.ContactPoint.start)
        link.add_lanelink(connection.from_lane, -1)
        if connection.sidewalk:
            link.add_lanelink(_pavement(connection.from_lane), -2)
        written.add_connection(link)
    return written


def _pavement(outermost_lane: int) -> int:
    """Id of the sidewalk beside the outermost driving lane."""
    return outermost_lane + (1 if outermost_lane > 0 else -1)


def _plan_view(segments: Iterable[Segment]) -> xodr.PlanView:
    view = xodr.PlanView()
    s = 0.0
    for segment in segments:
        view.add_fixed_geometry(_shape(segment), segment.x, segment.y, segment.heading, s)
        s += segment.length
    return view


def _shape(segment: Segment) -> xodr.Line | xodr.Arc:
    if segment.curvature == 0:
        return xodr.Line(segment.length)
    return xodr.Arc(segment.curvature, length=segment.length)


# --- lanes -----------------------------------------------------------------------------------------


def _driving_lane(mark: xodr.RoadMark | None) -> xodr.Lane:
    lane = xodr.Lane(xodr.LaneType.driving, a=LANE_WIDTH_M)
    if mark is not None:
        lane.add_roadmark(mark)
    return lane


def _sidewalk() -> xodr.Lane:
    return xodr.Lane(xodr.LaneType.sidewalk, a=SIDEWALK_WIDTH_M)


def _centre_lane(road: Road) -> xodr.Lane:
    """Wide streets have a double line, narrow ones a broken one; neither may be crossed."""
    kind = xodr.RoadMarkType.solid_solid if road.street.lanes > 1 else xodr.RoadMarkType.broken
    lane = xodr.Lane(xodr.LaneType.none)
    lane.add_roadmark(
        xodr.RoadMark(kind, width=0.15, color=xodr.RoadMarkColor.yellow, laneChange=xodr.LaneChange.none)
    )
    return lane


def _divider_mark() -> xodr.RoadMark:
    return xodr.RoadMark(
        xodr.RoadMarkType.broken, width=0.15, color=xodr.RoadMarkColor.white, laneChange=xodr.LaneChange.both
    )


def _edge_mark() -> xodr.RoadMark:
    return xodr.RoadMark(
        xodr.RoadMarkType.solid, width=0.15, color=xodr.RoadMarkColor.white, laneChange=xodr.LaneChange.none
    )


def _linked(lane: xodr.Lane, predecessor: int, successor: int) -> xodr.Lane:
    lane.add_link("predecessor", predecessor)
    lane.add_link("successor", successor)
    return lane


# --- traffic lights --------------------------------------------------------------------------------


def _add_signals(plan: Plan, roads: dict[int, xodr.Road]) -> dict[int, list[str]]:
    """Puts a signal at each approach of a signalised junction; junction id to its signals' ids.

    Every approach has a controller of its own, so that no two streams that cross are green together.
    """
    controllers: dict[int, list[str]] = {}
    number = 1
    for junction in plan.junctions:
        if not junction.signalised:
            continue
        for _direction, arm in sorted(junction.arms.items()):
            # Not add_signal(): it renames ids that another document of this process has used.
            roads[arm.road.id].signals.append(_signal(arm, str(number)))
            controllers.setdefault(junction.id, []).append(str(number))
            number += 1
    return controllers


def _signal(arm: Arm, signal_id: str) -> xodr.Signal:
    side = arm.road.street.half_width_m + _POST_OFFSET_M
    first, last = sorted((arm.incoming_lane(0), arm.incoming_lane(arm.lanes - 1)))
    signal = xodr.Signal(
        s=arm.road.length - STOP_LINE_M if arm.at_end else STOP_LINE_M,
        t=-side if arm.at_end else side,
        country="OpenDRIVE",
        Type=_TRAFFIC_LIGHT_TYPE,
        id=signal_id,
        name=f"TrafficLight {signal_id}",
        dynamic=xodr.Dynamic.yes,
        zOffset=0.0,
        orientation=xodr.Orientation.positive if arm.at_end else xodr.Orientation.negative,
        height=0.9,
        width=0.3,
    )
    signal.add_validity(first, last)
    return signal


def _add_controllers(root: ET.Element, controllers: dict[int, list[str]]) -> None:
    """scenariogeneration has no controllers: they are added to its tree."""
    first_junction = next(i for i, element in enumerate(root) if element.tag == "junction")
    junctions = {element.get("id"): element for element in root.iter("junction")}
    for junction_id, signal_ids in controllers.items():
        for sequence, signal_id in enumerate(signal_ids):
            controller = ET.Element("controller", name=f"Controller {signal_id}", id=signal_id, sequence="0")
            ET.SubElement(controller, "control", signalId=signal_id, type="0")
            root.insert(first_junction, controller)
            first_junction += 1
            ET.SubElement(
                junctions[str(junction_id)], "controller", id=signal_id, type="0", sequence=str(sequence)
            )


def _finish_header(plan: Plan, root: ET.Element) -> None:
    """The town's bounds, and a fixed date so that the text depends on the plan only."""
    header = root.find("header")
    assert header is not None
    margin = 20.0
    header.set("date", "2026-01-01T00:00:00")
    header.set("vendor", "carlad")
    header.set("west", str(-margin))
    header.set("south", str(-margin))
    header.set("east", str(sum(plan.spec.columns_m) + margin))
    header.set("north", str(sum(plan.spec.rows_m) + margin))

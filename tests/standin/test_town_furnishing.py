"""What is added to a map that lacks lights, signs and crosswalks."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import combinations

import carla
import pytest

from carlad.standin import towns
from carlad.standin.towns import Town, crosssection
from carlad.standin.towns.control import Rule, control
from carlad.standin.towns.crossroads import Junction, Stream, junctions
from carlad.standin.towns.design import opendrive
from carlad.standin.towns.design.designs import town03, town04
from carlad.standin.towns.design.network import Crossing, Link, Network, Street
from carlad.standin.towns.design.plan import plan
from carlad.standin.towns.speeds import speed_limits_kmh

NAMES = ("Town01", "Town03", "Town04", "Town05", "Town10HD")
WIDE = Street(2, 2, speed_kmh=50)
NARROW = Street(1, 1, speed_kmh=50)
SLOW = Street(1, 1, speed_kmh=30)
ROUND = Street(1, 0, speed_kmh=30)
MOTORWAY = Street(3, 3, speed_kmh=90, median_m=4.0, sidewalk_m=0.0, shoulder_m=2.0)
RAMP = Street(1, 0, speed_kmh=50, sidewalk_m=0.0, shoulder_m=1.5, ramp=True)


def _star(*arms: tuple[float, Street], ring: Street = NARROW) -> str:
    """OpenDRIVE text of one crossing with an arm in each direction (deg), joined by a ring far away."""
    ends = [Crossing(150 * math.cos(math.radians(a)), 150 * math.sin(math.radians(a))) for a, _ in arms]
    links = [Link(0, k, street) for k, (_, street) in enumerate(arms, start=1)]
    for k, (a, _) in enumerate(arms):
        b = arms[(k + 1) % len(arms)][0]
        middle = math.radians(a + ((b - a) % 360) / 2)
        corner = (190 * math.cos(middle), 190 * math.sin(middle))
        links.append(Link(k + 1, (k + 1) % len(arms) + 1, ring, via=(corner,), radius_m=60.0))
    return opendrive.write(plan(Network("star", (Crossing(0, 0), *ends), tuple(links))))


def _rule(text: str) -> tuple[Rule, set[float]]:
    """How the star's crossing is ruled, and the directions (deg) of the arms that it stops."""
    limits = speed_limits_kmh(ET.fromstring(text.encode()))
    found = control(junctions(carla.Map("star", text))[0], limits)
    return found.rule, {round(arm.heading) % 360.0 for arm in found.arms}


# --- who is ruled how ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "rule", "stopped"),
    [
        ([(0, SLOW), (90, SLOW), (180, SLOW), (270, SLOW)], Rule.LIGHTS, {0, 90, 180, 270}),
        ([(10, SLOW), (80, WIDE), (200, SLOW)], Rule.LIGHTS, {10, 80, 200}),
        ([(0, NARROW), (90, NARROW), (180, NARROW)], Rule.LIGHTS, {0, 90, 180}),
        ([(0, NARROW), (90, SLOW), (180, NARROW)], Rule.YIELD, {90}),
        ([(0, WIDE), (180, WIDE), (250, SLOW)], Rule.STOP, {250}),
        (
            [(0, NARROW), (72, SLOW), (144, SLOW), (216, NARROW), (288, SLOW)],
            Rule.LIGHTS,
            {0, 72, 144, 216, 288},
        ),
    ],
    ids=[
        "four arms",
        "a wide side street",
        "equal streets",
        "a slow side street",
        "beside a wide one",
        "five arms",
    ],
)
def test_a_crossing_is_ruled_by_its_streets(
    arms: list[tuple[float, Street]], rule: Rule, stopped: set[float]
) -> None:
    assert _rule(_star(*arms)) == (rule, stopped)


def test_streets_yield_to_a_roundabout() -> None:
    text = opendrive.write(plan(town03()))
    ruled = [control(junction, {}) for junction in junctions(carla.Map("Town03", text))[:4]]
    assert [found.rule for found in ruled] == [Rule.YIELD] * 4
    assert [[round(arm.heading) for arm in found.arms] for found in ruled] == [[0], [90], [180], [270]]


def test_a_motorway_has_no_lights_and_ramps_yield_to_it() -> None:
    text = opendrive.write(plan(town04()))
    found = [control(junction, {}) for junction in junctions(carla.Map("Town04", text))[:4]]
    assert {control.rule for control in found} <= {Rule.NONE, Rule.YIELD}
    assert all(len(arm.lanes_out) == 0 for control in found for arm in control.arms)


def test_streams_cross_where_their_chords_do() -> None:
    north = Stream((1, True), (2, False), (0.0, -10.0), (0.0, 10.0), 0.0)
    east = Stream((3, True), (4, False), (-10.0, 0.0), (10.0, 0.0), 0.0)
    merging = Stream((3, True), (2, False), (-10.0, 0.0), (0.0, 10.0), 90.0)
    assert north.crosses(east)
    assert not north.crosses(merging)


# --- lights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_streams_that_cross_are_green_together(name: str) -> None:
    town = towns.load(name)
    by_id = {junction.id: junction for junction in junctions(town.map)}
    for group in town.light_groups:
        assert group.junction_id is not None
        for phase in group.phases:
            green = _streams_of(town, by_id[group.junction_id], phase)
            assert green
            assert not any(a.crosses(b) and a.incoming != b.incoming for a, b in combinations(green, 2))


def _streams_of(town: Town, junction: Junction, phase: tuple[int, ...]) -> list[Stream]:
    roads = {line.road_id for light in phase for line in town.lights[light].stop_lines}
    return [stream for stream in junction.streams if stream.incoming[0] in roads]


def test_what_a_map_has_is_kept() -> None:
    given = towns.load("Town02").xodr
    assert towns.from_opendrive("as it was", given).xodr == given


@pytest.mark.parametrize(("missing", "kept"), [("205", "1000001"), ("1000001", "205"), ("274", "1000001")])
def test_what_a_map_lacks_is_added(missing: str, kept: str) -> None:
    document = ET.fromstring(towns.load("Town02").xodr.encode())
    if missing == "1000001":
        _drop_controllers(document)
    for signals in document.iterfind("road/signals"):
        for signal in signals.findall(f"signal[@type='{missing}']"):
            signals.remove(signal)
    town = towns.from_opendrive("bare", ET.tostring(document, encoding="unicode"))
    original = towns.load("Town02")
    for kind in (missing, kept):
        places = _places(town, kind)
        # Added signals keep the usual distance from the junction, here another one than the town's own.
        assert len(places) == len(_places(original, kind))
        assert kind == missing or places == _places(original, kind)


def _drop_controllers(document: ET.Element) -> None:
    for parent in (document, *document.iterfind("junction")):
        for controller in parent.findall("controller"):
            parent.remove(controller)


def _places(town: Town, kind: str) -> list[tuple[float, float]]:
    landmarks = town.map.get_all_landmarks_of_type(kind)
    places = [landmark.transform.location for landmark in landmarks]
    return sorted((round(place.x, 2), round(place.y, 2)) for place in places)


# --- signs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_signs_have_the_actors_types_of_carla_and_rule_lanes(name: str) -> None:
    for sign in towns.load(name).signs:
        assert sign.stop_lines
        if sign.speed_kmh is None:
            assert sign.type_id in ("traffic.stop", "traffic.yield")
        else:
            assert sign.type_id == f"traffic.speed_limit.{sign.speed_kmh:.0f}"


@pytest.mark.parametrize("name", NAMES)
def test_a_speed_sign_states_its_road_s_limit(name: str) -> None:
    town = towns.load(name)
    limits = [sign for sign in town.signs if sign.speed_kmh is not None]
    assert limits
    for sign in limits:
        assert sign.speed_kmh == town.speed_limits_kmh[sign.stop_lines[0].road_id]


# --- crosswalks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_crosswalks_lead_from_pavement_to_pavement(name: str) -> None:
    town = towns.load(name)
    corners = town.map.get_crosswalks()
    assert len(corners) >= 40
    for k in range(0, len(corners), 5):
        a, b, c, d, again = corners[k : k + 5]
        assert again.distance(a) < 1e-3
        assert a.distance(d) == pytest.approx(3.0, abs=0.01)
        for near, far in ((a, d), (b, c)):
            end = carla.Location((near.x + far.x) / 2, (near.y + far.y) / 2, near.z)
            lane = town.map.get_waypoint(end, False, carla.LaneType.Any)
            assert lane is not None
            assert lane.lane_type == carla.LaneType.Sidewalk


@pytest.mark.parametrize("name", ["Town03", "Town04", "Town05", "Town10HD"])
def test_drivers_stop_before_the_crosswalk(name: str) -> None:
    town = towns.load(name)
    corners = town.map.get_crosswalks()
    middles = [
        ((corners[k].x + corners[k + 2].x) / 2, (corners[k].y + corners[k + 2].y) / 2)
        for k in range(0, len(corners), 5)
    ]
    for line in (line for light in town.lights for line in light.stop_lines):
        ahead = (math.cos(math.radians(line.yaw)), math.sin(math.radians(line.yaw)))
        for x, y in middles:
            along = (x - line.x) * ahead[0] + (y - line.y) * ahead[1]
            if math.dist((x, y), (line.x, line.y)) < 3.0:
                assert along > 1.5


# --- odd maps --------------------------------------------------------------------------------------

_ROAD = """<road name="" length="{length}" id="{id}" junction="-1"><link/>
<planView><geometry s="0" x="{x}" y="0" hdg="0" length="{length}"><line/></geometry></planView>
<lanes>{lanes}</lanes></road>"""
_LANES = """<laneSection s="0">
<center><lane id="0" type="none"/></center>
<right><lane id="-1" type="driving"><width sOffset="0" a="{a}" b="{b}" c="0" d="0"/></lane></right>
</laneSection>"""


def _odd(*roads: str) -> str:
    return f'<OpenDRIVE><header revMajor="1" revMinor="4"/>{"".join(roads)}</OpenDRIVE>'


def test_a_lone_road_is_a_town_without_signals() -> None:
    text = _odd(_ROAD.format(length=200, id=1, x=0, lanes=_LANES.format(a=3.5, b=0)))
    town = towns.from_opendrive("lone", text)
    assert town.xodr == text
    assert (town.lights, town.signs, len(town.spawn_points)) == ((), (), 7)


def test_widths_that_grow_along_the_road_are_read() -> None:
    road = ET.fromstring(_ROAD.format(length=100, id=1, x=0, lanes=_LANES.format(a=3.0, b=0.02)))
    assert crosssection.kerb(road, 50.0, right=True) == pytest.approx(-4.0)
    assert crosssection.kerb(road, 50.0, right=False) == 0.0


def test_a_lane_offset_moves_the_whole_cross_section() -> None:
    lanes = '<laneOffset s="0" a="1.5" b="0" c="0" d="0"/>' + _LANES.format(a=3.0, b=0)
    road = ET.fromstring(_ROAD.format(length=100, id=1, x=0, lanes=lanes))
    assert [(span.lane_id, span.inner, span.outer) for span in crosssection.spans(road, 10.0)] == [
        (-1, 1.5, -1.5)
    ]


@pytest.mark.parametrize(
    "left_out", ["successor", "laneLink", "speed", "elevation", "outline", "validity", "roadMark", "type"]
)
def test_a_map_with_a_part_left_out_still_loads(left_out: str) -> None:
    text = towns.load("Town03").xodr
    assert f"<{left_out} " in text or f"<{left_out}>" in text
    broken = text.replace(f"<{left_out} ", f"<x-{left_out} ").replace(f"<{left_out}>", f"<x-{left_out}>")
    broken = broken.replace(f"</{left_out}>", f"</x-{left_out}>")
    assert towns.from_opendrive("odd", broken).spawn_points


def test_a_text_on_which_the_map_library_crashes_is_refused() -> None:
    text = towns.load("Town02").xodr.replace("signalId=", "x-signalId=")
    with pytest.raises(
        towns.OpenDriveError, match="cannot make a map of 'broken': CARLA's map library crashes"
    ):
        towns.from_opendrive("broken", text)

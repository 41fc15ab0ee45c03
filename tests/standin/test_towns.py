"""The bundled towns, driven over by CARLA's own map library."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter

import carla
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin import towns
from carlad.standin.rendering.lanes import lanes_of
from carlad.standin.towns import Town, trial
from carlad.standin.towns.design import grid, opendrive
from carlad.standin.towns.design.plan import plan
from carlad.standin.towns.town import town_of
from carlad.wire.types import Transform

NAMES = ("Town01", "Town02", "Town03", "Town04", "Town05", "Town10HD")


@pytest.fixture(scope="module", params=NAMES)
def town(request: pytest.FixtureRequest) -> Town:
    return towns.load(request.param)


def test_bundled_files_are_what_the_generator_writes() -> None:
    command = [sys.executable, "-m", "carlad.standin.towns.generate", "--check"]
    subprocess.run(command, check=True, timeout=120)


def test_loading_a_town_imports_nothing_heavy() -> None:
    script = (
        "import sys; from carlad.standin import towns; towns.load('Town01'); "
        "print([m for m in ('scenariogeneration', 'open3d', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["", "no xml", "<a/>", "<OpenDRIVE/>", "<OpenDRIVE><header/></OpenDRIVE>"])
def test_text_that_is_no_drivable_opendrive_is_refused(text: str) -> None:
    with pytest.raises(towns.OpenDriveError):
        towns.from_opendrive("nowhere", text)


@pytest.mark.parametrize(
    ("pattern", "instead", "reason"),
    [
        (
            r'(<road [^>]*id="(\d+)" junction=)"\d+"',
            r'\1"987654"',
            "belongs to junction 987654, which is missing",
        ),
        (r'connectingRoad="\d+"', 'connectingRoad="987654"', "connects by road 987654, which is missing"),
    ],
)
def test_a_text_that_names_what_is_missing_is_refused_by_that(
    pattern: str, instead: str, reason: str
) -> None:
    """The map library fails on the one with `_Map_base::at`, on the other by SIGSEGV."""
    text, changed = re.subn(pattern, instead, towns.load("Town02").xodr, count=1)
    assert changed
    with pytest.raises(
        towns.OpenDriveError, match=f"^cannot make a map of 'x': (road|junction) .* {reason}$"
    ):
        towns.from_opendrive("x", text)


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r'(length="[\d.]+)', r"\1:5"),
        (r'(<lane id="-?\d)', r"\1>"),
        (r'(<road [^>]*id="\d+)', r"\1x"),
        (r'(sequence=")\d', r"\1²"),
        ("encoding='utf-8'", "encoding='klingon'"),
    ],
)
def test_a_text_is_read_as_far_as_it_makes_sense_as_the_map_library_does(pattern: str, instead: str) -> None:
    sound = towns.load("Town02").xodr
    text, changed = re.subn(pattern, instead, sound)
    assert changed
    town, same = towns.from_opendrive("x", text), towns.from_opendrive("x", sound)
    assert town.spawn_points == same.spawn_points
    assert len([*lanes_of(town.map, town.xodr)]) == len([*lanes_of(same.map, same.xodr)])


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
def test_a_road_that_lies_nowhere_is_refused_by_its_number(value: str) -> None:
    """The map library takes it, and has waypoints there."""
    text = re.sub(r'(<geometry s="[^"]*" x=)"[^"]*"', rf'\1"{value}"', towns.load("Town02").xodr, count=1)
    with pytest.raises(
        towns.OpenDriveError, match=rf"road \d+ has x='{value}' in its geometry, which is not finite"
    ):
        towns.from_opendrive("x", text)


def test_a_text_that_wants_too_much_memory_is_refused_before_it_has_it() -> None:
    road = (
        '<road id="1" length="1e7" junction="-1"><planView><geometry s="0" x="0" y="0" hdg="0" length="1e7">'
        '<line/></geometry></planView><lanes><laneSection s="0"><center><lane id="0" type="none"/></center>'
        '<right><lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></right>'
        "</laneSection></lanes></road>"
    )
    text = f'<OpenDRIVE><header revMajor="1" revMinor="4"/>{road}</OpenDRIVE>'
    assert trial.verdict(text, memory_max_b=1 << 30) == "CARLA's map library wants more than 1 GiB for it"


# --- driving ---------------------------------------------------------------------------------------


def test_every_lane_is_entered_and_left_by_another(town: Town) -> None:
    edges = [(_lane(a), _lane(b)) for a, b in town.map.get_topology()]
    lanes = {_lane(waypoint) for waypoint in town.map.generate_waypoints(2.0)}
    assert {a for a, _ in edges} == {b for _, b in edges} == lanes


def test_from_any_spawn_point_every_lane_can_be_reached(town: Town) -> None:
    onward: dict[LaneKey, set[LaneKey]] = {}
    for a, b in town.map.get_topology():
        onward.setdefault(_lane(a), set()).add(_lane(b))
    for waypoint in town.map.generate_waypoints(4.0):
        for neighbour in _lanes_to_change_to(waypoint):
            onward.setdefault(_lane(waypoint), set()).add(_lane(neighbour))
    backward: dict[LaneKey, set[LaneKey]] = {}
    for lane, others in onward.items():
        for other in others:
            backward.setdefault(other, set()).add(lane)
    start = _lane(_waypoint(town, town.spawn_points[0]))
    assert _reached(onward, start) == _reached(backward, start) == set(onward)


def test_driving_on_is_smooth(town: Town) -> None:
    for spawn_point in town.spawn_points[::5]:
        waypoint = _waypoint(town, spawn_point)
        for step in range(200):
            choices = waypoint.next(1.0)
            onward = choices[step % len(choices)]
            before, after = waypoint.transform, onward.transform
            assert before.location.distance(after.location) < 1.6
            assert abs(_turn(before.rotation.yaw, after.rotation.yaw)) < 12.0
            waypoint = onward


def test_traffic_keeps_to_the_right(town: Town) -> None:
    for spawn_point in town.spawn_points:
        waypoint = _waypoint(town, spawn_point)
        while waypoint is not None and waypoint.lane_id * _waypoint(town, spawn_point).lane_id > 0:
            right = waypoint.transform.get_right_vector()
            last, waypoint = waypoint, waypoint.get_left_lane()
        if waypoint is None or waypoint.lane_type not in (carla.LaneType.Driving, carla.LaneType.Median):
            continue  # a one-way street
        assert abs(_turn(last.transform.rotation.yaw, waypoint.transform.rotation.yaw)) == pytest.approx(
            180, abs=1
        )
        to_left = waypoint.transform.location - last.transform.location
        assert to_left.x * right.x + to_left.y * right.y < 0.0


def test_going_left_until_a_lane_can_be_driven_on_comes_to_an_end(town: Town) -> None:
    for waypoint in town.map.generate_waypoints(20.0):
        left, steps = waypoint.get_left_lane(), 0
        while left is not None and left.lane_type != carla.LaneType.Driving:
            left, steps = left.get_left_lane(), steps + 1
            assert steps < 10


def test_a_four_way_junction_lets_each_approach_turn_left_right_and_go_straight() -> None:
    town = towns.load("Town01")
    for group in town.light_groups:
        if len(group.phases) != 4:
            continue
        for phase in group.phases:
            turns = set()
            for stop in town.lights[phase[0]].stop_lines:
                for first in _at(town, stop).next(3.0):
                    last = first.next_until_lane_end(1.0)[-1]
                    turns.add(round(_turn(stop.yaw, last.transform.rotation.yaw) / 90.0))
            assert turns == {-1, 0, 1}


@pytest.mark.parametrize("name", ["Town01", "Town02", "Town05", "Town10HD"])
def test_pavements_line_the_streets(name: str) -> None:
    town = towns.load(name)
    for spawn_point in town.spawn_points:
        assert _outermost(_waypoint(town, spawn_point)).lane_type == carla.LaneType.Sidewalk


def test_lanes_may_be_changed_on_wide_streets_only() -> None:
    changes = Counter(
        str(w.lane_change) for w in towns.load("Town01").map.generate_waypoints(5.0) if not w.is_junction
    )
    assert changes["Left"] == changes["Right"] > 0
    assert changes["NONE"] > 0
    assert changes["Both"] == 0


def test_every_road_states_a_speed_limit(town: Town) -> None:
    roads = {waypoint.road_id for waypoint in town.map.generate_waypoints(2.0)}
    assert set(town.speed_limits_kmh) == roads
    assert set(town.speed_limits_kmh.values()) <= {30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0}


def test_the_geo_reference_is_read() -> None:
    corner = towns.load("Town01").map.transform_to_geolocation(carla.Location(0, 0, 0))
    assert (corner.latitude, corner.longitude) == pytest.approx((49.0, 8.4))


# --- spawn points ----------------------------------------------------------------------------------


def test_spawn_points_stand_over_driving_lanes_outside_junctions(town: Town) -> None:
    assert 100 <= len(town.spawn_points) <= 400
    for spawn_point in town.spawn_points:
        waypoint = _waypoint(town, spawn_point)
        here = waypoint.transform
        assert not waypoint.is_junction
        # In curves the map library is up to half a metre off along the lane.
        along, across = _apart(here, spawn_point)
        assert abs(along) < 0.5
        assert abs(across) < 0.02
        assert 0.3 <= spawn_point.location.z - here.location.z <= 0.55
        assert abs(_turn(spawn_point.rotation.yaw, here.rotation.yaw)) < 1.0


CARLA_SPAWN_POINTS = {
    "Town01": 255, "Town02": 101, "Town03": 265, "Town04": 372, "Town05": 302, "Town10HD": 155,
}  # fmt: skip


def test_every_spawn_point_that_carlas_own_town_has_can_be_named_by_its_number(town: Town) -> None:
    assert len(town.spawn_points) >= CARLA_SPAWN_POINTS[town.name.rpartition("/")[2]]


def test_spawn_points_are_eight_metres_apart_along_a_lane(town: Town) -> None:
    for spawn_point in town.spawn_points:
        for other in town.spawn_points:
            if other is spawn_point or abs(other.location.z - spawn_point.location.z) > 4.0:
                continue
            along, across = _apart(spawn_point, other)
            assert abs(across) > 3.0 or abs(along) >= 8.0


# --- traffic lights --------------------------------------------------------------------------------


def test_every_signal_is_a_light_with_lanes_to_stop(town: Town) -> None:
    landmarks = town.map.get_all_landmarks_of_type("1000001")
    assert sorted(light.signal_id for light in town.lights) == sorted(landmark.id for landmark in landmarks)
    for light in town.lights:
        assert light.stop_lines
        for stop in light.stop_lines:
            assert not _at(town, stop).is_junction
            ahead = _at(town, stop).next(6.0)
            assert ahead
            assert all(waypoint.is_junction for waypoint in ahead)


def test_every_approach_of_a_signalised_junction_is_ruled_once(town: Town) -> None:
    ruled = Counter((stop.road_id, stop.lane_id) for light in town.lights for stop in light.stop_lines)
    assert set(ruled.values()) == {1}
    signalised = {group.junction_id for group in town.light_groups}
    for before, after in town.map.get_topology():
        if not before.is_junction and after.is_junction and after.get_junction().id in signalised:
            assert _lane(before) in ruled


def test_groups_and_phases_hold_every_light_once(town: Town) -> None:
    held = [
        (light, g, p)
        for g, group in enumerate(town.light_groups)
        for p, phase in enumerate(group.phases)
        for light in phase
    ]
    assert sorted(light for light, _, _ in held) == list(range(len(town.lights)))
    assert all((town.lights[light].group, town.lights[light].phase) == (g, p) for light, g, p in held)


def test_posts_stand_beside_the_road_at_their_stop_line(town: Town) -> None:
    for light in town.lights:
        foot = light.pose.location
        outermost = light.stop_lines[-1]
        assert 1.5 < min(math.hypot(foot.x - s.x, foot.y - s.y) for s in light.stop_lines) < 5.0
        nearest = town.map.get_waypoint(carla.Location(foot.x, foot.y, foot.z), True, carla.LaneType.Any)
        assert nearest.lane_type in (carla.LaneType.Sidewalk, carla.LaneType.Shoulder)
        assert abs(_turn(outermost.yaw + 90.0, light.pose.rotation.yaw)) < 0.1


def test_a_town_without_controllers_gives_every_light_a_group_of_its_own() -> None:
    text = towns.load("Town02").xodr.replace("<controller", "<x").replace("</controller", "</x")
    town = towns.from_opendrive("uncontrolled", text)
    assert [group.phases for group in town.light_groups] == [((k,),) for k in range(len(town.lights))]
    assert {group.junction_id for group in town.light_groups} == {None}


def test_a_light_stops_the_lanes_that_its_validities_name() -> None:
    text = towns.load("Town02").xodr.replace('fromLane="1" toLane="2"', 'fromLane="1" toLane="1"')
    town = towns.from_opendrive("inner lanes", text)
    assert [stop.lane_id for stop in town.lights[0].stop_lines] == [1]


# --- any grid --------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [(90.0,), (90.0, 20.0)])
def test_a_plan_with_too_few_or_too_short_blocks_is_refused(columns: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="cannot plan small"):
        plan(grid.network(grid.GridSpec("small", columns, (90.0, 90.0))))


_blocks = st.lists(st.floats(60.0, 150.0), min_size=2, max_size=4).map(tuple)
_streets = st.frozensets(st.integers(1, 3))


@settings(max_examples=15, deadline=None)
@given(_blocks, _blocks, _streets, _streets)
def test_any_grid_is_drivable(
    columns: tuple[float, ...],
    rows: tuple[float, ...],
    wide_columns: frozenset[int],
    wide_rows: frozenset[int],
) -> None:
    spec = grid.GridSpec("any", columns, rows, wide_columns, wide_rows)
    town = town_of("any", opendrive.write(plan(grid.network(spec))))
    assert all(w.next(2.0) and w.previous(2.0) for w in town.map.generate_waypoints(4.0))
    assert len(town.lights) >= 4


LaneKey = tuple[int, int]


def _lane(waypoint: carla.Waypoint) -> LaneKey:
    return waypoint.road_id, waypoint.lane_id


def _lanes_to_change_to(waypoint: carla.Waypoint) -> list[carla.Waypoint]:
    change = waypoint.lane_change
    left = waypoint.get_left_lane() if change in (carla.LaneChange.Left, carla.LaneChange.Both) else None
    right = waypoint.get_right_lane() if change in (carla.LaneChange.Right, carla.LaneChange.Both) else None
    return [lane for lane in (left, right) if lane is not None and lane.lane_type == carla.LaneType.Driving]


def _reached(onward: dict[LaneKey, set[LaneKey]], start: LaneKey) -> set[LaneKey]:
    reached, waiting = {start}, [start]
    while waiting:
        fresh = onward[waiting.pop()] - reached
        reached |= fresh
        waiting.extend(fresh)
    return reached


def _outermost(waypoint: carla.Waypoint) -> carla.Waypoint:
    """The outermost lane on the right."""
    while (onward := waypoint.get_right_lane()) is not None:
        waypoint = onward
    return waypoint


def _waypoint(town: Town, pose: Transform) -> carla.Waypoint:
    return town.map.get_waypoint(carla.Location(pose.location.x, pose.location.y, pose.location.z))


def _at(town: Town, stop: towns.StopLine) -> carla.Waypoint:
    return town.map.get_waypoint(carla.Location(stop.x, stop.y, stop.z))


def _apart(origin: carla.Transform | Transform, other: Transform) -> tuple[float, float]:
    """How far ahead and how far to the right of `origin` another pose is, m."""
    yaw = math.radians(origin.rotation.yaw)
    dx, dy = other.location.x - origin.location.x, other.location.y - origin.location.y
    return dx * math.cos(yaw) + dy * math.sin(yaw), dy * math.cos(yaw) - dx * math.sin(yaw)


def _turn(from_deg: float, to_deg: float) -> float:
    """Clockwise from above, in [-180, 180)."""
    return (to_deg - from_deg + 180.0) % 360.0 - 180.0

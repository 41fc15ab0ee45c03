"""Rules on plain geometry; what lanes allow is tried on a real map."""

from __future__ import annotations

import math

import carla
import pytest

from tests.trainer.moments import EAST, others
from tests.trainer.test_road_map import town
from trainer.env.ahead import Lookout, must_wait
from trainer.env.rules import LaneWatch, Pose, RedLightWatch, StopSignWatch
from trainer.env.signals import Light, RouteSignals, StopLine, StopZone, on_route
from trainer.env.surroundings import NOBODY, VEHICLE, WALKER

LINE = StopLine(light=7, x=50.0, y=0.0, heading_rad=0.0, half_width_m=1.75)
ZONE = StopZone(sign=9, x=50.0, y=0.0, heading_rad=0.0, half_length_m=2.0, half_width_m=2.0)
REAR_M = 2.0


def pose(x: float, y: float = 0.0, yaw_deg: float = 0.0, speed_mps: float = 5.0) -> Pose:
    return Pose(x, y, math.radians(yaw_deg), speed_mps)


@pytest.mark.parametrize(
    ("before", "now", "light", "ran"),
    [
        (pose(51.5), pose(52.5), Light.RED, True),  # the rear passes
        (pose(51.5), pose(52.5), Light.YELLOW, False),
        (pose(51.5), pose(52.5), Light.GREEN, False),
        (pose(49.5), pose(50.5), Light.RED, False),  # the front has, the rear has not
        (pose(53.0), pose(54.0), Light.RED, False),  # long past
        (pose(51.5, 3.0), pose(52.5, 3.0), Light.RED, False),  # in the lane beside
        (pose(48.5, yaw_deg=180.0), pose(47.5, yaw_deg=180.0), Light.RED, False),  # comes the other way
        (pose(40.0), pose(60.0), Light.RED, True),  # however far a step leads
    ],
)
def test_a_red_light_is_run_by_the_rear(before: Pose, now: Pose, light: Light, ran: bool) -> None:
    assert RedLightWatch([LINE], lambda _: light, REAR_M).ran(before, now) is ran


def driven(watch: StopSignWatch, poses: list[Pose]) -> list[bool]:
    return [watch.ran(each) for each in poses]


def test_a_stop_sign_is_run_by_who_does_not_stand() -> None:
    way = [pose(x) for x in (45.0, 47.0, 49.0, 51.0, 53.0, 55.0)]
    assert driven(StopSignWatch([ZONE]), way) == [False] * 4 + [True, False]


def test_who_stands_at_a_stop_sign_has_heeded_it() -> None:
    watch = StopSignWatch([ZONE])
    way = [pose(45.0), pose(49.0), pose(49.5, speed_mps=0.05)]
    assert not any(driven(watch, way))
    assert watch.heeded == 9
    assert not any(driven(watch, [pose(51.0), pose(53.0), pose(55.0)]))
    assert watch.heeded is None


def test_a_stop_sign_is_not_for_those_who_come_the_other_way() -> None:
    way = [pose(x, yaw_deg=180.0) for x in (55.0, 51.0, 49.0, 45.0)]
    assert not any(driven(StopSignWatch([ZONE]), way))


def test_lights_and_signs_on_the_route_are_those_of_its_direction() -> None:
    beside = LINE._replace(light=8, y=3.5)
    against = LINE._replace(light=9, heading_rad=math.pi)
    later = LINE._replace(light=10, x=80.0)
    signals = on_route(EAST, [later, beside, against, LINE], [ZONE])
    assert [(at_m, line.light) for at_m, line in signals.lines] == [(50.0, 7), (80.0, 10)]
    assert [at_m for at_m, _ in signals.zones] == [50.0]


def test_what_is_ahead_is_seen_at_its_distance() -> None:
    lookout = Lookout(EAST, RouteSignals([(50.0, LINE)], [(60.0, ZONE)]), lambda _: Light.YELLOW)
    around = others(
        (VEHICLE, 40.0, 0.5, 0.0, 3.0), (VEHICLE, 35.0, 3.5, 0.0, 0.0), (WALKER, 38.0, -2.2, 90.0, 1.0)
    )
    ahead = lookout.look(EAST.place(20.0, 0.0, 20.0), around, None)
    assert (ahead.light_m, ahead.light, ahead.stop_m) == (30.0, Light.YELLOW, 40.0)
    assert ahead.vehicle == pytest.approx((20.0, 3.0))
    assert ahead.walker == pytest.approx((18.0, 0.0), abs=1e-9)
    assert not must_wait(ahead, 15.0)
    assert must_wait(ahead, 25.0)


def test_nothing_ahead_is_infinitely_far() -> None:
    lookout = Lookout(EAST, RouteSignals([(50.0, LINE)], [(60.0, ZONE)]), lambda _: Light.RED)
    passed = lookout.look(EAST.place(65.0, 0.0, 65.0), NOBODY, None)
    assert (passed.light_m, passed.light, passed.stop_m) == (math.inf, Light.GREEN, math.inf)
    heeded = lookout.look(EAST.place(58.5, 0.0, 58.5), NOBODY, ZONE.sign)
    assert heeded.stop_m == math.inf


def test_the_lane_under_a_vehicle() -> None:
    carla_map = town("Town01")._map
    # a street with a lane each way
    waypoint = next(
        w
        for w in carla_map.generate_waypoints(10.0)
        if not w.is_junction
        and (left := w.get_left_lane()) is not None
        and left.lane_id * w.lane_id < 0
        and str(left.lane_type) == "Driving"
        and str(w.get_right_lane().lane_type) != "Driving"
    )
    (waypoint,) = waypoint.next(20.0)  # well away from the junction
    centre, yaw = waypoint.transform.location, math.radians(waypoint.transform.rotation.yaw)
    watch = LaneWatch(carla_map, carla.LaneType.Driving)

    def look(right_m: float, turned_deg: float = 0.0) -> object:
        place = carla.Location(
            centre.x - math.sin(yaw) * right_m, centre.y + math.cos(yaw) * right_m, centre.z
        )
        use = watch.look(place, yaw + math.radians(turned_deg))
        return use.off_road, use.wrong_way, use.over_solid

    assert look(0.0) == (False, False, False)
    assert look(waypoint.lane_width / 2 + 0.2) == (False, False, False)
    assert look(waypoint.lane_width / 2 + 1.0) == (True, False, False)
    assert look(0.0, turned_deg=180.0) == (False, True, False)
    assert look(-waypoint.lane_width) == (False, True, True)  # over the line into oncoming traffic
    assert look(-waypoint.lane_width) == (False, True, False)

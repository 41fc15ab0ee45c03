import math

import numpy as np
import pygame
import pytest

from carlad.telemetry import Actor, Bundle, Ego, Lane, Lanes
from tests.viz.driving import LANE_M, bundle_at, grid_lanes
from viz import theme
from viz.birdseye import BirdsEye, box_corners
from viz.roads import RoadLayer, dashes
from viz.view import ViewFromWorld

VIEW = ViewFromWorld(scale=10.0, width=400, height=300)
EAST = Lane(
    np.array([(-20, -1.75), (20, -1.75)], np.float32), np.array([(-20, 1.75), (20, 1.75)], np.float32)
)


def drawn(bundle: Bundle | None, lanes: Lanes | None = None, view: ViewFromWorld = VIEW) -> pygame.Surface:
    surface = pygame.Surface((view.width, view.height))
    BirdsEye().draw(surface, theme.Fonts.load(), view, lanes, bundle)
    return surface


def colour_at(surface: pygame.Surface, x: float, y: float, view: ViewFromWorld = VIEW) -> tuple[int, ...]:
    ((right, down),) = view.points([(x, y)]).astype(int)
    return tuple(surface.get_at((right, down)))[:3]


def scene_of(ego: Ego, *actors: Actor) -> Bundle:
    return Bundle(
        session="s", episode=0, tick=0, frame=0, sim_time_s=0, server="", map="", ego=ego, actors=list(actors)
    )


def test_a_box_lists_its_corners_from_the_front_left() -> None:
    """Facing south (yaw 90 degrees), the left hand is to the east."""
    corners = box_corners(10, 20, 90, 2, 1)
    assert corners.tolist() == pytest.approx(np.array([(11, 22), (9, 22), (9, 18), (11, 18)]))


def test_a_car_at_the_right_hand_of_an_eastbound_ego_is_drawn_below_it() -> None:
    surface = drawn(scene_of(Ego(0, 0, 0, 5), Actor(1, "vehicle.tesla.model3", 0, 6, 0, 2.3, 1)))
    assert colour_at(surface, -1, 0) == theme.ORANGE
    assert colour_at(surface, -1, 6) == theme.SKY
    assert colour_at(surface, -1, -6) == theme.GROUND


@pytest.mark.parametrize("yaw_deg", [0, 90, 180, -90, 37])
def test_the_windscreen_is_towards_the_front(yaw_deg: float) -> None:
    surface = drawn(scene_of(Ego(0, 0, yaw_deg, 5)))
    forward = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    assert colour_at(surface, forward[0] * 0.9, forward[1] * 0.9) == theme.GROUND
    assert colour_at(surface, -forward[0] * 0.9, -forward[1] * 0.9) == theme.ORANGE


def test_a_walker_and_a_thing_of_unknown_kind_are_drawn_too() -> None:
    actors = Actor(1, "walker.pedestrian.0001", 5, 5, 0, 0.3, 0.3), Actor(2, "static.prop", -5, 5, 0, 1, 1)
    surface = drawn(scene_of(Ego(0, 0, 0, 0), *actors))
    assert colour_at(surface, 5, 5) == theme.YELLOW
    assert colour_at(surface, -5.6, 5) == theme.PURPLE


def test_a_lane_is_asphalt_between_its_boundaries() -> None:
    surface = drawn(None, Lanes("m", [EAST]))
    assert colour_at(surface, 3, 1.2) == theme.ASPHALT
    assert colour_at(surface, 3, 2.2) == theme.GROUND


def test_a_solid_boundary_is_marked_all_along_and_a_broken_one_in_parts() -> None:
    surface = drawn(None, Lanes("m", [EAST._replace(left_mark="broken", right_mark="solid")]))
    for side, share in ((-1.75, 0.5), (1.75, 1.0)):
        row = [
            max(colour_at(surface, x, side + off)[0] for off in (-0.1, 0)) for x in np.arange(-19, 19, 0.1)
        ]
        assert np.mean(np.array(row) > theme.ASPHALT[0] + 60) == pytest.approx(share, abs=0.06)


def test_dashes_are_the_same_from_either_end() -> None:
    boundary = np.cumsum(np.full((14, 2), 1.7, np.float32), axis=0)
    there, back = dashes(boundary), dashes(boundary[::-1])
    assert np.allclose(there, back[::-1, ::-1], atol=1e-4)
    assert np.hypot(*(there[:, 1] - there[:, 0]).T) == pytest.approx(np.full(len(there), 3.0), rel=0.25)


def test_a_view_that_moves_shows_the_same_lanes_as_one_drawn_anew() -> None:
    lanes, kept = grid_lanes(), RoadLayer()
    for step in range(0, 100, 7):
        view = ViewFromWorld(scale=8.0, width=300, height=200).centred(80 + step * 0.93, 80 - step * 0.31)
        moved, anew = pygame.Surface((300, 200)), pygame.Surface((300, 200))
        kept.blit(moved, view, lanes)
        RoadLayer().blit(anew, view, lanes)
        difference = np.abs(pygame.surfarray.array3d(moved).astype(int) - pygame.surfarray.array3d(anew))
        assert difference.max() <= 2


def test_the_synthetic_car_keeps_to_its_lane() -> None:
    """The tests' own town: on its straights the car is in the middle of the right-hand lane."""
    ego = bundle_at(0).ego
    assert ego is not None
    assert (ego.y, ego.yaw_deg) == pytest.approx((80 + LANE_M / 2, 0.0))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1e30, 1e9])
def test_places_out_of_this_world_are_left_out(wrong: float) -> None:
    actors = [Actor(n, "vehicle", *place, 2, 1) for n, place in enumerate([(wrong, 0, 0), (0, 0, wrong)])]
    bundle = Bundle(
        session="s",
        episode=0,
        tick=0,
        frame=0,
        sim_time_s=wrong,
        server="",
        map="",
        ego=Ego(wrong, wrong, wrong, wrong),
        actors=[*actors, Actor(9, "walker", wrong, wrong, wrong, wrong, wrong)],
        route=[(0, 0), (wrong, 3), (4, 4)],
    )
    drawn(bundle, Lanes("m", [EAST._replace(left=np.full((2, 2), wrong, np.float32))]))

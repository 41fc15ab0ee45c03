import math

import pytest

from viz.view import SCALE_MAX, SCALE_MIN, ViewFromWorld

VIEW = ViewFromWorld(x=100.0, y=-50.0, scale=8.0, width=800, height=600)


def pixel(view: ViewFromWorld, x: float, y: float) -> tuple[float, float]:
    (point,) = view.points([(x, y)])
    return tuple(point)


def test_the_centre_of_the_view_is_the_middle_of_the_surface() -> None:
    assert pixel(VIEW, 100, -50) == (400, 300)


def test_east_is_to_the_right_and_south_is_down() -> None:
    """CARLA's y points south; a map that is drawn with y upwards is a mirror image."""
    assert pixel(VIEW, 101, -50) == (408, 300)
    assert pixel(VIEW, 100, -49) == (400, 308)


def test_world_undoes_points() -> None:
    assert VIEW.world(pixel(VIEW, 93.25, -41.5)) == pytest.approx((93.25, -41.5))


def test_moving_the_centre_moves_the_picture_by_whole_pixels() -> None:
    for step in range(20):
        x, y = pixel(VIEW.centred(100 + step * 0.0137, -50), 100, -50)
        assert x.is_integer()
        assert y.is_integer()


@pytest.mark.parametrize("at", [(0, 0), (400, 300), (799, 20)])
def test_zooming_keeps_the_place_under_the_pointer(at: tuple[int, int]) -> None:
    assert VIEW.zoomed(1.7, at).world(at) == pytest.approx(VIEW.world(at), abs=1 / VIEW.scale)


def test_zooming_stops_at_its_limits() -> None:
    assert VIEW.zoomed(1e6, (400, 300)).scale == SCALE_MAX
    assert VIEW.zoomed(1e-6, (400, 300)).scale == SCALE_MIN


def test_a_dragged_picture_follows_the_pointer() -> None:
    before, after = pixel(VIEW, 100, -50), pixel(VIEW.dragged(30, -20), 100, -50)
    assert (after[0] - before[0], after[1] - before[1]) == (30, -20)


def test_a_place_that_is_not_finite_leaves_the_view_where_it_is() -> None:
    assert VIEW.centred(math.nan, 1.0) == VIEW
    assert VIEW.centred(1.0, -math.inf) == VIEW

"""The bird's-eye view of a made-up crossing, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from carlad.telemetry import Lane, Lanes
from tests.trainer.moments import CALM_AHEAD, EAST, ego, moment, others
from trainer.env.bev import BirdsEyeView, SpeedSign, picture
from trainer.env.config import BevConfig
from trainer.env.layouts import layout
from trainer.env.raster import PIXELS_MAX, Region, around, draw, region_of
from trainer.env.signals import Light, RouteSignals, StopLine, StopZone
from trainer.env.surroundings import STATIC, VEHICLE, WALKER

STREET = Lane(
    left=np.array([(-50, -1.75), (150, -1.75)], np.float32),
    right=np.array([(-50, 1.75), (150, 1.75)], np.float32),
    left_mark="broken",
    right_mark="solid",
)
SHOULDER = Lane(
    left=np.array([(-50, 1.75), (150, 1.75)], np.float32),
    right=np.array([(-50, 3.75), (150, 3.75)], np.float32),
    kind="shoulder",
)
LANES = Lanes("street", [STREET, SHOULDER])
LINE = StopLine(light=1, x=20.0, y=0.0, heading_rad=0.0, half_width_m=1.75)
ZONE = StopZone(sign=2, x=30.0, y=0.0, heading_rad=0.0, half_length_m=1.0, half_width_m=1.0)
SIGN = SpeedSign(x=25.0, y=3.0, heading_rad=0.0, limit_mps=33.33)


class OneLight:
    """A world's signals as far as a view asks for them."""

    lines = (LINE,)

    def __init__(self, light: Light) -> None:
        self._light = light

    def state(self, _: int) -> Light:
        return self._light


def view(name: str, light: Light = Light.RED, **sizes: Any) -> BirdsEyeView:
    chosen = layout(BevConfig(layout=name, **sizes))  # type: ignore[arg-type]
    raster = draw(LANES, region_of(LANES), chosen.px_per_m)
    signals = RouteSignals([(20.0, LINE)], [(30.0, ZONE)])
    return BirdsEyeView(chosen, raster, OneLight(light), signals, [SIGN], 0.1)  # type: ignore[arg-type]


def at(masks: Any, bird: BirdsEyeView, forward_m: float, right_m: float) -> list[int]:
    """All channels where something is that far ahead of the vehicle and to its right."""
    size, scale = bird.layout.size_px, bird.layout.px_per_m
    row = round(size - bird.layout.behind_px - forward_m * scale)
    column = round(size / 2 + right_m * scale)
    values: list[int] = masks[:, row, column].tolist()
    return values


def test_carls_layout() -> None:
    bird = view("carl")
    around_us = others(
        (VEHICLE, 10.0, 0.0, 0.0, 0.0), (WALKER, 5.0, -6.0, 0.0, 33.4), (STATIC, 40.0, 0.0, 0.0, 0.0)
    )
    masks = bird.masks(moment(ego(), others=around_us, ahead=CALM_AHEAD._replace(stop_m=30.0)))
    assert (masks.shape, masks.dtype) == ((10, 256, 256), np.uint8)
    standing = 127 + int(2.67 / 36 * 128)
    assert at(masks, bird, 10.0, 0.0) == [255, 255, 0, standing, 0, 0, 0, 0, 0, 0]
    assert at(masks, bird, 5.0, -6.0) == [0, 0, 0, 0, 255, 0, 0, 0, 0, 0]
    assert at(masks, bird, 20.0, 0.0)[5] == 255
    assert at(masks, bird, 30.0, 0.0)[6] == 255
    assert at(masks, bird, 25.0, 3.0)[7] == 255
    assert at(masks, bird, 40.0, 0.0)[8] == 255
    assert at(masks, bird, -20.0, 3.0) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 255]
    assert {int(value) for value in np.unique(masks[2])} == {0, 127, 255}
    assert at(masks, bird, -20.0, 0.0)[:2] == [255, 0]  # the route is ahead only


@pytest.mark.parametrize(("light", "value"), [(Light.GREEN, 80), (Light.YELLOW, 170), (Light.RED, 255)])
@pytest.mark.parametrize(("name", "channel"), [("carl", 5), ("roach", 14)])
def test_lights_by_their_colour(light: Light, value: int, name: str, channel: int) -> None:
    bird = view(name, light)
    assert at(bird.masks(moment(ego(), ahead=CALM_AHEAD)), bird, 20.0, 0.0)[channel] == value


def test_a_sign_that_was_heeded_is_gone() -> None:
    bird = view("carl")
    assert not bird.masks(moment(ego()))[6].any()


def test_the_view_turns_with_the_vehicle() -> None:
    bird = view("carl")
    one = others((VEHICLE, 0.0, 10.0, 0.0, 0.0))
    masks = bird.masks(moment(ego(yaw_deg=90.0), others=one))
    assert at(masks, bird, 10.0, 0.0)[3] > 0
    assert at(masks, bird, 0.0, -20.0)[0] == 255  # the street leads to the left and right now


def test_roachs_layout_looks_back() -> None:
    bird = view("roach")
    for step in range(20):
        masks = bird.masks(moment(ego(), others=others((VEHICLE, 5.0 + step, 0.0, 0.0, 10.0))))
    assert masks.shape == (15, 192, 192)
    for channel, x in ((3, 9.0), (4, 14.0), (5, 19.0), (6, 24.0)):  # 1.5, 1.0, 0.5 and 0 s ago
        rows = np.flatnonzero(masks[channel].any(1))
        assert (192 - 40 - rows.mean()) / 5.0 == pytest.approx(x, abs=0.5)


def test_walkers_are_twice_as_large_for_roach() -> None:
    walker = others((WALKER, 10.0, 0.0, 0.0, 0.0))
    masks = view("roach").masks(moment(ego(), others=walker))
    assert (masks[10] > 0).sum() == pytest.approx(4 * (4.0 * 2.0) * 25, rel=0.1)


def test_sizes_can_be_chosen() -> None:
    bird = view("carl", size_px=64, px_per_m=1.0, behind_px=16)
    masks = bird.masks(moment(ego(), others=others((VEHICLE, 20.0, 0.0, 0.0, 0.0))))
    assert masks.shape == (10, 64, 64)
    assert masks[3, 64 - 16 - 20, 32] > 0
    with pytest.raises(ValueError, match="behind_px 64 is not below the size, 64"):
        layout(BevConfig(size_px=64, behind_px=64))


def test_a_region_of_a_town_shows_the_same_as_the_whole() -> None:
    chosen = layout(BevConfig())
    signals = RouteSignals([], [])
    whole = draw(LANES, region_of(LANES), chosen.px_per_m)
    part = draw(LANES, around(EAST.xy, chosen.reach_m), chosen.px_per_m)
    seen = [
        BirdsEyeView(chosen, raster, OneLight(Light.RED), signals, [], 0.1).masks(moment(ego()))  # type: ignore[arg-type]
        for raster in (whole, part)
    ]
    assert (seen[0][0] != seen[1][0]).mean() < 0.01  # pixels at edges are rounded apart
    assert Region(0, 0, 10_000, 10_000).pixels(2.0)[0] ** 2 > PIXELS_MAX


def test_people_get_a_picture() -> None:
    bird = view("carl")
    image = picture(bird.masks(moment(ego())), bird.layout)
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 4

import math

import msgspec
import numpy as np
import pygame
import pytest

from carlad.telemetry import Bundle, Control, Ego
from tests.viz.driving import bundle_at, camera_image
from viz import theme
from viz.app import Picture, banner, panels
from viz.camera import draw_camera, fitted_size
from viz.hud import card_rects, shown_terms, signed_share
from viz.source import Scene, Session, Signal

SESSION = Session("env-0", "ipc:///run/env-0")
NAN = math.nan


def scene_of(bundle: Bundle | None, signal: Signal = Signal.LIVE, age_s: float = 0.02) -> Scene:
    return Scene(SESSION, signal, age_s, bundle)


@pytest.mark.parametrize("size", [(800, 600), (1280, 720), (3840, 2160)])
def test_panels_and_cards_lie_in_the_window_and_do_not_overlap(size: tuple[int, int]) -> None:
    world, hud, footer = panels(*size)
    cards = [card.move(hud.topleft) for card in card_rects(*hud.size)]
    rects = [world, footer, *cards]
    for index, rect in enumerate(rects):
        assert pygame.Rect(0, 0, *size).contains(rect)
        assert rect.collidelistall(rects) == [index]


@pytest.mark.parametrize(
    ("value", "share"), [(0.0, 0.0), (10.0, 1.0), (-10.0, -1.0), (1e9, 1.0), (-math.inf, -1.0), (NAN, 0.0)]
)
def test_a_reward_bar_is_signed_and_bounded(value: float, share: float) -> None:
    assert signed_share(value) == pytest.approx(share)


def test_larger_rewards_have_longer_bars() -> None:
    shares = [signed_share(value) for value in (0.001, 0.01, 0.1, 1.0, 9.0)]
    assert shares == sorted(shares)
    assert shares[0] > 0


def test_terms_that_do_not_fit_are_the_smallest_and_are_counted() -> None:
    terms = {"progress": 0.4, "comfort": -0.01, "centre": NAN, "collision": -5.0}
    assert shown_terms(terms, 4) == (list(terms.items()), 0)
    shown, more = shown_terms(terms, 3)
    assert ([name for name, _ in shown], more) == (["progress", "collision"], 2)


EXTREMES = [
    msgspec.structs.replace(bundle_at(0), ego=None, control=None, reward_terms={}, success_rate=None),
    msgspec.structs.replace(
        bundle_at(0),
        session="s" * 500,
        server="h" * 500,
        map="m" * 500,
        note="n" * 500,
        episode=10**12,
        frame=2**62,
        sim_time_s=1e300,
        episode_return=-1e300,
        reward_terms={f"a_rather_long_name_{n}": (-1) ** n * 10.0**n for n in range(60)},
    ),
    msgspec.structs.replace(
        bundle_at(0),
        ego=Ego(NAN, NAN, NAN, NAN),
        control=Control(NAN, math.inf, -math.inf, reverse=True),
        reward_terms={"progress": NAN, "collision": -math.inf},
        success_rate=NAN,
        episode_return=NAN,
        steps_per_s=math.inf,
        sim_time_s=NAN,
    ),
]


@pytest.mark.parametrize("bundle", [None, *EXTREMES])
@pytest.mark.parametrize("size", [(800, 600), (1280, 720)])
@pytest.mark.parametrize("signal", Signal)
def test_whatever_comes_in_can_be_drawn(bundle: Bundle | None, size: tuple[int, int], signal: Signal) -> None:
    surface = pygame.Surface(size)
    Picture().draw(surface, scene_of(bundle, signal, age_s=4000.0))


def test_the_picture_says_when_telemetry_is_gone_and_passes_on_the_sessions_note() -> None:
    bundle = msgspec.structs.replace(bundle_at(0), note="server lost, waiting for a replacement")
    assert banner(scene_of(bundle)) == "server lost, waiting for a replacement"
    assert "no telemetry for 12 s" in (banner(scene_of(bundle, Signal.LOST, 12.4)) or "")
    assert "ipc:///run/env-0" in (banner(scene_of(None, Signal.WAITING)) or "")
    assert banner(scene_of(bundle_at(0))) is None


def test_the_camera_tile_shows_the_image_the_right_way_round() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :40] = (200, 0, 0)
    image[30:, 40:] = (0, 0, 200)
    surface = pygame.Surface((800, 600))
    draw_camera(surface, theme.Fonts.load(), image, width_max=80)
    left, top = 20, 40  # the tile's margins
    assert tuple(surface.get_at((left + 10, top + 10)))[:3] == (200, 0, 0)
    assert tuple(surface.get_at((left + 70, top + 50)))[:3] == (0, 0, 200)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(()),
    ],
)
def test_an_array_that_is_no_rgb_image_is_left_out(image: np.ndarray) -> None:
    surface = pygame.Surface((800, 600))
    draw_camera(surface, theme.Fonts.load(), image, width_max=80)
    assert pygame.mask.from_threshold(surface, (0, 0, 0), (1, 1, 1, 255)).count() == 800 * 600


def test_an_image_keeps_its_proportions_within_the_limits() -> None:
    assert fitted_size(1920, 1080, 320, 300) == (320, 180)
    assert fitted_size(100, 400, 320, 300) == (75, 300)
    assert fitted_size(*camera_image(0).shape[1::-1], 320, 300) == (320, 240)

import math
from dataclasses import replace

import msgspec
import numpy as np
import pygame
import pytest

from carlad.telemetry import Bev, Bundle, Control, Ego
from tests.viz.driving import arrays_at, bundle_at
from viz import theme
from viz.hud import card_rects, gear_words, shown_terms, signed_share
from viz.layout import fitting_scale, panels
from viz.picture import Picture, banner
from viz.scene import Scene, Session, Signal, Timeline
from viz.strips import bounds
from viz.tiles import cloud_as_picture, draw_tiles, masks_as_picture, pictures, tiles_width, title

SESSION = Session("env-0", "ipc:///run/env-0")
NAN = math.nan


def scene_of(bundle: Bundle | None, signal: Signal = Signal.LIVE, age_s: float = 0.02) -> Scene:
    return Scene(SESSION, signal, age_s, bundle)


@pytest.mark.parametrize("size", [(800, 600), (1280, 720), (1600, 1200), (2560, 1440), (3840, 2160)])
@pytest.mark.parametrize("with_timeline", [False, True])
@pytest.mark.parametrize("asked", [None, 1.0, 2.0])
def test_panels_and_cards_lie_in_the_window_and_do_not_overlap(
    size: tuple[int, int], with_timeline: bool, asked: float | None
) -> None:
    scale = fitting_scale(*size, asked)
    parts = panels(*size, scale, with_timeline)
    cards = [card.move(parts.hud.topleft) for card in card_rects(*parts.hud.size, scale)]
    rects = [parts.world, parts.strips, parts.footer, *cards]
    for index, rect in enumerate(rects):
        assert pygame.Rect(0, 0, *size).contains(rect)
        assert rect.collidelistall(rects) == [index]
    assert parts.world.contains(parts.tiles)


@pytest.mark.parametrize(
    ("size", "asked", "scale"),
    [
        ((1280, 720), None, 1.0),
        ((2560, 1440), None, 2.0),
        ((1920, 1080), None, 1.5),
        ((800, 600), None, 1.0),
        ((1600, 1200), 2.0, 2.0),
        ((1280, 720), 2.0, 1.2),
        ((1280, 720), 0.1, 1.0),
    ],
)
def test_the_scale_suits_the_window_and_is_never_more_than_it_has_room_for(
    size: tuple[int, int], asked: float | None, scale: float
) -> None:
    assert fitting_scale(*size, asked) == pytest.approx(scale)


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


def test_what_the_viewer_itself_did_is_said_first_and_a_paused_session_too() -> None:
    scene = scene_of(msgspec.structs.replace(bundle_at(0), paused=True))
    assert banner(scene) == "session paused by a viewer"
    assert banner(replace(scene, said="saved")) == "saved"
    assert "training goes on" in (banner(replace(scene, signal=Signal.FROZEN)) or "")


def test_tiles_show_an_image_the_right_way_round() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :40] = (200, 0, 0)
    image[30:, 40:] = (0, 0, 200)
    surface = pygame.Surface((800, 600))
    draw_tiles(surface, theme.Fonts.load(), pygame.Rect(10, 10, 90, 300), {"camera": image})
    left, top = 15, 31  # the tile's frame and title
    assert tuple(surface.get_at((left + 10, top + 10)))[:3] == (200, 0, 0)
    assert tuple(surface.get_at((left + 70, top + 50)))[:3] == (0, 0, 200)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(()),
    ],
)
@pytest.mark.parametrize("channel", ["camera", "lidar", "bev", "view.chase"])
def test_an_array_that_is_no_picture_is_left_out(channel: str, array: np.ndarray) -> None:
    assert pictures({channel: array}, None) == {}


def test_tiles_keep_their_proportions_within_the_limits() -> None:
    wide, high = np.zeros((90, 160, 3), np.uint8), np.zeros((200, 100, 3), np.uint8)
    assert tiles_width({"a": wide}, 320, 300) == 320
    assert tiles_width({"a": high}, 320, 300) == 150
    assert tiles_width({"a": wide, "b": high}, 320, 256) == 99
    assert tiles_width({}, 320, 300) == 0


def test_a_tile_is_called_after_its_channel() -> None:
    assert [title(name) for name in ("camera", "camera.front_left", "view.chase")] == [
        "camera",
        "front left camera",
        "chase view",
    ]


def test_masks_are_laid_over_each_other_with_vehicles_above_roads() -> None:
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0] = 255
    masks[1, 0, 0] = 255
    legend = Bev(["vehicles", "road"], 4.0, 2.0, 2.0)
    picture = masks_as_picture(masks[::-1], legend)
    assert tuple(picture[0, 0]) == theme.SKY
    assert tuple(picture[3, 3]) == theme.ASPHALT


def test_the_cloud_from_above_has_forward_up_and_right_to_the_right() -> None:
    ahead_right = np.array([[16.0, 8.0, 3.0, 0.5]], np.float32)
    picture = cloud_as_picture(ahead_right)
    rows, columns = np.nonzero((picture != theme.GROUND).any(axis=2) & (picture != theme.ORANGE).any(axis=2))
    assert rows.mean() == pytest.approx(50, abs=2)
    assert columns.mean() == pytest.approx(125, abs=2)


def test_a_cloud_of_nothing_that_is_finite_is_an_empty_picture() -> None:
    assert cloud_as_picture(np.full((5, 4), NAN, np.float32)).shape == (200, 200, 3)


def test_a_strip_always_has_a_height_and_shows_zero() -> None:
    assert bounds([1.0, 2.0]) == (0.0, 2.0)
    assert bounds([-1.0, -2.0]) == (-2.0, 0.0)
    low, high = bounds([0.0, 0.0])
    assert low < 0.0 < high


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (Control(0, 0, 0), "drive"),
        (Control(0, 0, 0, reverse=True), "reverse"),
        (Control(0, 0, 0, hand_brake=True), "hand brake"),
        (Control(0, 0, 0, gear=3), "gear 3"),
        (Control(0, 0, 0, gear=0), "neutral"),
    ],
)
def test_the_gear_is_said_in_words(control: Control, words: str) -> None:
    assert gear_words(control) == words


def test_lists_and_help_and_a_time_line_can_be_drawn_at_any_size() -> None:
    scene = replace(scene_of(bundle_at(5)), timeline=Timeline(3.0, 9.0, 2.0, True), arrays=arrays_at(5))
    for size in ((800, 600), (2560, 1440)):
        picture = Picture(keys=(("tab", "next session"),))
        for chooser, is_help in (([Session("s" * 90, "t" * 300)] * 80, False), (None, True)):
            picture.chooser = (chooser, 70) if chooser else None
            picture.help = is_help
            picture.draw(pygame.Surface(size), scene)
        assert picture.timeline_bar.width > 100

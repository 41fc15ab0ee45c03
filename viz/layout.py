"""Where the parts of the picture lie, for any window and scale."""

from __future__ import annotations

from typing import NamedTuple

from pygame import Rect

SIZE_MIN = (800, 600)  # smaller windows show a part of this
_COMFORTABLE = (1280, 720)  # what is seen at once at 100 %
_SCALE_STEP = 0.25
SCALE_MAX = 4.0


class Panels(NamedTuple):
    """`world` is the bird's-eye view, `tiles` the part of it that images may cover."""

    world: Rect
    tiles: Rect
    strips: Rect
    footer: Rect
    hud: Rect


def fitting_scale(width: int, height: int, asked: float | None = None) -> float:
    """The scale that is asked for, as far as the window has room; else one that suits the window."""
    largest = min(SCALE_MAX, width / SIZE_MIN[0], height / SIZE_MIN[1])
    if asked is not None:
        return max(1.0, min(asked, largest))
    suits = min(width / _COMFORTABLE[0], height / _COMFORTABLE[1])
    return max(1.0, min(largest, suits // _SCALE_STEP * _SCALE_STEP))


def panels(width: int, height: int, scale: float = 1.0, with_timeline: bool = False) -> Panels:
    """In pixels; nothing overlaps but the tiles, which lie in the world."""

    def px(length: float) -> int:
        return round(length * scale)

    hud_w = min(px(350), max(px(250), width * 27 // 100))
    left_w = width - hud_w - px(10)
    footer_h = px(62 if with_timeline else 28)
    strips_h = px(84 if height >= px(680) else 64)
    world = Rect(0, 0, left_w, height - footer_h - strips_h)
    tile_w = min(px(320), left_w // 3)
    tiles = Rect(px(12), px(12), tile_w, world.height - px(60))
    strips = Rect(0, world.bottom, left_w, strips_h)
    footer = Rect(0, strips.bottom, left_w, footer_h)
    return Panels(world, tiles, strips, footer, Rect(width - hud_w, 0, hud_w, height))

"""Small pictures of figures: lines over time, and bars. Drawn with Pillow, which TensorBoard brings along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _PANEL_HEIGHT, _BAR_HEIGHT = 900, 190, 26
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 20, 34, 26
_LABELS = 360  # pixels for the names of bars
_INK, _FAINT, _GRID = "#202020", "#707070", "#e0e0e0"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart with any common colour blindness
Points = Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """One diagram: `points` (x, y) in the order of x."""

    title: str
    points: Points


class Bar(NamedTuple):
    """`of`: what it is compared with gets one colour, what is compared another."""

    label: str
    value: float
    shown: str
    is_base: bool = False


def lines(path: Path, title: str, x_title: str, panels: Sequence[Panel]) -> None:
    """A PNG with the panels below each other over one axis."""
    height = _TOP + len(panels) * _PANEL_HEIGHT + _BOTTOM
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((_LEFT, 8), title, fill=_INK, font=_font(16))
    last = max((x for panel in panels for x, _ in panel.points), default=1.0)
    for number, panel in enumerate(panels):
        _panel(draw, panel, _TOP + number * _PANEL_HEIGHT, last, _COLOURS[number % len(_COLOURS)])
    draw.text((_WIDTH // 2, height - _BOTTOM + 4), x_title, fill=_FAINT, font=_font(12), anchor="ma")
    image.save(path, optimize=True)


def bars(path: Path, title: str, rows: Sequence[Bar]) -> None:
    """A PNG with a horizontal bar for each row, from 0."""
    image = Image.new("RGB", (_WIDTH, _TOP + len(rows) * _BAR_HEIGHT + 12), "white")
    draw = ImageDraw.Draw(image)
    draw.text((10, 8), title, fill=_INK, font=_font(16))
    longest = max((row.value for row in rows), default=1.0) or 1.0
    room = _WIDTH - _LABELS - 130
    for number, row in enumerate(rows):
        y = _TOP + number * _BAR_HEIGHT
        draw.text((_LABELS - 10, y + 4), row.label, fill=_INK, font=_font(13), anchor="ra")
        end = _LABELS + max(1, round(room * row.value / longest))
        draw.rectangle((_LABELS, y + 2, end, y + _BAR_HEIGHT - 6), fill=_COLOURS[not row.is_base])
        draw.text((end + 8, y + 4), row.shown, fill=_FAINT, font=_font(13))
    image.save(path, optimize=True)


def _panel(draw: ImageDraw.ImageDraw, panel: Panel, top: int, last: float, colour: str) -> None:
    upper, lower = top + 24, top + _PANEL_HEIGHT - 22
    draw.text((_LEFT, top + 4), panel.title, fill=_INK, font=_font(13))
    highest = _round_up(max((y for _, y in panel.points), default=1.0))
    for part in range(5):
        y = lower - part * (lower - upper) / 4
        draw.line((_LEFT, y, _WIDTH - _RIGHT, y), fill=_GRID)
        draw.text((_LEFT - 8, y), f"{highest * part / 4:g}", fill=_FAINT, font=_font(11), anchor="rm")
    for part in range(5):
        x = _LEFT + part * (_WIDTH - _LEFT - _RIGHT) / 4
        anchor = "ra" if part == 4 else "ma"
        draw.text((x, lower + 4), f"{last * part / 4:.3g}", fill=_FAINT, font=_font(11), anchor=anchor)
    across, up = (_WIDTH - _LEFT - _RIGHT) / (last or 1.0), (lower - upper) / highest
    path = [(_LEFT + x * across, lower - y * up) for x, y in panel.points]
    if len(path) > 1:
        draw.line(path, fill=colour, width=2)


def _round_up(value: float) -> float:
    """1, 2 or 5 times a power of ten that is no smaller; 1 for nothing."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

"""Time-series strips: the last values of a few numbers, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pygame

from viz import theme
from viz.scene import SAMPLES_MAX, History

_COLOURS = {
    "speed km/h": theme.SKY,
    "steer": theme.YELLOW,
    "reward": theme.GREEN,
    "return": theme.PURPLE,
    "latency ms": theme.ORANGE,
}
_WIDTH_MIN = 150  # of one strip, at 100 %
_GAP = 8


def draw_strips(
    surface: pygame.Surface, fonts: theme.Fonts, room: pygame.Rect, history: History | None
) -> None:
    """As many as there is room for."""
    series = list((history or History()).series.items())
    count = max(1, min(len(_COLOURS), room.width // fonts.px(_WIDTH_MIN)))
    gap = fonts.px(_GAP)
    width = (room.width - gap * (count + 1)) // count
    for index, name in enumerate(list(_COLOURS)[:count]):
        rect = pygame.Rect(room.left + gap + index * (width + gap), room.top + gap, width, room.height - gap)
        _draw_strip(
            surface, fonts, rect, name, next((values for known, values in series if known == name), ())
        )


def _draw_strip(
    surface: pygame.Surface, fonts: theme.Fonts, rect: pygame.Rect, name: str, values: Sequence[float]
) -> None:
    theme.draw_card(surface, rect, fonts.px(7))
    pad = fonts.px(9)
    inner = rect.inflate(-2 * pad, -2 * fonts.px(6))
    theme.draw_text(surface, fonts.label, name, inner.topleft, theme.MUTED)
    finite = [value for value in values if math.isfinite(value)]
    now = theme.number(values[-1]) if values else "–"
    theme.draw_text(surface, fonts.label, now, (inner.right, inner.top), align="right")
    if len(finite) < 2:
        return
    plot = pygame.Rect(inner.left, inner.top + fonts.px(19), inner.width, inner.height - fonts.px(21))
    low, high = bounds(finite)
    _draw_zero(surface, plot, low, high)
    points = np.array(
        [
            (
                plot.right - (len(values) - 1 - index) * plot.width / (SAMPLES_MAX - 1),
                plot.bottom - (value - low) / (high - low) * plot.height,
            )
            for index, value in enumerate(values)
            if math.isfinite(value)
        ]
    )
    pygame.draw.lines(surface, _COLOURS[name], False, points.tolist(), max(1, fonts.px(1.6)))


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """What a strip's height stands for: all values, and 0; never nothing."""
    low, high = min(0.0, *values), max(0.0, *values)
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _draw_zero(surface: pygame.Surface, plot: pygame.Rect, low: float, high: float) -> None:
    y = round(plot.bottom + low / (high - low) * plot.height)
    surface.fill(theme.EDGE, (plot.left, y, plot.width, 1))

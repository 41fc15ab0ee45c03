"""Colours, letters and the few shapes that every part of the picture is drawn with, all anti-aliased."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pygame
import pygame.gfxdraw
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Points = NDArray[np.float64]
"""Pixels, float64 (N, 2): x to the right, y down."""

BACKGROUND: Colour = (15, 19, 25)
GROUND: Colour = (19, 24, 31)
PANEL: Colour = (24, 30, 39)
EDGE: Colour = (44, 53, 66)
TRACK: Colour = (42, 51, 63)
TEXT: Colour = (232, 237, 243)
MUTED: Colour = (146, 158, 174)
ASPHALT: Colour = (50, 58, 69)
VERGE: Colour = (33, 40, 50)
MARKING: Colour = (176, 186, 198)
ROUTE: Colour = (19, 116, 97)  # GREEN as seen through, over ASPHALT

# Okabe and Ito, "Color Universal Design" (2008): told apart with any common colour blindness.
ORANGE: Colour = (230, 159, 0)
SKY: Colour = (86, 180, 233)
GREEN: Colour = (0, 158, 115)
YELLOW: Colour = (240, 228, 66)
VERMILLION: Colour = (213, 94, 0)
PURPLE: Colour = (204, 121, 167)

Align = Literal["left", "right", "centre"]


@dataclass(frozen=True)
class Fonts:
    """The letters of the picture, from small to large, and the scale of everything else."""

    label: pygame.font.Font
    body: pygame.font.Font
    title: pygame.font.Font
    figure: pygame.font.Font
    scale: float = 1.0

    @classmethod
    def load(cls, scale: float = 1.0) -> Fonts:
        """Roboto, which open3d of the viz extra brings along, else pygame's own font."""
        medium, bold = _roboto("Medium"), _roboto("Bold")
        sizes = ((medium, 12), (medium, 14), (bold, 16), (bold, 38))
        label, body, title, figure = (pygame.font.Font(path, round(size * scale)) for path, size in sizes)
        return cls(label, body, title, figure, scale)

    def px(self, length: float) -> int:
        """Pixels of a length that is given for a scale of 100 %."""
        return round(length * self.scale)


def _roboto(weight: str) -> Path | None:
    spec = importlib.util.find_spec("open3d")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "resources" / f"Roboto-{weight}.ttf"
    return path if path.exists() else None


def draw_text(
    surface: pygame.Surface,
    font: pygame.font.Font,
    text: str,
    at: tuple[float, float],
    colour: Colour = TEXT,
    align: Align = "left",
    width_max: float | None = None,
) -> pygame.Rect:
    """Write one line with its top at `at`; cut with an ellipsis at `width_max` pixels. Returns its box."""
    image = font.render(text if width_max is None else fitted(font, text, width_max), True, colour)
    x = at[0] - image.get_width() * {"left": 0.0, "centre": 0.5, "right": 1.0}[align]
    return surface.blit(image, (round(x), round(at[1])))


def fitted(font: pygame.font.Font, text: str, width_max: float) -> str:
    """`text`, cut so that it fits into `width_max` pixels."""
    if font.size(text)[0] <= width_max:
        return text
    kept = len(text)
    while kept and font.size(text[:kept] + "…")[0] > width_max:
        kept -= 1
    return text[:kept] + "…"


def fill_rounded(surface: pygame.Surface, rect: pygame.Rect, colour: Colour, radius: int) -> None:
    """A filled rectangle with round corners."""
    radius = max(0, min(radius, (rect.width - 1) // 2, (rect.height - 1) // 2))
    surface.fill(colour, rect.inflate(-2 * radius, 0))
    surface.fill(colour, rect.inflate(0, -2 * radius))
    for x in (rect.left + radius, rect.right - radius - 1):
        for y in (rect.top + radius, rect.bottom - radius - 1):
            pygame.gfxdraw.aacircle(surface, x, y, radius, colour)
            pygame.gfxdraw.filled_circle(surface, x, y, radius, colour)


def draw_card(surface: pygame.Surface, rect: pygame.Rect, radius: int = 9) -> None:
    """The ground of a panel: a thin edge around a rounded surface."""
    fill_rounded(surface, rect, EDGE, radius)
    fill_rounded(surface, rect.inflate(-2, -2), PANEL, radius - 1)


def fill_polygon(surface: pygame.Surface, corners: Points, colour: Colour) -> None:
    """A filled polygon with smooth edges; nothing if it lies outside, is too far out, or is not finite."""
    if not visible(surface, corners):
        return
    vertices = corners.tolist()
    pygame.gfxdraw.aapolygon(surface, vertices, colour)
    pygame.gfxdraw.filled_polygon(surface, vertices, colour)


def draw_stroke(surface: pygame.Surface, points: Points, width: float, colour: Colour) -> None:
    """A polyline `width` pixels wide with round joints."""
    for start, end in itertools.pairwise(points):
        along = end - start
        length = float(np.hypot(*along))
        if not length > 0:
            continue
        aside = np.array([-along[1], along[0]]) * (width / 2 / length)
        fill_polygon(surface, np.array([start + aside, end + aside, end - aside, start - aside]), colour)
    for point in points:
        fill_disc(surface, point, width / 2, colour)


def fill_disc(surface: pygame.Surface, at: Sequence[float] | Points, radius: float, colour: Colour) -> None:
    """A filled circle."""
    centre = np.asarray(at, np.float64)
    if not visible(surface, np.stack([centre - radius, centre + radius])):
        return
    x, y, r = round(centre[0]), round(centre[1]), max(1, round(radius))
    pygame.gfxdraw.aacircle(surface, x, y, r, colour)
    pygame.gfxdraw.filled_circle(surface, x, y, r, colour)


def visible(surface: pygame.Surface, points: Points) -> bool:
    """Whether the points' box touches the surface and can be drawn at all (finite, in 16-bit pixels)."""
    low, high = points.min(axis=0), points.max(axis=0)
    if not (np.abs(low) < 30_000).all() or not (np.abs(high) < 30_000).all():
        return False
    return bool((high >= 0).all() and (low <= surface.get_size()).all())


# From low to high: dark blue over green to yellow, of growing lightness, so also without colours.
_HEIGHTS = np.array(
    [(68, 57, 131), (49, 104, 142), (33, 145, 140), (93, 201, 98), (253, 231, 37)], np.float64
)
_HEIGHT_LOW_M, _HEIGHT_HIGH_M = -0.5, 4.0


def by_height(z_m: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours (N, 3) of heights in metres above the ground."""
    share = (np.asarray(z_m, np.float64) - _HEIGHT_LOW_M) / (_HEIGHT_HIGH_M - _HEIGHT_LOW_M)
    return along(_HEIGHTS, share)


def along(colours: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours (N, 3) between the given ones (M, 3), for shares in [0, 1]."""
    at = share.clip(0, 1) * (len(colours) - 1)
    channels = [np.interp(at, np.arange(len(colours)), colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def number(value: float) -> str:
    """A figure of about three digits, as people read it."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}".replace("-", "\u2212")

"""A picture of the cloud with a line of words below what it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pygame
from numpy.typing import NDArray

from carlad.telemetry.bundle import LIDAR
from viz import theme
from viz.layout import fitting_scale
from viz.picture import save
from viz.scene import Scene


def save_with_caption(image: NDArray[np.uint8], scene: Scene, coloured_by: str, path: Path) -> None:
    """Write uint8 (H, W, 3) to a file. Raises ViewerError."""
    pygame.font.init()
    height, width = image.shape[:2]
    surface = pygame.image.frombuffer(np.ascontiguousarray(image).tobytes(), (width, height), "RGB")
    fonts = theme.Fonts.load(fitting_scale(width, height))
    box = pygame.Rect(fonts.px(14), fonts.px(14), 0, fonts.px(34))
    words = caption(scene, coloured_by)
    box.width = min(width - 2 * box.left, fonts.body.size(words)[0] + fonts.px(28))
    theme.draw_card(surface, box, fonts.px(9))
    at = box.left + fonts.px(14), box.top + fonts.px(8)
    theme.draw_text(surface, fonts.body, words, at, width_max=box.width - fonts.px(28))
    save(surface, path)


def caption(scene: Scene, coloured_by: str) -> str:
    """Which session, how fast, and how many points coloured by what."""
    bundle, points = scene.bundle, scene.arrays.get(LIDAR)
    count = 0 if points is None else len(points)
    parts = [scene.session.session, f"{count:,} points by {coloured_by}"]
    if bundle is not None:
        parts += [bundle.map.rpartition("/")[2], f"episode {bundle.episode:,}, tick {bundle.tick:,}"]
        if bundle.ego is not None:
            parts.insert(1, f"{theme.number(bundle.ego.speed_mps * 3.6)} km/h")
    return "   \u00b7   ".join(parts)

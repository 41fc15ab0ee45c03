"""The camera's image as a tile in a corner of the picture."""

from __future__ import annotations

import numpy as np
import pygame

from carlad.telemetry import Array
from viz import theme

_FRAME = 6  # px around the image


def draw_camera(surface: pygame.Surface, fonts: theme.Fonts, image: Array, width_max: int) -> None:
    """Put a uint8 (H, W, 3) RGB image into the upper left corner; an array of another kind is left out."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        return
    size = fitted_size(image.shape[1], image.shape[0], width_max, surface.get_height() // 2)
    frame = pygame.Rect(14, 14, size[0] + 2 * _FRAME, size[1] + 2 * _FRAME + 20)
    theme.draw_card(surface, frame)
    theme.draw_text(surface, fonts.label, "CAMERA", (frame.left + _FRAME + 4, frame.top + 7), theme.MUTED)
    pixels = np.ascontiguousarray(image).tobytes()
    picture = pygame.image.frombuffer(pixels, (image.shape[1], image.shape[0]), "RGB")
    surface.blit(pygame.transform.smoothscale(picture, size), (frame.left + _FRAME, frame.top + _FRAME + 20))


def fitted_size(width: int, height: int, width_max: int, height_max: int) -> tuple[int, int]:
    """The largest size with the image's proportions inside the limits, in pixels."""
    scale = min(width_max / width, height_max / height)
    return max(1, round(width * scale)), max(1, round(height * scale))

"""Images, the policy's masks and the LiDAR cloud as tiles, one below the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pygame

from carlad.telemetry import Array, Bev
from carlad.telemetry.bundle import BEV, LIDAR
from carlad.telemetry.jpeg import is_image
from viz import theme

_FRAME = 5  # px around an image, at 100 %
_TITLE_H = 18
_CLOUD_PX = 200
_CLOUD_M = 32.0  # from the middle to the edge
_LAYER_COLOURS = (
    ("ego", theme.ORANGE),
    ("walker", theme.YELLOW),
    ("pedestrian", theme.YELLOW),
    ("vehicle", theme.SKY),
    ("static", theme.PURPLE),
    ("red", theme.VERMILLION),
    ("yellow", theme.YELLOW),
    ("green", theme.GREEN),
    ("stop", theme.VERMILLION),
    ("route", theme.ROUTE),
    ("mark", theme.MARKING),
    ("line", theme.MARKING),
    ("lane", theme.MARKING),
    ("side", theme.VERGE),
    ("road", theme.ASPHALT),
    ("drivable", theme.ASPHALT),
)
_OTHER_LAYER = theme.MUTED


def pictures(arrays: Mapping[str, Array], bev: Bev | None) -> dict[str, Array]:
    """What there is to show, by title: uint8 (H, W, 3), RGB. What cannot be shown is left out."""
    shown = {}
    for channel in sorted(arrays, key=_rank):
        array = arrays[channel]
        if is_image(array):
            shown[title(channel)] = array
        elif channel == BEV and array.dtype == np.uint8 and array.ndim == 3 and array.size:
            shown["policy's bird's-eye view"] = masks_as_picture(array, bev)
        elif channel == LIDAR and array.dtype == np.float32 and array.ndim == 2 and array.shape[1] >= 4:
            shown["lidar"] = cloud_as_picture(array)
    return shown


def title(channel: str) -> str:
    """ "view.chase" is "chase view", and "camera.left" is "left camera"."""
    kind, _, name = channel.partition(".")
    return f"{name.replace('_', ' ')} {kind}".strip()


def draw_tiles(
    surface: pygame.Surface, fonts: theme.Fonts, room: pygame.Rect, shown: Mapping[str, Array]
) -> dict[str, pygame.Rect]:
    """Below each other, all of one width, which is what there is room for; returns where each one is."""
    places = {}
    frame, titled, gap = 2 * fonts.px(_FRAME), fonts.px(_TITLE_H), fonts.px(8)
    top = room.top
    width = tiles_width(shown, room.width - frame, room.height - len(shown) * (frame + titled + gap))
    for name, image in shown.items():
        size = width, max(1, round(width * image.shape[0] / image.shape[1]))
        rect = pygame.Rect(room.left, top, width + frame, size[1] + frame + titled)
        _draw_tile(surface, fonts, rect, name, image, size)
        places[name] = rect
        top = rect.bottom + gap
    return places


def draw_enlarged(
    surface: pygame.Surface, fonts: theme.Fonts, room: pygame.Rect, name: str, image: Array
) -> pygame.Rect:
    """One tile, as large as there is room for; returns where it is."""
    frame, titled = 2 * fonts.px(_FRAME), fonts.px(_TITLE_H)
    width = tiles_width({name: image}, room.width - frame, room.height - frame - titled)
    size = width, max(1, round(width * image.shape[0] / image.shape[1]))
    rect = pygame.Rect(room.left, room.top, size[0] + frame, size[1] + frame + titled)
    _draw_tile(surface, fonts, rect, name, image, size)
    return rect


def tiles_width(shown: Mapping[str, Array], width_max: int, height_max: int) -> int:
    """The width in pixels at which images below each other keep their proportions inside the limits."""
    height_of_1 = sum(image.shape[0] / image.shape[1] for image in shown.values())
    return max(1, min(width_max, int(height_max / height_of_1))) if shown else 0


def masks_as_picture(masks: Array, bev: Bev | None) -> Array:
    """The layers over each other, each in a colour of its own: uint8 (H, W, 3)."""
    names = bev.layers if bev is not None else []
    picture = np.empty((*masks.shape[1:], 3), np.float32)
    picture[:] = theme.GROUND
    named = [(names[index] if index < len(names) else "", mask) for index, mask in enumerate(masks)]
    for name, mask in sorted(named, key=lambda layer: -_layer_rank(layer[0])):
        opacity = (mask / 255.0 if mask.max(initial=0) > 1 else mask.astype(np.float32))[..., None]
        picture += (np.array(_layer_colour(name), np.float32) - picture) * opacity
    return picture.astype(np.uint8)


def cloud_as_picture(points: Array) -> Array:
    """The cloud from above, forward up, the higher the lighter: uint8 (H, W, 3)."""
    picture = np.empty((_CLOUD_PX, _CLOUD_PX, 3), np.uint8)
    picture[:] = theme.GROUND
    scale = _CLOUD_PX / (2 * _CLOUD_M)
    order = np.argsort(points[:, 2])
    x, y, z = np.nan_to_num(points[order, :3], nan=1e6, posinf=1e6, neginf=1e6).T
    row = (_CLOUD_PX / 2 - x * scale).clip(-1, _CLOUD_PX).astype(int)
    column = (_CLOUD_PX / 2 + y * scale).clip(-1, _CLOUD_PX).astype(int)
    inside = (row >= 0) & (row < _CLOUD_PX) & (column >= 0) & (column < _CLOUD_PX)
    for down, right in ((1, 1), (1, 0), (0, 1), (0, 0)):  # two pixels wide
        at = (row[inside] + down).clip(max=_CLOUD_PX - 1), (column[inside] + right).clip(max=_CLOUD_PX - 1)
        picture[at] = theme.by_height(z[inside])
    middle = _CLOUD_PX // 2
    picture[middle - 6 : middle + 7, middle - 2 : middle + 3] = theme.ORANGE
    return picture


def _draw_tile(
    surface: pygame.Surface,
    fonts: theme.Fonts,
    rect: pygame.Rect,
    name: str,
    image: Array,
    size: tuple[int, int],
) -> None:
    theme.draw_card(surface, rect, fonts.px(7))
    frame = fonts.px(_FRAME)
    at = rect.left + frame + fonts.px(3), rect.top + fonts.px(4)
    theme.draw_text(surface, fonts.label, name, at, theme.MUTED, width_max=rect.width - 2 * frame)
    picture = pygame.image.frombuffer(np.ascontiguousarray(image).tobytes(), image.shape[1::-1], "RGB")
    enlarge = pygame.transform.scale if size[0] > 2 * image.shape[1] else pygame.transform.smoothscale
    surface.blit(enlarge(picture, size), (rect.left + frame, rect.top + frame + fonts.px(_TITLE_H) - 2))


def _rank(channel: str) -> tuple[int, str]:
    order = ("view", "camera", BEV, LIDAR)
    kind = channel.partition(".")[0]
    return (order.index(kind) if kind in order else len(order)), channel


def _layer_rank(name: str) -> int:
    """Small: on top."""
    words = [word for word, _ in _LAYER_COLOURS]
    return next((index for index, word in enumerate(words) if word in name), len(words))


def _layer_colour(name: str) -> theme.Colour:
    return next((colour for word, colour in _LAYER_COLOURS if word in name), _OTHER_LAYER)

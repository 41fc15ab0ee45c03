"""The whole picture of one scene, on any surface: a window's, or one that goes to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pygame

from viz import theme
from viz.birdseye import BirdsEye
from viz.hud import draw_hud
from viz.layout import Panels, fitting_scale, panels
from viz.scene import Scene, Session, Signal, Timeline, ViewerError
from viz.strips import draw_strips
from viz.tiles import draw_enlarged, draw_tiles, pictures
from viz.view import ViewFromWorld

Help = Sequence[tuple[str, str]]
"""Keys and what they do."""

_KEYS_GAP = 22
_COLUMN_PX = 150  # of the other images then
_LARGE_SHARE = 0.7  # of the world's width beside the tiles, for an image that is enlarged


class Picture:
    """Draws scenes onto a surface, and holds what the keys and the mouse change."""

    def __init__(self, scale: float | None = None, keys: Help = ()) -> None:
        """`scale` None: as the window's size suggests. `keys`: what the footer says."""
        self.follow = True
        self.tiles = True
        self.enlarged: str | None = None  # the title of an image
        self.help = False
        self.chooser: tuple[list[Session], int] | None = None  # and which one is marked
        self.view_from_world = ViewFromWorld()
        self._scale, self._keys = scale, keys
        self._birdseye = BirdsEye()
        self._fonts = theme.Fonts.load()
        self._zoomed_for = 1.0
        self._tiles_at: dict[str, pygame.Rect] = {}
        self._large_at = pygame.Rect(0, 0, 0, 0)
        self._tiles_right = 0  # where the column of them ended when it was drawn last
        self.timeline_bar = pygame.Rect(0, 0, 0, 0)

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Draw the whole picture."""
        self._use_scale(fitting_scale(*surface.get_size(), self._scale))
        fonts = self._fonts
        parts = panels(*surface.get_size(), fonts.scale, scene.timeline is not None)
        surface.fill(theme.BACKGROUND)
        bev = scene.bundle.bev if scene.bundle is not None else None
        shown = pictures(scene.arrays, bev) if self.tiles else {}
        covered_px = parts.tiles.right if shown else 0
        large = self._room_for_large(parts) if self.enlarged in shown else None
        world = surface.subsurface(parts.world)
        self._draw_world(world, scene, large.right if large is not None else covered_px)
        column = parts.tiles.copy()
        if large is not None:
            column.width = min(column.width, fonts.px(_COLUMN_PX))
        self._tiles_at = draw_tiles(surface, fonts, column, shown)
        self._tiles_right = max((place.right for place in self._tiles_at.values()), default=0)
        if large is not None and self.enlarged is not None:
            self._large_at = draw_enlarged(surface, fonts, large, self.enlarged, shown[self.enlarged])
        if (text := banner(scene)) is not None:
            _draw_banner(surface.subsurface(parts.world), fonts, text)
        draw_strips(surface, fonts, parts.strips, scene.history)
        draw_hud(surface.subsurface(parts.hud), fonts, scene)
        self._draw_footer(surface, parts.footer, scene.timeline)
        if self.chooser is not None:
            sessions, marked = self.chooser
            lines = [(session.session, session.telemetry) for session in sessions]
            _draw_list(surface, fonts, "SESSIONS: up, down, enter", lines, marked)
        elif self.help:
            _draw_list(surface, fonts, "KEYS", self._keys, None)

    def zoom(self, factor: float, at: tuple[int, int] | None = None) -> None:
        """Zoom by `factor` about the window's pixel `at`, or about the middle of the view."""
        view = self.view_from_world
        self.view_from_world = view.zoomed(factor, at or (view.width / 2, view.height / 2))

    def enlarge_at(self, at: tuple[int, int]) -> bool:
        """Enlarge the image at that pixel, or make it small again; False where there is none."""
        hit = next((name for name, place in self._tiles_at.items() if place.collidepoint(at)), None)
        if self.enlarged is not None and (hit == self.enlarged or self._large_at.collidepoint(at)):
            self.enlarged = None
            return True
        self.enlarged = hit or self.enlarged
        return hit is not None

    def enlarge_next(self) -> None:
        """Enlarge the next image, and behind the last one none."""
        names = [*self._tiles_at, None]
        self.enlarged = names[(names.index(self.enlarged) + 1) % len(names) if self.enlarged in names else 0]

    def drag(self, right_px: int, down_px: int) -> None:
        """Pull the view; it no longer follows the ego vehicle then."""
        self.follow = False
        self.view_from_world = self.view_from_world.dragged(right_px, down_px)

    def _use_scale(self, scale: float) -> None:
        if scale != self._fonts.scale:
            self.zoom(scale / self._fonts.scale)
            self._fonts = theme.Fonts.load(scale)

    def _room_for_large(self, parts: Panels) -> pygame.Rect:
        """Beside the tiles; what is left of the world shows the vehicle."""
        gap = self._fonts.px(12)
        left = min(self._tiles_right or parts.tiles.right, parts.tiles.left + self._fonts.px(_COLUMN_PX))
        width = round((parts.world.width - left) * _LARGE_SHARE)
        return pygame.Rect(left + gap, parts.tiles.top, width, parts.tiles.height)

    def _draw_world(self, surface: pygame.Surface, scene: Scene, covered_px: int) -> None:
        """`covered_px`: so much at the left is covered, so the vehicle stays in the middle of the rest."""
        ego = scene.bundle.ego if scene.bundle is not None else None
        self.view_from_world = self.view_from_world.sized(*surface.get_size())
        if self.follow and ego is not None:
            aside_m = covered_px / 2 / self.view_from_world.scale
            self.view_from_world = self.view_from_world.centred(ego.x - aside_m, ego.y)
        self._birdseye.draw(surface, self._fonts, self.view_from_world, scene.lanes, scene.bundle)

    def _draw_footer(self, surface: pygame.Surface, room: pygame.Rect, timeline: Timeline | None) -> None:
        fonts, top = self._fonts, room.bottom - self._fonts.px(28)
        if timeline is not None:
            self.timeline_bar = _draw_timeline(surface, fonts, room, timeline)
        x = room.left + fonts.px(14)
        for keys, does in self._keys:
            width = fonts.label.size(f"{keys} {does}")[0] + fonts.px(6)
            if x + width > room.right - fonts.px(8):
                return
            box = theme.draw_text(surface, fonts.label, keys, (x, top + fonts.px(7)), theme.TEXT)
            box = theme.draw_text(
                surface, fonts.label, does, (box.right + fonts.px(6), top + fonts.px(7)), theme.MUTED
            )
            x = box.right + fonts.px(_KEYS_GAP)


def banner(scene: Scene) -> str | None:
    """What the viewer must be told across the picture, if anything."""
    bundle = scene.bundle
    if scene.said is not None:
        return scene.said
    if scene.signal is Signal.FROZEN:
        return "picture paused: the training goes on"
    if scene.signal is Signal.WAITING:
        return f"waiting for a first picture from {scene.session.telemetry}"
    if scene.signal is Signal.LOST:
        return f"no telemetry for {scene.age_s:.0f} s: paused or ended; reconnecting"
    if bundle is not None and bundle.paused:
        return "session paused by a viewer"
    return bundle.note if bundle is not None else None


def save(surface: pygame.Surface, path: Path) -> None:
    """Write the surface as an image. Raises ViewerError if it cannot be written."""
    try:
        pygame.image.save(surface, path)
    except (OSError, pygame.error) as error:
        raise ViewerError(f"cannot write {path}: {error}") from error


def _draw_banner(surface: pygame.Surface, fonts: theme.Fonts, text: str) -> None:
    text = theme.fitted(fonts.body, text, surface.get_width() - fonts.px(60))
    width, height = fonts.body.size(text)
    box = pygame.Rect(0, 0, width + fonts.px(36), height + fonts.px(16))
    box.midbottom = surface.get_width() // 2, surface.get_height() - fonts.px(52)
    theme.fill_rounded(surface, box, theme.ORANGE, box.height // 2)
    theme.fill_rounded(surface, box.inflate(-3, -3), theme.PANEL, box.height // 2)
    theme.draw_text(surface, fonts.body, text, (box.centerx, box.top + fonts.px(8)), align="centre")


def _draw_timeline(
    surface: pygame.Surface, fonts: theme.Fonts, room: pygame.Rect, timeline: Timeline
) -> pygame.Rect:
    """A bar of the whole recording with a handle; returns the bar's place."""
    words = f"{_clock(timeline.at_s)} / {_clock(timeline.duration_s)}   {timeline.speed:g}x"
    x, y = room.left + fonts.px(14), room.top + fonts.px(9)
    _draw_play(surface, fonts, (x, y + fonts.px(8)), timeline.is_playing)
    box = theme.draw_text(surface, fonts.body, words, (x + fonts.px(24), y), theme.TEXT)
    bar = pygame.Rect(box.right + fonts.px(18), y + fonts.px(5), 0, fonts.px(7))
    bar.width = room.right - fonts.px(18) - bar.left
    theme.fill_rounded(surface, bar, theme.TRACK, bar.height // 2)
    share = timeline.at_s / timeline.duration_s if timeline.duration_s > 0 else 1.0
    done = pygame.Rect(bar.left, bar.top, max(bar.height, round(bar.width * min(1.0, share))), bar.height)
    theme.fill_rounded(surface, done, theme.SKY, bar.height // 2)
    theme.fill_disc(surface, (done.right, bar.centery), fonts.px(7), theme.TEXT)
    return bar.inflate(0, fonts.px(18))


def _draw_play(
    surface: pygame.Surface, fonts: theme.Fonts, at: tuple[float, float], is_playing: bool
) -> None:
    """A triangle while it plays, two bars while it does not."""
    x, y = at
    if is_playing:
        corners = np.array([(0, -6), (0, 6), (10, 0)]) * fonts.scale + (x, y)
        theme.fill_polygon(surface, corners, theme.TEXT)
    else:
        for left in (0, 6):
            surface.fill(theme.TEXT, (x + fonts.px(left), y - fonts.px(6), fonts.px(3), fonts.px(12)))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{minutes:.0f}:{rest:04.1f}"


def _draw_list(
    surface: pygame.Surface, fonts: theme.Fonts, title: str, lines: Help, marked: int | None
) -> None:
    """A card in the middle of the picture, over all else, with two columns."""
    row_h, pad = fonts.px(24), fonts.px(20)
    rows = max(1, (surface.get_height() - fonts.px(120)) // row_h)
    first = 0 if marked is None else max(0, min(marked - rows // 2, len(lines) - rows))
    shown = list(lines)[first : first + rows]
    aside = max(fonts.body.size(name)[0] for name, _ in shown) + pad
    width = aside + max(fonts.body.size(words)[0] for _, words in shown) + 2 * pad
    box = pygame.Rect(0, 0, 0, row_h * len(shown) + 2 * pad + fonts.px(16))
    box.width = min(surface.get_width() - 2 * pad, max(fonts.px(300), width))
    box.center = surface.get_rect().center
    theme.draw_card(surface, box, fonts.px(10))
    theme.draw_text(surface, fonts.label, title, (box.left + pad, box.top + fonts.px(14)), theme.MUTED)
    top = box.top + pad + fonts.px(18)
    for index, (name, words) in enumerate(shown):
        y = top + index * row_h
        if first + index == marked:
            row = pygame.Rect(box.left + fonts.px(8), y - fonts.px(4), box.width - fonts.px(16), row_h)
            theme.fill_rounded(surface, row, theme.TRACK, fonts.px(5))
        theme.draw_text(surface, fonts.body, name, (box.left + pad, y))
        left = box.left + pad + aside
        theme.draw_text(surface, fonts.body, words, (left, y), theme.MUTED, width_max=box.right - pad - left)

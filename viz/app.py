"""The window: lays out the picture, reads keys and mouse, and draws a frame whenever there is something new.

Without a screen the same picture goes to a file (`snapshot`).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pygame

from viz import theme
from viz.birdseye import BirdsEye
from viz.camera import draw_camera
from viz.hud import draw_hud
from viz.source import Scene, Signal, Source, ViewerError
from viz.view import ViewFromWorld

SIZE_MIN = (800, 600)  # smaller windows show a part of this
HELP = "+ / −  zoom      drag  move      f  follow      s  screenshot      tab  next session      q  quit"
_FRAME_S = 1 / 30
_REDRAW_S = 0.25  # without news too, so that the age of the picture is seen to grow
_LANES_WAIT_S = 0.5  # how long a snapshot waits for the map after its first bundle
_ZOOM_STEP = 1.2
_FOOTER_H = 28
_GAP = 10
_UNSEEN_DRIVERS = ("dummy", "offscreen")  # what SDL falls back to
_NO_SCREEN_HINT = "--snapshot FILE.png needs none"


class Picture:
    """Draws scenes onto a surface, and holds what the keys and the mouse change."""

    def __init__(self) -> None:
        self.follow = True
        self.view_from_world = ViewFromWorld()
        self._birdseye = BirdsEye()
        self._fonts = theme.Fonts.load()

    def draw(self, surface: pygame.Surface, scene: Scene) -> None:
        """Draw the whole picture."""
        surface.fill(theme.BACKGROUND)
        world, hud, footer = panels(*surface.get_size())
        self._draw_world(surface.subsurface(world), scene)
        draw_hud(surface.subsurface(hud), self._fonts, scene)
        theme.draw_text(surface, self._fonts.label, HELP, (footer.left, footer.top + 6), theme.MUTED)

    def zoom(self, factor: float, at: tuple[int, int] | None = None) -> None:
        """Zoom by `factor` about the window's pixel `at`, or about the middle of the view."""
        view = self.view_from_world
        self.view_from_world = view.zoomed(factor, at or (view.width / 2, view.height / 2))

    def drag(self, right_px: int, down_px: int) -> None:
        """Pull the view; it no longer follows the ego vehicle then."""
        self.follow = False
        self.view_from_world = self.view_from_world.dragged(right_px, down_px)

    def _draw_world(self, surface: pygame.Surface, scene: Scene) -> None:
        ego = scene.bundle.ego if scene.bundle is not None else None
        self.view_from_world = self.view_from_world.sized(*surface.get_size())
        if self.follow and ego is not None:
            self.view_from_world = self.view_from_world.centred(ego.x, ego.y)
        self._birdseye.draw(surface, self._fonts, self.view_from_world, scene.lanes, scene.bundle)
        if scene.camera is not None:
            draw_camera(surface, self._fonts, scene.camera, width_max=surface.get_width() // 3)
        if (text := banner(scene)) is not None:
            _draw_banner(surface, self._fonts, text)


def panels(width: int, height: int) -> tuple[pygame.Rect, pygame.Rect, pygame.Rect]:
    """Where bird's-eye view, HUD and key help lie in the window."""
    hud_w = min(350, max(250, width * 27 // 100))
    world = pygame.Rect(0, 0, width - hud_w - _GAP, height - _FOOTER_H)
    hud = pygame.Rect(width - hud_w, 0, hud_w, height)
    return world, hud, pygame.Rect(20, height - _FOOTER_H, world.width - 20, _FOOTER_H)


def banner(scene: Scene) -> str | None:
    """What the viewer must be told across the picture, if anything."""
    if scene.signal is Signal.WAITING:
        return f"waiting for a first picture from {scene.session.telemetry}"
    if scene.signal is Signal.LOST:
        return f"no telemetry for {scene.age_s:.0f} s: paused or ended; reconnecting"
    return scene.bundle.note if scene.bundle is not None else None


def snapshot(source: Source, path: Path, size: tuple[int, int], wait_s: float) -> None:
    """Wait for a picture and write it to `path`. Raises ViewerError if none comes within `wait_s`."""
    if not source.update(wait_s):
        endpoint = source.scene().session.telemetry
        raise ViewerError(f"no telemetry from {endpoint} within {wait_s:g} s: is the training running?")
    deadline_s = time.monotonic() + _LANES_WAIT_S
    while source.scene().lanes is None and time.monotonic() < deadline_s:
        source.update(_FRAME_S)
    pygame.font.init()
    surface = pygame.Surface(size)
    Picture().draw(surface, source.scene())
    save(surface, path)


def save(surface: pygame.Surface, path: Path) -> None:
    """Write the surface as an image. Raises ViewerError if it cannot be written."""
    try:
        pygame.image.save(surface, path)
    except (OSError, pygame.error) as error:
        raise ViewerError(f"cannot write {path}: {error}") from error


def run_window(source: Source, size: tuple[int, int]) -> None:
    """Show the source in a window until it is closed. Raises ViewerError where there is no screen."""
    pygame.font.init()
    try:
        _open_window(size)
        Window(source).run()
    finally:
        pygame.quit()


def _open_window(size: tuple[int, int]) -> None:
    try:
        pygame.display.init()
        pygame.display.set_mode(size, pygame.RESIZABLE)
    except pygame.error as error:
        raise ViewerError(f"cannot open a window: {error}; {_NO_SCREEN_HINT}") from error
    if pygame.display.get_driver() in _UNSEEN_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
        raise ViewerError(f"cannot open a window: there is no screen; {_NO_SCREEN_HINT}")


class Window:
    """The event loop on pygame's one window, which exists already."""

    def __init__(self, source: Source) -> None:
        self.open = True
        self.picture = Picture()
        self.source = source
        self._canvas = pygame.Surface(SIZE_MIN)

    def run(self) -> None:
        """Draw what comes in until the window is closed."""
        drawn_s = 0.0
        while self.open:
            frame_ends_s = time.monotonic() + _FRAME_S
            news = self.source.update(_FRAME_S)
            touched = [self.handle(event) for event in pygame.event.get()]
            if news or any(touched) or frame_ends_s - drawn_s > _REDRAW_S:
                self.draw()
                drawn_s = frame_ends_s
            time.sleep(max(0.0, frame_ends_s - time.monotonic()))

    def draw(self) -> None:
        """Draw the source's scene, and show it."""
        window = pygame.display.get_surface()
        size = max(window.get_width(), SIZE_MIN[0]), max(window.get_height(), SIZE_MIN[1])
        if self._canvas.get_size() != size:
            self._canvas = pygame.Surface(size)
        scene = self.source.scene()
        self.picture.draw(self._canvas, scene)
        window.blit(self._canvas, (0, 0))
        pygame.display.set_caption(f"carlad viz: {scene.session.session}")
        pygame.display.flip()

    def handle(self, event: pygame.event.Event) -> bool:
        """React to one event; True if the picture changes by it."""
        if event.type == pygame.QUIT:
            self.open = False
        elif event.type == pygame.KEYDOWN:
            self._press(event.key)
        elif event.type == pygame.MOUSEWHEEL:
            self.picture.zoom(_ZOOM_STEP**event.y, pygame.mouse.get_pos())
        elif event.type == pygame.MOUSEMOTION and event.buttons[0]:
            self.picture.drag(*event.rel)
        else:
            return event.type in (pygame.VIDEORESIZE, pygame.VIDEOEXPOSE)
        return True

    def _press(self, key: int) -> None:
        if key in (pygame.K_q, pygame.K_ESCAPE):
            self.open = False
        elif key in (pygame.K_PLUS, pygame.K_EQUALS, pygame.K_KP_PLUS):
            self.picture.zoom(_ZOOM_STEP)
        elif key in (pygame.K_MINUS, pygame.K_KP_MINUS):
            self.picture.zoom(1 / _ZOOM_STEP)
        elif key == pygame.K_f:
            self.picture.follow = not self.picture.follow
        elif key == pygame.K_TAB:
            self.source.next_session()
        elif key == pygame.K_s:
            self._screenshot()

    def _screenshot(self) -> None:
        path = Path(f"viz-{time.strftime('%Y%m%d-%H%M%S')}.png")
        try:
            save(self._canvas, path)
            print(f"saved {path.resolve()}", flush=True)
        except ViewerError as error:
            print(f"viz: {error}", file=sys.stderr, flush=True)


def _draw_banner(surface: pygame.Surface, fonts: theme.Fonts, text: str) -> None:
    text = theme.fitted(fonts.body, text, surface.get_width() - 60)
    width, height = fonts.body.size(text)
    box = pygame.Rect(0, 0, width + 36, height + 16)
    box.midbottom = surface.get_width() // 2, surface.get_height() - 48
    theme.fill_rounded(surface, box, theme.ORANGE, box.height // 2)
    theme.fill_rounded(surface, box.inflate(-3, -3), theme.PANEL, box.height // 2)
    theme.draw_text(surface, fonts.body, text, (box.centerx, box.top + 8), align="centre")

"""The window: reads keys and mouse, and draws a picture whenever there is something new."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pygame

from viz.layout import SIZE_MIN
from viz.picture import Picture, save
from viz.replay import Replay
from viz.scene import Session, ViewerError
from viz.source import Source

_FRAME_S = 1 / 30
_REDRAW_S = 0.25  # without news too, so that the age of the picture is seen to grow
_ZOOM_STEP = 1.2
_UNSEEN_DRIVERS = ("dummy", "offscreen")  # what SDL falls back to
_NO_SCREEN_HINT = "--snapshot FILE.png and --video FILE.mp4 need none"

BOTH_HELP = (
    ("+ \u2212", "zoom"),
    ("drag", "move"),
    ("f", "follow"),
    ("t", "tiles"),
    ("v, click", "enlarge an image"),
    ("s", "screenshot"),
    ("h", "all keys"),
    ("q", "quit"),
)
LIVE_HELP = (
    ("tab", "next session"),
    ("l", "list sessions"),
    ("space", "pause the picture"),
    ("r", "record"),
    *BOTH_HELP,
    ("p", "pause the session itself"),
    ("n", "one step of a paused session"),
    ("c", "cameras for viewers alone"),
)
REPLAY_HELP = (
    ("space", "play"),
    ("left right", "step"),
    ("up down", "speed"),
    ("home", "to the begin"),
    *BOTH_HELP,
)


def run_window(source: Source | Replay, size: tuple[int, int], scale: float | None = None) -> None:
    """Show the source in a window until it is closed. Raises ViewerError where there is no screen."""
    pygame.font.init()
    try:
        _open_window(size)
        Window(source, scale).run()
    finally:
        pygame.quit()


def _open_window(size: tuple[int, int]) -> None:
    try:
        pygame.display.init()
        pygame.display.set_mode(size, pygame.RESIZABLE)
        pygame.key.set_repeat(400, 60)
    except pygame.error as error:
        raise ViewerError(f"cannot open a window: {error}; {_NO_SCREEN_HINT}") from error
    if pygame.display.get_driver() in _UNSEEN_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
        raise ViewerError(f"cannot open a window: there is no screen; {_NO_SCREEN_HINT}")


class Window:
    """The event loop on pygame's one window, which exists already."""

    def __init__(self, source: Source | Replay, scale: float | None = None) -> None:
        self.open = True
        self.source = source
        self.picture = Picture(scale, REPLAY_HELP if isinstance(source, Replay) else LIVE_HELP)
        self._canvas = pygame.Surface(SIZE_MIN)
        self._seeking = False
        self._actions = self._common_actions() | (
            _replay_actions(source) if isinstance(source, Replay) else self._live_actions(source)
        )

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
        elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            self._seeking = isinstance(self.source, Replay) and self.picture.timeline_bar.collidepoint(
                event.pos
            )
            return self._seek(event.pos) or self.picture.enlarge_at(event.pos)
        elif event.type == pygame.MOUSEBUTTONUP:
            self._seeking = False
            return False
        elif event.type == pygame.MOUSEMOTION and event.buttons[0]:
            if not self._seek(event.pos):
                self.picture.drag(*event.rel)
        else:
            return event.type in (pygame.VIDEORESIZE, pygame.VIDEOEXPOSE)
        return True

    def _seek(self, at: tuple[int, int]) -> bool:
        """Go to the time under the mouse, if it was pressed on the time line."""
        bar, source = self.picture.timeline_bar, self.source
        if not self._seeking or not isinstance(source, Replay):
            return False
        source.go_to((at[0] - bar.left) / max(1, bar.width) * source.duration_s)
        return True

    def _press(self, key: int) -> None:
        if self.picture.chooser is not None and isinstance(self.source, Source):
            self._choose(self.source, *self.picture.chooser, key)
        elif (action := self._actions.get(key)) is not None:
            action()

    def _choose(self, source: Source, sessions: list[Session], marked: int, key: int) -> None:
        """A key while the list of sessions is open."""
        self.picture.chooser = None
        if key in (pygame.K_UP, pygame.K_DOWN, pygame.K_TAB):
            self.picture.chooser = sessions, (marked + (-1 if key == pygame.K_UP else 1)) % len(sessions)
        elif key in (pygame.K_RETURN, pygame.K_KP_ENTER):
            source.watch(sessions[marked])

    def _common_actions(self) -> dict[int, Callable[[], None]]:
        picture = self.picture
        closer, farther = (lambda: picture.zoom(_ZOOM_STEP)), (lambda: picture.zoom(1 / _ZOOM_STEP))
        return {
            pygame.K_q: self._close,
            pygame.K_ESCAPE: self._close,
            pygame.K_PLUS: closer,
            pygame.K_EQUALS: closer,
            pygame.K_KP_PLUS: closer,
            pygame.K_MINUS: farther,
            pygame.K_KP_MINUS: farther,
            pygame.K_f: lambda: _flip(picture, "follow"),
            pygame.K_t: lambda: _flip(picture, "tiles"),
            pygame.K_v: picture.enlarge_next,
            pygame.K_h: lambda: _flip(picture, "help"),
            pygame.K_s: self._screenshot,
        }

    def _live_actions(self, source: Source) -> dict[int, Callable[[], None]]:
        return {
            pygame.K_TAB: source.next_session,
            pygame.K_l: lambda: self._list(source),
            pygame.K_SPACE: source.freeze,
            pygame.K_r: lambda: source.toggle_recording(Path()),
            pygame.K_p: source.toggle_pause,
            pygame.K_n: source.step,
            pygame.K_c: source.toggle_views,
        }

    def _list(self, source: Source) -> None:
        names = [session.session for session in source.sessions]
        watched = source.scene().session.session
        self.picture.chooser = source.sessions, names.index(watched) if watched in names else 0

    def _close(self) -> None:
        self.open = False

    def _screenshot(self) -> None:
        path = Path(f"viz-{time.strftime('%Y%m%d-%H%M%S')}.png")
        try:
            save(self._canvas, path)
            self.source.say(f"saved {path.resolve()}")
            print(f"saved {path.resolve()}", flush=True)
        except ViewerError as error:
            self.source.say(str(error))
            print(f"viz: {error}", file=sys.stderr, flush=True)


def _replay_actions(replay: Replay) -> dict[int, Callable[[], None]]:
    return {
        pygame.K_SPACE: replay.toggle,
        pygame.K_LEFT: lambda: replay.step(-1),
        pygame.K_RIGHT: lambda: replay.step(1),
        pygame.K_UP: lambda: replay.change_speed(1),
        pygame.K_DOWN: lambda: replay.change_speed(-1),
        pygame.K_HOME: lambda: replay.go_to(0.0),
        pygame.K_END: lambda: replay.go_to(replay.duration_s),
    }


def _flip(picture: Picture, name: str) -> None:
    setattr(picture, name, not getattr(picture, name))

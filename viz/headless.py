"""Pictures and videos without a screen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pygame

from viz.picture import Picture, save
from viz.replay import Replay
from viz.scene import ViewerError
from viz.source import Source

VIDEO_FPS = 20
_LOOK_S = 0.02
_LANES_WAIT_S = 2.0  # how long a snapshot waits for the map and the images after its first bundle
_SUFFIXES = (".mp4", ".mkv", ".mov")


def snapshot(
    source: Source | Replay, path: Path, size: tuple[int, int], wait_s: float, scale: float | None = None
) -> None:
    """Wait for a picture and write it to `path`. Raises ViewerError if none comes within `wait_s`."""
    _first_picture(source, wait_s)
    pygame.font.init()
    surface = pygame.Surface(size)
    Picture(scale).draw(surface, source.scene())
    save(surface, path)


def film(
    source: Source | Replay,
    path: Path,
    size: tuple[int, int],
    seconds: float,
    wait_s: float,
    scale: float | None = None,
) -> int:
    """Write so many seconds of pictures as H.264; returns how many. A replay is filmed frame by frame, as
    long as it is, and not against the clock. Raises ViewerError."""
    _first_picture(source, wait_s)
    pygame.font.init()
    surface, picture = pygame.Surface(size), Picture(scale)
    written = 0
    with _encoder(path, size) as encoder:
        for _ in _replayed(source, seconds) if isinstance(source, Replay) else _live(source, seconds):
            picture.draw(surface, source.scene())
            encoder.send(np.ascontiguousarray(pygame.surfarray.pixels3d(surface).swapaxes(0, 1)))
            written += 1
    return written


def _first_picture(source: Source | Replay, wait_s: float) -> None:
    if isinstance(source, Replay):
        return
    if not source.update(wait_s):
        endpoint = source.scene().session.telemetry
        raise ViewerError(f"no telemetry from {endpoint} within {wait_s:g} s: is the training running?")
    deadline_s = time.monotonic() + _LANES_WAIT_S
    while source.scene().lanes is None and time.monotonic() < deadline_s:
        source.update(_LOOK_S)


def _live(source: Source, seconds: float) -> Iterator[None]:
    """Once for each picture of the film, when it is due."""
    started_s = time.monotonic()
    for number in range(max(1, round(seconds * VIDEO_FPS))):
        while (left_s := started_s + number / VIDEO_FPS - time.monotonic()) > 0:
            source.update(min(left_s, _LOOK_S))
        source.update(0.0)
        yield


def _replayed(replay: Replay, seconds: float) -> Iterator[None]:
    replay.is_playing = False
    duration_s = min(seconds, replay.duration_s / replay.speed)
    for number in range(max(1, round(duration_s * VIDEO_FPS))):
        replay.go_to(number / VIDEO_FPS * replay.speed)
        replay.update(0.0)
        yield


@contextmanager
def _encoder(path: Path, size: tuple[int, int]) -> Iterator[Any]:
    """Takes uint8 (H, W, 3) pictures by `send`; ffmpeg's process ends with the block."""
    import imageio_ffmpeg

    if path.suffix not in _SUFFIXES:
        raise ViewerError(f"cannot write {path}: videos are {', '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise ViewerError(f"cannot write {path}: there is no folder {path.parent}")
    writer = imageio_ffmpeg.write_frames(
        str(path),
        size,
        fps=VIDEO_FPS,
        codec="libx264",
        quality=7,
        macro_block_size=2,
        ffmpeg_log_level="error",
    )
    try:
        writer.send(None)
        yield writer
    except OSError as error:
        raise ViewerError(f"cannot write {path}: {error}") from error
    finally:
        writer.close()

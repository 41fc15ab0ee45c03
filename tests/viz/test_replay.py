"""Recordings in the viewer: as a source of scenes, and by the commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import psutil
import pygame
import pytest

from carlad.recording import Reader, Recorder
from carlad.telemetry import Frame
from tests.telemetry.watching import wait_until
from tests.viz.driving import arrays_at, bundle_at, grid_lanes
from tests.viz.test_app import training, viz  # noqa: F401
from viz.app import Window
from viz.replay import Replay
from viz.scene import Signal, ViewerError

PERIOD_NS = 50_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Forty ticks of the synthetic drive: two seconds."""
    path = tmp_path / "drive.mcap"
    with Recorder(path, {"session": "env-0"}) as recorder:
        recorder.lanes(grid_lanes(), at_ns=PERIOD_NS)
        for tick in range(40):
            recorder.frame(Frame(bundle_at(tick), arrays_at(tick)), at_ns=(tick + 2) * PERIOD_NS)
    return path


@pytest.fixture
def replay(file: Path) -> Iterator[Replay]:
    with closing(Replay(file)) as replay:
        yield replay


def test_a_replay_shows_what_was_recorded(replay: Replay) -> None:
    scene = replay.scene()
    assert (scene.signal, scene.bundle, scene.arrays.keys()) == (
        Signal.REPLAY,
        bundle_at(0),
        {"camera", "bev", "lidar"},
    )
    assert scene.lanes is not None
    assert scene.timeline is not None
    assert scene.timeline.duration_s == pytest.approx(39 * 0.05)


def test_it_plays_to_its_end_by_itself_and_then_from_the_begin(replay: Replay) -> None:
    replay.speed = 16.0
    wait_until(lambda: not replay.update(0.05) and not replay.is_playing)
    assert replay.number == 39
    replay.toggle()
    replay.update(0.0)
    assert replay.is_playing
    assert replay.number < 39


def test_it_steps_and_goes_to_any_time(replay: Replay) -> None:
    replay.step(1)
    assert replay.update(0.0)
    assert replay.scene().bundle == bundle_at(1)
    replay.step(-5)
    replay.update(0.0)
    assert replay.number == 0
    for at_s, number in ((1.01, 20), (99.0, 39), (-1.0, 0), (0.05, 1)):
        replay.go_to(at_s)
        replay.update(0.0)
        assert replay.number == number
    assert not replay.update(0.0)


def test_it_changes_its_speed_within_bounds(replay: Replay) -> None:
    for _ in range(20):
        replay.change_speed(1)
    assert replay.speed == 16.0
    for _ in range(20):
        replay.change_speed(-1)
    assert replay.speed == 0.1


def test_the_strips_follow_forwards_and_begin_anew_after_a_jump_back(replay: Replay) -> None:
    replay.is_playing = False
    replay.go_to(1.0)
    replay.update(0.0)
    replay.step(1)
    replay.update(0.0)
    history = replay.scene().history
    assert history is not None
    assert len(history.series["speed km/h"]) == 3
    replay.go_to(0.0)
    replay.update(0.0)
    history = replay.scene().history
    assert history is not None
    assert len(history.series["speed km/h"]) == 1


def test_a_window_on_a_recording_has_a_time_line_that_can_be_dragged(replay: Replay) -> None:
    window = Window(replay)
    window.draw()
    bar = window.picture.timeline_bar
    place = bar.left + bar.width // 2, bar.centery
    assert window.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=place))
    replay.update(0.0)
    assert replay.number in (19, 20)
    view = window.picture.view_from_world
    window.handle(
        pygame.event.Event(pygame.MOUSEMOTION, buttons=(1, 0, 0), rel=(9, 0), pos=(bar.right, bar.top))
    )
    replay.update(0.0)
    assert replay.number == 39
    assert window.picture.view_from_world == view
    window.handle(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
    assert replay.scene().timeline is not None


def test_a_recording_without_frames_is_a_clear_error(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a.mcap") as recorder:
        recorder.values("/numbers", {"a": 1})
    with pytest.raises(ViewerError, match="there are no frames in it, but /numbers"):
        Replay(tmp_path / "a.mcap")


def test_info_says_what_is_in_a_recording(file: Path) -> None:
    done = viz("info", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("40 frames", "session: env-0", "/image/camera", "foxglove.PointCloud", "complete"):
        assert words in done.stdout
    told = json.loads(viz("info", str(file), "--json").stdout)
    assert (told["frames"], told["is_complete"]) == (40, True)


def test_a_replay_is_filmed_frame_by_frame(file: Path, tmp_path: Path) -> None:
    film = tmp_path / "drive.mp4"
    done = viz("replay", str(file), "--video", str(film), "--size", "800x600")
    assert (done.returncode, done.stderr) == (0, "")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(film))
    assert frames == 39
    assert seconds == pytest.approx(1.95, abs=0.11)
    reader = imageio_ffmpeg.read_frames(str(film))
    assert next(reader)["source_size"] == (800, 600)
    pixels = np.frombuffer(next(reader), np.uint8).reshape(600, 800, 3)
    reader.close()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200


def test_a_film_that_cannot_be_written_is_a_clear_error(file: Path) -> None:
    for where, why in (("/nowhere/a.mp4", "there is no folder"), ("a.gif", "videos are .mp4")):
        done = viz("replay", str(file), "--video", where)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert why in done.stderr


def test_a_session_is_recorded_without_a_screen_and_replayed_as_a_picture(
    training: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    file, picture = tmp_path / "live.mcap", tmp_path / "replay.png"
    done = viz("--telemetry", training, "--record", str(file), "--seconds", "2")
    assert (done.returncode, done.stderr) == (0, "")
    with Reader(file) as reader:
        assert len(reader.frame_times_ns) > 3
        assert reader.lanes(len(reader.frame_times_ns) - 1) is not None
        assert set(reader.frame(0).arrays) == {"camera", "bev", "lidar"}
    done = viz("replay", str(file), "--at", "1", "--snapshot", str(picture))
    assert (done.returncode, done.stderr) == (0, "")
    assert pygame.image.load(picture).get_size() == (1280, 720)
    assert "already" in viz("--telemetry", training, "--record", str(file)).stderr


def test_a_training_is_filmed_live(training: str, tmp_path: Path) -> None:  # noqa: F811
    film = tmp_path / "live.mp4"
    done = viz("--telemetry", training, "--video", str(film), "--seconds", "1", "--size", "800x600")
    assert (done.returncode, done.stderr) == (0, "")
    assert imageio_ffmpeg.count_frames_and_secs(str(film))[0] == 20
    left = [
        each.pid for each in psutil.process_iter(["cmdline"]) if str(film) in (each.info["cmdline"] or [])
    ]
    assert left == []

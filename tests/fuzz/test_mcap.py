"""Recordings that were damaged on their way: they are read, or refused in words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.recording import Reader, Recorder, RecordingError
from carlad.telemetry import Frame, Lanes
from tests.fuzz.damage import damaged
from tests.fuzz.effort import tried
from tests.telemetry.watching import bundle_of


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("recording") / "drive.mcap"
    with Recorder(path) as recorder:
        recorder.lanes(Lanes("Grid", []))
        for tick in range(3):
            camera = np.full((8, 8, 3), tick, np.uint8)
            recorder.frame(Frame(bundle_of(tick), {"camera": camera, "lidar": np.zeros((5, 4), np.float32)}))
            recorder.arrays("/step", {"action": np.array([0.5, tick])})
    return path.read_bytes()


def read_all(path: Path) -> int:
    """How many frames there are."""
    with Reader(path) as reader:
        assert reader.info.size_bytes == path.stat().st_size
        for number in range(len(reader.frame_times_ns)):
            reader.frame(number)
            reader.lanes(number)
        list(reader.arrays("/step"))
        return len(reader.frame_times_ns)


def test_the_recording_that_is_damaged_here_is_sound(tmp_path: Path, sound: bytes) -> None:
    (tmp_path / "drive.mcap").write_bytes(sound)
    assert read_all(tmp_path / "drive.mcap") == 3


@tried(200)
@given(data=st.data())
def test_damaged_recordings_are_read_or_refused(tmp_path: Path, sound: bytes, data: st.DataObject) -> None:
    path = tmp_path / "drive.mcap"
    path.write_bytes(data.draw(st.one_of(damaged(sound), st.binary(max_size=200))))
    with suppress(RecordingError):
        read_all(path)

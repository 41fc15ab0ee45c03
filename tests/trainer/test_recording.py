from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carlad.recording import Reader
from carlad.session.members import Began, Moved
from carlad.telemetry import Bundle, Ego, Lane, Lanes, Publisher
from tests.session.leaks import wait_until
from trainer.config import RecordConfig
from trainer.recording import OUTCOME, STEP, Recordings


def recordings(folder: Path, **config: Any) -> Recordings:
    return Recordings(folder, RecordConfig(**{"every_s": 1e-9, **config}))


def play(subject: Recordings, length: int = 3, member: int = 0, ends: bool = True) -> None:
    """An episode whose observations count up, under actions that count down."""
    subject.note(Began(member, {"state": np.float32([0, 0])}, {}))
    for step in range(1, length + 1):
        subject.acted(member, np.float32([-step, 0.5]))
        ended = ends and step == length
        info: dict[str, Any] = {"reward_terms": {"progress": step / 10}}
        if ended:
            info |= {"success": True, "reason": "success", "infractions": {"collision": 0}}
        subject.note(Moved(member, {"state": np.float32([step, step])}, float(step), ended, False, info))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mcap"))


def test_an_episode_is_read_back_as_it_was(tmp_path: Path) -> None:
    subject = recordings(tmp_path / "deep")
    play(subject)
    (path,) = files(tmp_path / "deep")
    with Reader(path) as reader:
        steps = [arrays for _, arrays in reader.arrays(STEP)]
        outcomes = [values for _, values in reader.values(OUTCOME)]
        assert reader.info.is_complete
    assert [list(step["observation.state"]) for step in steps] == [[0, 0], [1, 1], [2, 2]]
    assert [list(step["action"]) for step in steps] == [[-1, 0.5], [-2, 0.5], [-3, 0.5]]
    assert [outcome["reward"] for outcome in outcomes] == [1.0, 2.0, 3.0]
    assert [outcome["terminated"] for outcome in outcomes] == [False, False, True]
    assert outcomes[-1]["success"] is True
    assert outcomes[0]["reward_terms"] == {"progress": 0.1}


def test_one_episode_at_a_time_as_often_and_as_many_as_allowed(tmp_path: Path) -> None:
    subject = recordings(tmp_path, every_s=1000.0)
    play(subject)
    play(subject)
    assert len(files(tmp_path)) == 1
    few = recordings(tmp_path / "few", episodes_max=2)
    for _ in range(5):
        play(few)
    assert len(files(tmp_path / "few")) == 2
    small = recordings(tmp_path / "small", megabytes_max=1e-6)
    for _ in range(5):
        play(small)
    assert len(files(tmp_path / "small")) == 1


def test_steps_may_be_left_out_but_not_the_last(tmp_path: Path) -> None:
    play(recordings(tmp_path, every_steps=4), length=6)
    with Reader(files(tmp_path)[0]) as reader:
        assert [list(arrays["observation.state"]) for _, arrays in reader.arrays(STEP)] == [[0, 0], [4, 4]]
        assert [values["step"] for _, values in reader.values(OUTCOME)] == [0, 4, 5]


def test_an_episode_that_is_given_up_or_under_way_is_whole_as_far_as_it_came(tmp_path: Path) -> None:
    subject = recordings(tmp_path)
    play(subject, ends=False)
    play(subject, ends=False)
    subject.close()
    subject.close()
    assert len(files(tmp_path)) == 2
    for path in files(tmp_path):
        with Reader(path) as reader:
            assert len(list(reader.arrays(STEP))) == 3


def test_environments_that_are_not_recorded_just_then_do_not_matter(tmp_path: Path) -> None:
    subject = recordings(tmp_path, every_s=1000.0)
    subject.note(Began(0, np.float32([0]), {}))
    play(subject, member=1)
    subject.acted(0, np.float32([1]))
    subject.note(Moved(0, np.float32([1]), 1.0, True, False, {}))
    (path,) = files(tmp_path)
    with Reader(path) as reader:
        assert [list(arrays["observation.observation"]) for _, arrays in reader.arrays(STEP)] == [[0]]


def test_what_a_viewer_would_see_is_in_it(tmp_path: Path) -> None:
    publisher = Publisher(f"ipc://{tmp_path}/telemetry")
    subject = recordings(tmp_path / "seen")
    ego = Ego(x=1.0, y=2.0, yaw_deg=0.0, speed_mps=3.0)
    server = {"session": "env-0", "frame": 7, "sim_time_s": 0.7, "server": "x:1", "map": "Town01"}
    publisher.set_lanes(Lanes("Town01", [Lane(np.zeros((2, 2)), np.ones((2, 2)))]))
    try:
        subject.note(Began(0, np.float32([0]), {}), publisher.endpoint)
        (path,) = files(tmp_path / "seen")

        def recorded() -> bool:
            publisher.publish(Bundle(episode=1, tick=1, ego=ego, **server))
            subject.acted(0, np.float32([0]))
            subject.note(Moved(0, np.float32([0]), 0.0, False, False, {}))
            with Reader(path) as reader:
                return len(reader.frame_times_ns) > 0 and reader.lanes(0) is not None

        wait_until(recorded, 60.0)
    finally:
        subject.close()
        publisher.close()
    with Reader(path) as reader:
        assert reader.frame(0).bundle.ego == ego


def test_without_recordings_nothing_is_written(tmp_path: Path) -> None:
    play(recordings(tmp_path / "none", every_s=0.0))
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_ends_the_recordings_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    subject = recordings(tmp_path / "file" / "folder")
    for _ in range(2):
        play(subject)
    subject.close()


@pytest.mark.parametrize("every_steps", [1, 3])
def test_a_recording_that_nobody_closed_is_read_up_to_its_last_second(
    tmp_path: Path, every_steps: int
) -> None:
    subject = recordings(tmp_path, every_steps=every_steps)
    play(subject, ends=False)
    assert subject._recorder is not None
    subject._recorder.flush()  # as it does itself every second
    with Reader(files(tmp_path)[0]) as reader:
        assert not reader.info.is_complete
        assert list(reader.arrays(STEP))
    subject.close()

from __future__ import annotations

import itertools
import os
import pickle
import resource
import signal
import time
from pathlib import Path
from typing import NoReturn

import gymnasium
import numpy as np
import pytest
import torch

from trainer.acting import Acting
from trainer.checkpoint import BEST, NEWEST, CheckpointError, Score, Store, check_fits, find, load, save
from trainer.config import Config, decode
from trainer.learner import Learner
from trainer.spaces import ONLY

OBSERVATIONS = gymnasium.spaces.Box(-5.0, 5.0, (4,), np.float32)
ACTIONS = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def learner(config: Config | None = None) -> Learner:
    return Learner(config or decode({"policy": {"hidden": [8]}}), OBSERVATIONS, ACTIONS)


def test_a_learner_goes_on_from_a_checkpoint_as_if_nothing_had_been(tmp_path: Path) -> None:
    first, path = learner(), tmp_path / "deep" / "checkpoint.pt"
    observations = torch.randn(5, 4)
    first.policy.learn_scale({ONLY: observations})
    Acting(first.policy, first.rng).act({ONLY: observations})
    torch.randn(3, generator=first.generator)
    first.episodes.next(0)
    first.counters.env_steps = 77
    save(path, first.checkpoint())
    second = learner()
    second.restore(load(path))
    assert second.counters.env_steps == 77
    first_actions, second_actions = (
        Acting(one.policy, one.rng).act({ONLY: observations}) for one in (first, second)
    )
    np.testing.assert_array_equal(first_actions, second_actions)
    assert torch.equal(first.generator.get_state(), second.generator.get_state())
    assert first.episodes.next(0) == second.episodes.next(0)
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


def test_a_failed_write_keeps_the_old_checkpoint_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, learner().checkpoint())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as good as a full disk
    try:
        with pytest.raises(CheckpointError, match="cannot write checkpoint"):
            save(path, learner().checkpoint())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="file/checkpoint"):
        save(tmp_path / "file" / "checkpoint.pt", learner().checkpoint())


@pytest.mark.parametrize(
    "content", [b"", b"garbage", pickle.dumps({"version": 1}, 2), pickle.dumps(print, 2)]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"cannot read checkpoint {path}"):
        load(path)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, learner().checkpoint())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot read checkpoint"):
        load(path)


def test_a_missing_checkpoint_and_one_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load(tmp_path / "none.pt")
    torch.save({"version": 99, "config": {}, "counters": {}, "states": {}}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="version 99, not 2"):
        load(tmp_path / "new.pt")


def test_another_configuration_is_refused_with_the_differing_keys() -> None:
    checkpoint = learner(decode({"policy": {"hidden": [8]}})).checkpoint()
    with pytest.raises(CheckpointError) as refused:
        check_fits(checkpoint, decode({"policy": {"hidden": [16]}, "ppo": {"gamma": 0.9}}))
    assert "policy.hidden (checkpoint (8,), now (16,))" in str(refused.value)
    assert "ppo.gamma (checkpoint 0.985, now 0.9)" in str(refused.value)


def test_length_seed_and_servers_may_differ() -> None:
    checkpoint = learner(decode({"policy": {"hidden": [8]}})).checkpoint()
    check_fits(
        checkpoint,
        decode({"policy": {"hidden": [8]}, "train": {"total_steps": 5}, "servers": {"sessions": 7}}),
    )


def test_weights_of_another_shape_are_refused() -> None:
    small = learner(decode({"policy": {"hidden": [8]}})).checkpoint()
    with pytest.raises(CheckpointError, match="does not fit"):
        learner(decode({"policy": {"hidden": [16]}})).restore(small)


def keep(store: Store, steps: int, success_rate: float | None = None) -> tuple[Path, bool]:
    subject = learner()
    subject.counters.env_steps = steps
    checkpoint = subject.checkpoint()
    checkpoint.score = None if success_rate is None else Score(0, success_rate, 1.0)
    return store.save(checkpoint)


def test_the_newest_few_and_the_best_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep", kept=2)
    rates = {10: None, 20: 0.5, 30: 0.9, 40: 0.9, 50: 0.1, 60: None, 70: 0.2}
    best = [steps for steps, rate in rates.items() if keep(store, steps, rate)[1]]
    assert best == [10, 20, 30, 40]
    kept = {file.name: load(file).counters.env_steps for file in (tmp_path / "deep").iterdir()}
    assert kept == {"checkpoint-000000000060.pt": 60, "checkpoint-000000000070.pt": 70, NEWEST: 70, BEST: 40}
    assert load(tmp_path / "deep" / BEST).score == Score(0, 0.9, 1.0)


def test_a_later_stage_counts_more_than_any_success_in_an_earlier_one() -> None:
    assert Score(1, 0.1, 0.0) > Score(0, 1.0, 9.0) > Score(0, 0.9, 99.0) > Score(0, 0.9, 1.0)


def test_after_going_on_from_an_older_one_the_newest_are_those_written_last(tmp_path: Path) -> None:
    store = Store(tmp_path, kept=2)
    for steps in (100, 200, 300, 50, 60):
        keep(store, steps)
    assert {load(file).counters.env_steps for file in tmp_path.glob("checkpoint-*")} == {50, 60}


def test_the_newest_is_found_in_a_run_a_folder_or_by_itself(tmp_path: Path) -> None:
    path, _ = keep(Store(tmp_path / "run" / "checkpoints", kept=2), 5)
    newest = tmp_path / "run" / "checkpoints" / NEWEST
    assert find(tmp_path / "run") == find(newest.parent) == find(newest) == newest
    assert find(path) == path
    with pytest.raises(CheckpointError, match=f"cannot find a checkpoint in {tmp_path}: "):
        find(tmp_path)


@pytest.mark.filterwarnings("ignore:This process")  # that it has threads: the child uses none of them
@pytest.mark.parametrize("further", range(6))
def test_a_process_killed_while_it_saves_leaves_whole_checkpoints_only(tmp_path: Path, further: int) -> None:
    """Killed a little later each time, it dies at another point of saving."""
    told, tells = os.pipe()
    if (child := os.fork()) == 0:
        _keep_for_ever(tmp_path, tells)
    os.close(tells)
    with open(told) as news:
        saved = [int(news.readline()) for _ in range(2 + further)][-1]
        time.sleep(0.0007 * further)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for name in (NEWEST, BEST):
        assert load(tmp_path / name).counters.env_steps >= saved
    assert all(load(file).counters.env_steps for file in tmp_path.glob("*.pt"))
    keep(Store(tmp_path, 2), 20_000)
    assert len(list(tmp_path.iterdir())) == 4


def _keep_for_ever(folder: Path, tells: int) -> NoReturn:
    try:
        for steps in itertools.count(1):
            keep(Store(folder, 2), steps, steps / 1e6)
            os.write(tells, f"{steps}\n".encode())
    finally:
        os._exit(1)


@pytest.mark.parametrize(
    ("observations", "actions", "said"),
    [
        (
            OBSERVATIONS,
            gymnasium.spaces.Discrete(3, start=1),
            r"actions are float32 \(2,\) in \[-1.0, 1.0\], and the environment's numbers from 1 to 3",
        ),
        (
            gymnasium.spaces.Dict(
                {"state": OBSERVATIONS, "bev": gymnasium.spaces.Box(0, 255, (1, 9), np.uint8)}
            ),
            ACTIONS,
            r"observations are float32 \(4,\) in \[-5.0, 5.0\], and the environment's "
            r"bev uint8 \(1, 9\) in \[0.0, 255.0\], state float32",
        ),
    ],
)
def test_spaces_that_do_not_fit_are_told_in_short(
    tmp_path: Path, observations: gymnasium.Space, actions: gymnasium.Space, said: str
) -> None:
    save(tmp_path / "checkpoint.pt", learner().checkpoint())
    other = Learner(decode({"policy": {"hidden": [8]}}), observations, actions)
    with pytest.raises(CheckpointError, match=said):
        other.restore(load(tmp_path / "checkpoint.pt"))

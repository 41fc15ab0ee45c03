from __future__ import annotations

import pickle
import resource
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from trainer.checkpoint import CheckpointError, check_fits, load, save
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
    first.policy.act({ONLY: observations}, first.generator)
    first.episodes.next(0)
    first.counters.env_steps = 77
    save(path, first.checkpoint())
    second = learner()
    second.restore(load(path))
    assert second.counters.env_steps == 77
    for one, two in zip(
        first.policy.act({ONLY: observations}, first.generator),
        second.policy.act({ONLY: observations}, second.generator),
        strict=True,
    ):
        torch.testing.assert_close(one, two, atol=0.0, rtol=0.0)
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
    with pytest.raises(CheckpointError, match="version 99, not 1"):
        load(tmp_path / "new.pt")


def test_another_configuration_is_refused_with_the_differing_keys() -> None:
    checkpoint = learner(decode({"policy": {"hidden": [8]}})).checkpoint()
    with pytest.raises(CheckpointError) as refused:
        check_fits(checkpoint, decode({"policy": {"hidden": [16]}, "ppo": {"gamma": 0.9}}))
    assert "policy.hidden (checkpoint (8,), now (16,))" in str(refused.value)
    assert "ppo.gamma (checkpoint 0.97, now 0.9)" in str(refused.value)


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

"""A training that is killed and resumed learns exactly what one learns that was never disturbed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from carlad.session.environment import Server
from tests.session.leaks import wait_until
from tests.trainer.test_train import on, training, updates
from trainer.checkpoint import NEWEST, Checkpoint, find, load

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("clean")]

LOCKSTEP = (
    "train.collect=lockstep",
    "train.checkpoint_every_updates=2",
    "train.eval_episodes=0",
    "train.picture_every_s=0",
    "ppo.batch_steps=128",
    "ppo.minibatch_steps=64",
    "train.total_steps=2048",
)
WITHIN_S = 180.0


def finished(out: Path, *overrides: str, resume: Path | None = None) -> Checkpoint:
    with training(out, *overrides, resume=resume) as process:
        assert process.wait(WITHIN_S) == 0, process.stderr and process.stderr.read()
    return load(find(out))


def same(one: object, two: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and torch.equal(one, two)
    if isinstance(one, dict):
        return (
            isinstance(two, dict)
            and one.keys() == two.keys()
            and all(same(one[key], two[key]) for key in one)
        )
    if isinstance(one, list | tuple):
        return isinstance(two, list | tuple) and len(one) == len(two) and all(map(same, one, two))
    return one == two


def test_killed_and_resumed_it_learns_bit_for_bit_the_same(server: Server, tmp_path: Path) -> None:
    straight = finished(tmp_path / "straight", *on(server), *LOCKSTEP)
    broken = tmp_path / "broken"
    newest = broken / "checkpoints" / NEWEST
    with training(broken, *on(server), *LOCKSTEP) as process:
        wait_until(lambda: newest.exists() and len(updates(broken)) >= 3, WITHIN_S)
        process.send_signal(signal.SIGKILL)
        process.wait(WITHIN_S)
    interrupted = load(find(broken)).counters
    assert 0 < interrupted.updates < straight.counters.updates
    resumed = finished(broken, resume=broken)
    assert resumed.counters.updates == straight.counters.updates
    assert resumed.counters.env_steps == straight.counters.env_steps
    for name in straight.states:
        assert same(straight.states[name], resumed.states[name]), name

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box

from carlad.session.members import Moved
from trainer.replay import Replay

BOXES = {"state": Box(-9, 9, (1,)), "bev": Box(0, 255, (1, 2, 2), np.uint8)}
CPU = torch.device("cpu")


def replay(capacity: int) -> Replay:
    return Replay(BOXES, torch.zeros(1), capacity, np.random.default_rng(0), pinned=False)


def seen(number: int) -> dict[str, np.ndarray]:
    return {
        "state": np.full(1, number, np.float32),
        "bev": np.full((1, 2, 2), number % 256, np.uint8),
    }


def moved(number: int, terminated: bool = False, truncated: bool = False, **info: object) -> Moved:
    return Moved(0, seen(number), float(number), terminated, truncated, dict(info))


def play(subject: Replay, first: int, steps: int) -> int:
    """Observations count on from `first`; step n is rewarded by n + 1. Returns the row that waits."""
    row = subject.add(seen(first))
    for number in range(first, first + steps):
        subject.acted([row], np.full((1, 1), number, np.float32))
        following = subject.add(seen(number + 1))
        subject.moved(row, moved(number + 1), following)
        row = following
    return row


def test_a_drawn_step_is_one_that_was_taken() -> None:
    subject = replay(50)
    play(subject, 0, 30)
    batch = subject.draw(500, CPU)
    numbers = batch.observations["state"][:, 0]
    assert set(numbers.tolist()) == set(range(30))
    assert torch.equal(batch.actions[:, 0], numbers)
    assert torch.equal(batch.rewards, numbers + 1)
    assert torch.equal(batch.following["state"][:, 0], numbers + 1)
    assert not batch.terminated.any()
    assert batch.observations["bev"].dtype == torch.uint8


def test_the_newest_steps_are_kept() -> None:
    subject = replay(10)
    play(subject, 0, 95)
    assert subject.steps == 9  # the newest observation waits for its step
    numbers = subject.draw(300, CPU).observations["state"][:, 0]
    assert set(numbers.tolist()) == set(range(86, 95))
    assert subject.newest(3, ["state"])["state"][:, 0].tolist() == [93, 94, 95]
    assert len(subject.newest(1000, ["state"])["state"]) == 10


def test_the_end_of_a_task_leads_nowhere_and_a_cut_off_episode_to_its_last_observation() -> None:
    subject = replay(10)
    ended, cut = subject.add(seen(1)), subject.add(seen(2))
    subject.acted([ended, cut], np.zeros((2, 1), np.float32))
    subject.moved(ended, moved(5, terminated=True), None)
    subject.moved(cut, moved(6, truncated=True), subject.add_last(seen(6)))
    batch = subject.draw(100, CPU)
    ends = batch.observations["state"][:, 0] == 1
    assert torch.equal(batch.terminated, ends)
    assert (batch.following["state"][~ends] == 6).all()


def test_a_lost_step_is_left_out() -> None:
    subject = replay(10)
    lost = play(subject, 0, 2)
    subject.acted([lost], np.zeros((1, 1), np.float32))
    subject.moved(lost, moved(2, truncated=True, sim_lost={}), None)
    assert subject.steps == 2
    assert subject.draw(50, CPU).rewards.max() == 2


def test_a_step_that_took_longer_than_the_ring_goes_round_is_left_out() -> None:
    subject = replay(10)
    slow = subject.add(seen(77))
    subject.acted([slow], np.zeros((1, 1), np.float32))
    play(subject, 0, 30)
    subject.moved(slow, moved(78), subject.add(seen(78)))
    assert 77 not in subject.draw(300, CPU).observations["state"]


def test_the_same_generator_draws_the_same() -> None:
    one, two = replay(20), replay(20)
    play(one, 0, 15)
    play(two, 0, 15)
    assert torch.equal(one.draw(8, CPU).rewards, two.draw(8, CPU).rewards)
    assert not torch.equal(one.draw(8, CPU).rewards, one.draw(8, CPU).rewards)

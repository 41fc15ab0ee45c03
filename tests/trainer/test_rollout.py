"""Batches from real host processes, and evaluations on them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from carlad.session.members import Members
from tests.session.environments import Quiet
from tests.session.members import sessions
from trainer import spaces
from trainer.config import PolicyConfig, PPOConfig
from trainer.curriculum import Curriculum, CurriculumConfig
from trainer.drivers import Greedy, Random, Straight
from trainer.env.config import RouteConfig
from trainer.episodes import Episodes, evaluation_seeds
from trainer.evaluate import Task, evaluate
from trainer.policy import ActorCritic
from trainer.ppo import Batch
from trainer.rollout import Collector, Rollout
from trainer.scores import Result

pytestmark = pytest.mark.usefixtures("clean")

CONFIG = PPOConfig(batch_steps=12, minibatch_steps=12, gamma=0.9, gae_lambda=1.0)


BOXES = spaces.boxes(Quiet.observation_space)


def policy() -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(BOXES, Quiet.action_space, PolicyConfig(hidden=(8,)))


def collector(vector: Members, learner: ActorCritic, lockstep: bool = False) -> Collector:
    episodes = Episodes(1, len(vector.phases()), Curriculum(CurriculumConfig(), RouteConfig()))
    return Collector(vector, BOXES, learner, CONFIG, episodes, np.random.default_rng(0), lockstep)


def observed(batch: Batch) -> torch.Tensor:
    return batch.seen(BOXES)[spaces.ONLY]


def tasks(run_seed: int, count: int) -> list[Task]:
    return [Task(seed) for seed in evaluation_seeds(run_seed, count)]


def never() -> bool:
    return False


def test_a_batch_holds_what_was_seen_done_and_earned(tmp_path: Path) -> None:
    learner = policy()
    with sessions(1, tmp_path, length=4) as vector:
        batch = collector(vector, learner).collect(never)
    assert batch is not None
    observations = observed(batch)
    assert observations.shape == (12, 2)
    assert {part.dtype for part in (observations, *batch[2:])} == {torch.float32}
    for t in range(3):  # the environment adds the actions up
        torch.testing.assert_close(observations[t] + batch.actions[t], observations[t + 1])
    again, _, values = learner.evaluate(batch.seen(BOXES), batch.actions)
    torch.testing.assert_close(again.detach(), batch.log_probabilities)
    torch.testing.assert_close(batch.returns, batch.advantages + values.detach())


def test_a_truncated_episode_is_bootstrapped_from_its_last_observation(tmp_path: Path) -> None:
    learner = policy()
    with sessions(1, tmp_path, length=4) as vector:
        batch = collector(vector, learner).collect(never)
    assert batch is not None
    last = learner.values({spaces.ONLY: observed(batch)[3:4] + batch.actions[3:4]})[0]
    rewards = batch.actions[:4, 0]  # this environment does not clip
    expected = sum(0.9**t * rewards[t] for t in range(4)) + 0.9**4 * last
    torch.testing.assert_close(batch.returns[0], expected)


def test_a_batch_can_be_judged_anew_in_another_scale(tmp_path: Path) -> None:
    learner = policy()
    with sessions(1, tmp_path, length=4) as vector:
        experience = collector(vector, learner)
        before = experience.collect(never)
        assert before is not None
        assert not learner.has_scale
        learner.learn_scale(before.seen(learner.norms))
        assert learner.has_scale
        after = experience.batch()
    log_probabilities, values = learner.judged(after.seen(BOXES), after.actions)
    torch.testing.assert_close(after.log_probabilities, log_probabilities)
    torch.testing.assert_close(after.returns - after.advantages, values)
    assert not torch.allclose(after.returns - after.advantages, before.returns - before.advantages)
    torch.testing.assert_close(after.actions, before.actions)


def test_batches_follow_each_other_without_losing_a_step(tmp_path: Path) -> None:
    with sessions(1, tmp_path, length=1000) as vector:
        steps = collector(vector, policy())
        first = steps.collect(never)
        assert first is not None
        led_to = observed(first)[-1] + first.actions[-1]
        second = steps.collect(never)
    assert second is not None
    torch.testing.assert_close(led_to, observed(second)[0])


def test_steps_under_way_keep_the_log_probabilities_of_the_policy_that_chose_them(tmp_path: Path) -> None:
    learner = policy()
    with sessions(3, tmp_path, length=1000) as vector:
        steps = collector(vector, learner)
        assert steps.collect(never) is not None
        under_way, waiting = steps.player.under_way(), steps.player.waiting
        old = copy.deepcopy(learner)
        with torch.no_grad():
            learner.actor.bias += 1.0
        batch = steps.collect(never)
    assert batch is not None
    carried = batch.rows < len(under_way) - waiting
    assert (~carried).any()
    for chosen, chooser in ((carried, old), (~carried, learner)):
        expected, _ = chooser.judged(batch.seen(BOXES, chosen), batch.actions[chosen])
        torch.testing.assert_close(batch.log_probabilities[chosen], expected)


def test_finished_episodes_are_reported_with_return_and_length(tmp_path: Path) -> None:
    with sessions(1, tmp_path, length=4) as vector:
        steps = collector(vector, policy())
        batch = steps.collect(never)
        assert batch is not None
        finished = steps.player.finished
        assert [episode.length for episode in finished] == [4, 4, 4]
        assert finished[0].episodic_return == pytest.approx(float(batch.actions[:4, 0].sum()), rel=1e-5)
        assert finished[0].info["success"] is True


def test_a_lost_step_is_left_out_and_its_episode_not_reported(tmp_path: Path) -> None:
    config = {"marker": str(tmp_path / "marker"), "fault": "abort"}
    with sessions(1, tmp_path, "OnceOnly", length=4, **config) as vector:
        steps = collector(vector, policy())
        batch = steps.collect(never)
        assert batch is not None
        assert len(batch.actions) == 11
        assert np.isfinite(batch.returns.numpy()).all()
        assert [episode.length for episode in steps.player.finished] == [4, 4]
        assert vector.losses == 1


def test_what_nobody_has_acted_on_yet_has_an_action_that_there_is() -> None:
    used_before = torch.full((4096,), 2**40)  # memory that is taken anew holds what it held
    del used_before
    rollout = Rollout(BOXES, torch.zeros((), dtype=torch.int64), 4096, torch.device("cpu"))
    assert not rollout.actions.any()


def test_several_environments_fill_one_batch(tmp_path: Path) -> None:
    with sessions(3, tmp_path, length=5) as vector:
        batch = collector(vector, policy()).collect(never)
    assert batch is not None
    assert 12 <= len(batch.actions) < 15


def test_stop_ends_the_collecting(tmp_path: Path) -> None:
    answers = iter([False, False, False])
    with sessions(1, tmp_path) as vector:
        assert collector(vector, policy()).collect(lambda: next(answers, True)) is None


def test_an_evaluation_drives_each_seed_once_also_after_a_loss(tmp_path: Path) -> None:
    config = {"marker": str(tmp_path / "marker"), "fault": "abort"}
    with sessions(2, tmp_path, "OnceOnly", **config) as vector:
        vector.spaces(30.0, lambda: False)
        evaluation = evaluate(vector, Greedy(policy()), tasks(1, 7), never)
        assert vector.losses == 1
    assert evaluation is not None
    assert [result.seed for result in evaluation] == evaluation_seeds(1, 7)
    assert all(result.success and result.steps == 3 for result in evaluation)


def test_an_evaluation_is_the_same_each_time_in_the_order_of_its_tasks(tmp_path: Path) -> None:
    drivers = [Greedy(policy()), Random(Quiet.action_space), Straight(Quiet.action_space, ())]
    outcomes = []
    for name, count in (("one", 1), ("three", 3)):
        (tmp_path / name).mkdir()
        with sessions(count, tmp_path / name, length=5) as vector:
            vector.spaces(30.0, lambda: False)
            outcomes.append([evaluate(vector, driver, tasks(1, 5), never) for driver in drivers])
    assert outcomes[0] == outcomes[1]
    assert None not in outcomes[0]


def test_who_wants_to_hear_is_told_of_each_result(tmp_path: Path) -> None:
    told: list[Result] = []
    with sessions(2, tmp_path) as vector:
        vector.spaces(30.0, lambda: False)
        results = evaluate(
            vector, Greedy(policy()), [Task(1, None, "a"), Task(2, {"x": 1}, "b")], never, told.append
        )
    assert results is not None
    assert sorted(result.route for result in told) == [result.route for result in results] == ["a", "b"]


def test_an_evaluation_begins_in_the_middle_of_training_episodes(tmp_path: Path) -> None:
    with sessions(2, tmp_path, length=5) as vector:
        assert collector(vector, policy()).collect(never) is not None
        evaluation = evaluate(vector, Greedy(policy()), tasks(1, 3), never)
    assert evaluation is not None
    assert len(evaluation) == 3


def test_in_lockstep_the_same_state_gives_the_same_experience(tmp_path: Path) -> None:
    batches = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with sessions(3, tmp_path / name, length=5) as vector:
            batch = collector(vector, policy(), lockstep=True).collect(never)
            assert batch is not None
            batches.append((observed(batch).clone(), batch.actions.clone(), batch.returns.clone()))
    for one, two in zip(*batches, strict=True):
        assert torch.equal(one, two)
    assert len(batches[0][1]) == 12


def test_in_lockstep_a_restarted_collector_goes_on_as_a_new_one_in_its_state(tmp_path: Path) -> None:
    """What a checkpoint relies on: policy, generator and cursors are all that there is."""
    with sessions(2, tmp_path, length=7) as vector:
        first = collector(vector, policy(), lockstep=True)
        assert first.collect(never) is not None
        rng, episodes = first.player._acting._rng, first.player._episodes
        state, cursors = rng.bit_generator.state, episodes.state()
        first.player.restart()
        went_on = first.collect(never)
        assert went_on is not None
        expected = observed(went_on).clone()
    (tmp_path / "again").mkdir()
    with sessions(2, tmp_path / "again", length=7) as vector:
        second = collector(vector, policy(), lockstep=True)
        second.player._acting._rng.bit_generator.state = state
        second.player._episodes.restore(cursors)
        resumed = second.collect(never)
        assert resumed is not None
        assert torch.equal(observed(resumed), expected)

from __future__ import annotations

import msgspec
import pytest

from trainer.curriculum import Curriculum, CurriculumConfig
from trainer.env.config import RouteConfig
from trainer.episodes import Episodes, EpisodesState, evaluation_seeds

STAGES = {"window": 1, "stages": [{"name": "a"}, {"name": "b", "env": {"route_max_m": 200.0}}]}


def episodes(environments: int, run_seed: int = 1) -> Episodes:
    curriculum = Curriculum(msgspec.convert(STAGES, CurriculumConfig), RouteConfig())
    return Episodes(run_seed, environments, curriculum)


def test_an_environments_episodes_do_not_depend_on_the_others_pace() -> None:
    one, two = episodes(2), episodes(2)
    for _ in range(5):
        one.next(0)
    assert [one.next(1).seed for _ in range(3)] == [two.next(1).seed for _ in range(3)]


def test_seeds_are_not_repeated_and_are_int32() -> None:
    subject, other = episodes(3), episodes(1, run_seed=2)
    seeds = [subject.next(i).seed for i in range(3) for _ in range(50)] + [other.next(0).seed]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_an_episode_is_from_the_present_stage() -> None:
    subject = episodes(1)
    assert subject.next(0)[1:] == ({"config": {"route_max_m": 120.0}}, 0)
    assert subject.curriculum.note(0, True)
    assert subject.next(0)[1:] == ({"config": {"route_max_m": 200.0}}, 1)


def test_restored_episodes_go_on_as_those_that_were_saved() -> None:
    one, two = episodes(2), episodes(2)
    one.next(1)
    one.curriculum.note(0, True)
    two.restore(msgspec.convert(msgspec.to_builtins(one.state()), EpisodesState))
    assert [two.next(0), two.next(1)] == [one.next(0), one.next(1)]


@pytest.mark.parametrize("environments", [1, 3])
def test_the_number_of_environments_may_change(environments: int) -> None:
    one, two = episodes(2), episodes(environments)
    one.next(0)
    two.restore(one.state())
    assert two.next(0) == one.next(0)
    assert len(two.state().cursors) == environments


def test_evaluation_seeds_are_the_runs_own() -> None:
    assert evaluation_seeds(1, 5) == evaluation_seeds(1, 5)
    assert evaluation_seeds(1, 3) == evaluation_seeds(1, 5)[:3]
    assert not set(evaluation_seeds(1, 50)) & set(evaluation_seeds(2, 50))

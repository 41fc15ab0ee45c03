from __future__ import annotations

import math
from typing import Any

import pytest

from trainer.figures import EPISODES_AVERAGED, Figures, Round, averages
from trainer.player import Episode


def episode(success: bool = True, **info: Any) -> Episode:
    told = {"success": success, "route_completion": 1.0 if success else 0.5, "reason": "success", **info}
    return Episode(2.0, 10, told, {"progress": 3.0, "speeding": -1.0})


def round_(**fields: Any) -> Round:
    default = {
        "env_steps": 100,
        "spent_s": {"collect": 0.5, "learn": 0.25},
        "finished": [],
        "lost": [],
        "losses": {"policy": 0.1},
        "servers": 2,
    }
    return Round(**{**default, **fields})


def test_speeds_are_of_all_of_the_environments_and_of_the_learner() -> None:
    figures = Figures(2)
    figures.add(round_(spent_s={"collect": 1.5, "learn": 0.5, "save": 0.25}), 2.25, 0)
    seen = figures.add(round_(), 3.0, 0)
    assert seen["charts/sps"] == pytest.approx(200 / 3.0)
    assert (seen["charts/sps_env"], seen["charts/sps_learner"]) == (200.0, 400.0)
    assert (seen["time/collect_s"], seen["time/learn_s"]) == (0.5, 0.25)


def test_mean_time_between_failures_is_one_servers_and_recovery_the_last_losses() -> None:
    figures = Figures(4)
    assert "sims/mtbf_s" not in figures.add(round_(), 10.0, 0)
    seen = figures.add(round_(lost=[{"recovery_s": 1.0}, {"recovery_s": 3.0}]), 100.0, 2)
    assert (seen["sims/mtbf_s"], seen["sims/recovery_s"]) == (200.0, 2.0)
    assert (seen["charts/sim_lost"], seen["sims/servers"]) == (2, 2.0)


def test_rewards_infractions_and_ends_are_means_over_the_last_episodes() -> None:
    figures = Figures(1)
    finished = [episode(infractions={"red_light": 2}), episode(False, reason="collision")]
    seen = figures.add(round_(finished=finished), 1.0, 0)
    assert (seen["reward/progress"], seen["reward/speeding"]) == (3.0, -1.0)
    assert seen["infractions/red_light"] == 1.0
    assert (seen["ends/collision"], seen["ends/success"]) == (0.5, 0.5)
    assert (seen["charts/success_rate"], seen["charts/route_completion"]) == (0.5, 0.75)
    figures.add(round_(finished=[episode()] * EPISODES_AVERAGED), 1.0, 0)
    assert figures.add(round_(), 1.0, 0)["charts/success_rate"] == 1.0


def test_before_the_first_episode_there_are_no_averages_and_all_figures_are_numbers() -> None:
    assert averages([]) == {}
    seen = Figures(1).add(round_(stage=2), 0.0, 0)
    assert "charts/success_rate" not in seen
    assert seen["curriculum/stage"] == 2.0
    assert all(math.isfinite(value) for value in seen.values())


def test_scores_are_averaged_where_the_environment_gives_them() -> None:
    both = [episode(driving_score_2_0=40.0, driving_score_2_1=60.0), episode(driving_score_2_0=80.0)]
    seen = averages(both)
    assert (seen["driving_score_2_0"], seen["driving_score_2_1"]) == (60.0, 60.0)

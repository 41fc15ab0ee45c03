from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carlad.errors import ConfigError
from trainer.curriculum import Curriculum, CurriculumConfig, StageConfig, Standing
from trainer.env.config import RouteConfig

SHORT = {"name": "short", "env": {"route_min_m": 20.0, "route_max_m": 40.0}}
LONG = {"name": "long", "env": {"route_max_m": 300.0, "reward": {"weights": {"progress": 0.5}}}}
HARD = {"name": "hard", "env": {"blocked_after_s": 2.0}}


def curriculum(window: int = 4, *stages: dict[str, Any], env: RouteConfig | None = None) -> Curriculum:
    table = {"window": window, "promote_at": 0.75, "demote_at": 0.25, "stages": stages or (SHORT, LONG, HARD)}
    return Curriculum(msgspec.convert(table, CurriculumConfig), env or RouteConfig())


def play(subject: Curriculum, results: str) -> list[int]:
    """The stage after each episode; "+" is a success."""
    stages = []
    for result in results:
        subject.note(subject.stage, result == "+")
        stages.append(subject.stage)
    return stages


@pytest.mark.parametrize(
    ("results", "stages"),
    [
        ("+++", [0, 0, 0]),  # a window is not full
        ("++++", [0, 0, 0, 1]),
        ("+-++", [0, 0, 0, 1]),
        ("+-+-", [0, 0, 0, 0]),
        ("--+-++++", [0, 0, 0, 0, 0, 1, 1, 1]),  # the window slides
        ("++++----", [0, 0, 0, 1, 1, 1, 1, 0]),
        ("++++-+--", [0, 0, 0, 1, 1, 1, 1, 0]),
        ("++++++++++++", [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]),  # there is nothing after the last
        ("--------", [0] * 8),  # nor before the first
    ],
)
def test_success_promotes_and_failure_demotes(results: str, stages: list[int]) -> None:
    assert play(curriculum(), results) == stages


def test_episodes_that_began_in_another_stage_do_not_count() -> None:
    subject = curriculum()
    play(subject, "++++")
    assert not any(subject.note(0, False) for _ in range(10))
    assert (subject.stage, subject.standing()) == (1, Standing("long"))


def test_each_stage_sets_what_any_other_stage_sets_too() -> None:
    subject = curriculum(1)
    seen = [subject.options()]
    for _ in range(2):
        subject.note(subject.stage, True)
        seen.append(subject.options())
    short, long, hard = (options["config"] for options in seen if options)
    assert short.keys() == long.keys() == hard.keys()
    assert (short["route_max_m"], long["route_max_m"], hard["route_max_m"]) == (40.0, 300.0, 120.0)
    assert (short["reward"]["weights"], long["reward"]["weights"]) == ({}, {"progress": 0.5})
    assert long["reward"]["preset"] == "simple"
    assert (short["blocked_after_s"], hard["blocked_after_s"]) == (5.0, 2.0)
    whole = subject.whole()
    assert whole is not None
    assert whole["config"].keys() == hard.keys()
    assert (whole["config"]["route_max_m"], whole["config"]["blocked_after_s"]) == (120.0, 5.0)


def test_without_stages_there_are_no_options_and_no_changes() -> None:
    subject = Curriculum(CurriculumConfig(), RouteConfig())
    assert subject.options() is subject.whole() is None
    assert not any(subject.note(0, True) for _ in range(200))
    subject.restore(subject.standing())
    assert (subject.stage, subject.name) == (0, "")


@given(st.text("+-", max_size=60), st.text("+-", max_size=60), st.integers(1, 8))
def test_a_restored_curriculum_goes_on_as_the_one_that_was_saved(
    before: str, after: str, window: int
) -> None:
    one, two = curriculum(window), curriculum(window)
    play(one, before)
    saved = msgspec.convert(msgspec.to_builtins(one.standing()), Standing)
    two.restore(saved)
    assert play(two, after) == play(one, after)
    assert two.standing() == one.standing()


def test_a_stage_that_is_gone_is_named() -> None:
    with pytest.raises(ValueError, match=r"no stage 'old' in the curriculum: short, long, hard"):
        curriculum().restore(Standing("old"))


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (
            {"name": "odd", "env": {"rout_min_m": 3}},
            r"stage 'odd': env.rout_min_m: no such key; did you mean route_min_m\?",
        ),
        ({"name": "odd", "env": {"route_max_m": 10.0}}, "stage 'odd': env.route_max_m 10 is below"),
        (
            {"name": "odd", "env": {"reward": {"preset": 1}}},
            "stage 'odd': env.reward.preset: .*got `int`",
        ),
    ],
)
def test_a_stage_that_is_no_environment_is_refused(stage: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        curriculum(4, SHORT, stage)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"promote_at": 0.5, "demote_at": 0.5}, "demote_at 0.5 is not below promote_at 0.5"),
        ({"stages": [SHORT, SHORT]}, "stages have the same name: short"),
        ({"stages": [{"name": ""}]}, "stages"),
        ({"window": 0}, "window"),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused(table: dict[str, Any], reason: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert(table, CurriculumConfig)


def test_a_stage_may_be_just_a_name() -> None:
    assert curriculum(1, {"name": "all"}).options() == {"config": {}}
    assert StageConfig(name="all").env == {}

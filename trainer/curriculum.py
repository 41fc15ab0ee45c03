"""The curriculum: which stage of the task the next episode is from. No environment, no clock, no files."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from carlad import toml
from carlad.errors import ConfigError
from trainer.composition import merged
from trainer.env.config import RouteConfig

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stage: what differs from [env] in it."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    env: dict[
        str, Any
    ] = {}  # any keys of [env], such as the map, the route's length, traffic, weather, reward


class CurriculumConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stages from easy to hard; without stages every episode is as [env] says."""

    promote_at: Share = 0.8  # success rate over the window
    demote_at: Share = 0.2  # of a stage that turns out to be too hard
    window: Annotated[int, msgspec.Meta(ge=1)] = 50  # episodes: a rate of 0.8 is known to within 0.06 then
    stages: tuple[StageConfig, ...] = ()

    def __post_init__(self) -> None:
        if self.demote_at >= self.promote_at:
            raise ValueError(f"demote_at {self.demote_at:g} is not below promote_at {self.promote_at:g}")
        names = [stage.name for stage in self.stages]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"stages have the same name: {', '.join(twice)}")


class Standing(msgspec.Struct, frozen=True):
    """Where a curriculum is, for a checkpoint: the stage's name and its last results, the oldest first."""

    stage: str
    results: tuple[bool, ...] = ()


class Curriculum:
    """Moves between stages by the success rate over the last `window` episodes of the present one."""

    def __init__(self, config: CurriculumConfig, env: RouteConfig) -> None:
        """Raises ConfigError for a stage that is no possible environment."""
        self._config = config
        *self._options, self._whole = episode_options((*config.stages, StageConfig(name="[env]")), env)
        self._stage = 0
        self._results: deque[bool] = deque(maxlen=config.window)

    @property
    def stage(self) -> int:
        """The present stage, from 0; 0 also where there are none."""
        return self._stage

    @property
    def name(self) -> str:
        """The present stage's; empty where there are none."""
        return self._config.stages[self._stage].name if self._config.stages else ""

    def options(self) -> dict[str, Any] | None:
        """What the next episode's `reset` gets; None where there are no stages."""
        return {"config": self._options[self._stage]} if self._options else None

    def whole(self) -> dict[str, Any] | None:
        """What an episode of [env] itself gets, as evaluations do, whatever stage was before it."""
        return {"config": self._whole} if self._options else None

    def note(self, stage: int, success: bool) -> bool:
        """Take in an episode that began in `stage`; whether the stage changed by it.

        Episodes of another stage than the present one, begun before a change, do not count.
        """
        if stage != self._stage or not self._config.stages:
            return False
        self._results.append(success)
        if len(self._results) < self._config.window:
            return False
        rate = sum(self._results) / len(self._results)
        if rate >= self._config.promote_at and self._stage < len(self._config.stages) - 1:
            return self._enter(self._stage + 1)
        if rate <= self._config.demote_at and self._stage > 0:
            return self._enter(self._stage - 1)
        return False

    def standing(self) -> Standing:
        """For the checkpoint."""
        return Standing(self.name, tuple(self._results))

    def restore(self, standing: Standing) -> None:
        """Go on from there. Raises ValueError for a stage that there is not."""
        names = [stage.name for stage in self._config.stages] or [""]
        if standing.stage not in names:
            raise ValueError(f"there is no stage {standing.stage!r} in the curriculum: {', '.join(names)}")
        self._enter(names.index(standing.stage))
        self._results.extend(standing.results)

    def _enter(self, stage: int) -> bool:
        self._stage = stage
        self._results.clear()
        return True


def episode_options(stages: Sequence[StageConfig], env: RouteConfig) -> list[dict[str, Any]]:
    """For each stage the values of all keys that any stage sets, so that nothing of a stage outlasts it.

    Raises ConfigError, naming the stage and the key, where a stage does not fit [env].
    """
    keys = sorted({key for stage in stages for key in stage.env})
    wholes = [msgspec.to_builtins(_whole(stage, env)) for stage in stages]
    return [{key: whole[key] for key in keys} for whole in wholes]


def _whole(stage: StageConfig, env: RouteConfig) -> RouteConfig:
    below: dict[str, Any] = msgspec.to_builtins(env)
    try:
        return toml.decode(merged(below, stage.env), RouteConfig)
    except ConfigError as error:
        raise ConfigError(f"curriculum stage {stage.name!r}: env.{error}") from error

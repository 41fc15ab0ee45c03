"""The weather of an episode: presets and ranges of carla.WeatherParameters, drawn by the episode's seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import carla
import numpy as np

from trainer.env.config import WeatherConfig


def presets() -> dict[str, Any]:
    """CARLA's own, by name."""
    found = ((name, getattr(carla.WeatherParameters, name)) for name in dir(carla.WeatherParameters))
    return {name: value for name, value in found if isinstance(value, carla.WeatherParameters)}


def parameters() -> list[str]:
    """The names of all numbers that make up a weather."""
    default = carla.WeatherParameters()
    return [
        name
        for name in dir(default)
        if not name.startswith("_") and isinstance(getattr(default, name), float)
    ]


def check(config: WeatherConfig) -> None:
    """Raises ValueError naming a preset or a parameter that CARLA does not have, or a range that is none."""
    for name in config.presets:
        preset(name)
    for name, (low, high) in config.ranges.items():
        _check_parameter(name)
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(f"cannot use weather.ranges.{name} [{low:g}, {high:g}]: write [low, high]")


def preset(name: str) -> Any:
    """A copy of CARLA's preset. Raises ValueError for an unknown one."""
    known = presets()
    if name not in known:
        raise ValueError(f"cannot set the weather {name!r}: CARLA's presets are {', '.join(sorted(known))}")
    return changed(known[name], {})


def changed(weather: Any, values: Mapping[str, float]) -> Any:
    """A copy with other values. Raises ValueError for an unknown parameter."""
    copy = carla.WeatherParameters()
    for name in parameters():
        setattr(copy, name, getattr(weather, name))
    for name, value in values.items():
        _check_parameter(name)
        setattr(copy, name, float(value))
    return copy


def draw(config: WeatherConfig, found: Any, rng: np.random.Generator) -> Any:
    """The weather for an episode; `found`, the server's own, where nothing is configured."""
    weather = found
    if config.presets:
        weather = preset(config.presets[int(rng.integers(len(config.presets)))])
    ranged = {name: float(rng.uniform(low, high)) for name, (low, high) in sorted(config.ranges.items())}
    return changed(weather, ranged) if ranged else weather


def _check_parameter(name: str) -> None:
    if name not in parameters():
        raise ValueError(f"cannot set the weather's {name!r}: its parameters are {', '.join(parameters())}")

"""What a policy sees and does: an observation as named arrays, and the spaces that can be learned with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.spaces import Box, Discrete

from carlad.errors import ConfigError
from carlad.session.arrays import Array

ONLY = "observation"  # the key of an observation that is a plain array

Boxes = dict[str, Box]
Action = Box | Discrete


def parts(observation: Any) -> Mapping[str, Array]:
    """The observation by keys."""
    return observation if isinstance(observation, dict) else {ONLY: observation}


def boxes(space: gymnasium.Space[Any]) -> Boxes:
    """The observation space by keys. Raises ConfigError for one that holds anything but boxes."""
    found = dict(space.spaces) if isinstance(space, gymnasium.spaces.Dict) else {ONLY: space}
    for key, part in found.items():
        if not isinstance(part, Box):
            raise ConfigError(f"cannot learn from the observation {key!r}, {part}: it is no Box")
    return found  # type: ignore[return-value]


def action(space: gymnasium.Space[Any]) -> Action:
    """The action space. Raises ConfigError for one that is neither a Box of one dimension nor Discrete."""
    if isinstance(space, Discrete) or (isinstance(space, Box) and len(space.shape) == 1):
        return space
    raise ConfigError(f"cannot learn to act in {space}: it is neither a Box of one dimension nor Discrete")

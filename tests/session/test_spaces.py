from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from carlad import spaces
from carlad.session.protocol import ProtocolError
from carlad.session.spaces import build, describe, from_arrays, to_arrays

SPACES = [
    gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32),
    gymnasium.spaces.Box(0, 255, (3, 8, 8), np.uint8),
    gymnasium.spaces.Box(np.array([-np.inf, 0.0]), np.array([np.inf, 2.0]), dtype=np.float64),
    gymnasium.spaces.Box(-1.0, 1.0, (), np.float32),
    gymnasium.spaces.Discrete(5),
    gymnasium.spaces.Discrete(5, start=-2),
    gymnasium.spaces.Dict(
        {"bev": gymnasium.spaces.Box(0, 1, (4, 4), np.uint8), "state": gymnasium.spaces.Box(-1.0, 1.0, (3,))}
    ),
    gymnasium.spaces.Dict({"gear": gymnasium.spaces.Discrete(3), "speed": gymnasium.spaces.Box(-1.0, 1.0)}),
]


@pytest.mark.parametrize("space", SPACES)
def test_a_space_that_was_described_is_built_equal(space: gymnasium.Space[Any]) -> None:
    assert build(describe(space)) == space


@pytest.mark.parametrize("space", SPACES)
def test_an_element_survives_the_way_as_arrays(space: gymnasium.Space[Any]) -> None:
    space.seed(3)
    element = space.sample()
    received = from_arrays(describe(space), to_arrays(element), "action")
    assert space.contains(received)
    for name, array in to_arrays(element).items():
        np.testing.assert_array_equal(to_arrays(received)[name], array)


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Text(5),
        gymnasium.spaces.Dict({"n": gymnasium.spaces.Dict({})}),
        gymnasium.spaces.Box(0.0, 1.0, (2,), np.float16),
        gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)]),
    ],
)
def test_a_space_that_cannot_be_carried_is_refused(space: gymnasium.Space[Any]) -> None:
    with pytest.raises(ProtocolError, match="cannot serve"):
        describe(space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box([0.0], [1.0], [2], "object"),
        spaces.Box([0.0], [1.0], [-2], "float32"),
        spaces.Box([0.0, 0.0], [1.0], [3], "float32"),
        spaces.Box([], [], [2], "float32"),
        spaces.Discrete(0),
    ],
)
def test_a_description_of_no_space_is_refused(space: spaces.Space) -> None:
    with pytest.raises(ProtocolError, match="cannot build"):
        build(space)


@pytest.mark.parametrize(
    ("space", "element"),
    [
        (SPACES[0], np.zeros(3, np.float32)),
        (SPACES[0], np.zeros(2, np.float64)),
        (SPACES[0], np.array([np.nan, 0.0], np.float32)),
        (SPACES[0], np.array([np.inf, 0.0], np.float32)),
        (SPACES[4], np.array(5)),
        (SPACES[4], np.array(-1)),
        (SPACES[4], np.array(1.5)),
        (SPACES[6], np.zeros((4, 4), np.uint8)),
    ],
)
def test_an_element_that_does_not_fit_is_refused(space: gymnasium.Space[Any], element: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot use"):
        from_arrays(describe(space), to_arrays(element), "action")

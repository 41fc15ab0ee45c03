"""Gymnasium spaces to data and back, and their elements as named arrays."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from carlad.session.arrays import Array, dtype_name
from carlad.session.protocol import ProtocolError
from carlad.spaces import ITEM_BYTES, Box, DictOf, Discrete, Space

_KINDS = "a session carries Box, Discrete, and Dict of them"


def describe(space: gymnasium.Space[Any]) -> Space:
    """The space as data. Raises ProtocolError for a kind of space that the step protocol does not carry."""
    if isinstance(space, gymnasium.spaces.Dict):
        return DictOf({str(name): _describe_part(part) for name, part in space.spaces.items()})
    return _describe_part(space)


def build(space: Space) -> gymnasium.Space[Any]:
    """The Gymnasium space that was described. Raises ProtocolError if the description is no valid space."""
    try:
        if isinstance(space, DictOf):
            return gymnasium.spaces.Dict({name: _build_part(part) for name, part in space.spaces.items()})
        return _build_part(space)
    except (AssertionError, TypeError, ValueError) as error:
        raise ProtocolError(f"cannot build the space {space}: {error}") from error


def to_arrays(element: Any) -> dict[str, Array]:
    """An observation or action as named arrays: the parts of a Dict by key, anything else as ""."""
    if isinstance(element, dict):
        return {name: np.asarray(part) for name, part in element.items()}
    return {"": np.asarray(element)}


def from_arrays(space: Space, arrays: dict[str, Array], what: str) -> Any:
    """The element that was sent; `what` names it in errors.

    Raises ProtocolError where names, shape, dtype or finiteness do not fit.
    """
    parts = space.spaces if isinstance(space, DictOf) else {"": space}
    if parts.keys() != arrays.keys():
        raise ProtocolError(f"cannot use the arrays {sorted(arrays)}: expected {sorted(parts)}")
    elements = {
        name: _element(f"{what} {name!r}" if name else what, part, arrays[name])
        for name, part in parts.items()
    }
    return elements if isinstance(space, DictOf) else elements[""]


def _element(what: str, part: Box | Discrete, array: Array) -> Any:
    if isinstance(part, Discrete):
        if array.shape != () or array.dtype.kind != "i" or not part.start <= array < part.start + part.n:
            raise ProtocolError(
                f"cannot use the {what} {array!r}: expected one of {part.n} integers from {part.start}"
            )
        return int(array)
    if list(array.shape) != part.shape or dtype_name(array) != part.dtype:
        raise ProtocolError(
            f"cannot use the {what}: {array.dtype} {list(array.shape)}, not {part.dtype} {part.shape}"
        )
    if array.dtype.kind == "f" and 0 in np.isfinite(array).tobytes():  # quicker than all() where it is small
        raise ProtocolError(f"cannot use the {what}: it holds NaN or infinity")
    return array


def _describe_part(space: gymnasium.Space[Any]) -> Box | Discrete:
    if isinstance(space, gymnasium.spaces.Box):
        if space.dtype.name not in ITEM_BYTES:
            raise ProtocolError(f"cannot serve {space}: its dtype is none of {', '.join(ITEM_BYTES)}")
        return Box(_bounds(space.low), _bounds(space.high), list(space.shape), space.dtype.name)
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    raise ProtocolError(f"cannot serve {space}: {_KINDS}")


def _build_part(space: Box | Discrete) -> gymnasium.Space[Any]:
    if isinstance(space, Discrete):
        return gymnasium.spaces.Discrete(space.n, start=space.start)
    dtype, shape = np.dtype(space.dtype), tuple(space.shape)
    low = _bound(space.low, -math.inf, dtype, shape)
    high = _bound(space.high, math.inf, dtype, shape)
    return gymnasium.spaces.Box(low, high, dtype=dtype.type)


def _bound(values: list[float | None], unbounded: float, dtype: Any, shape: tuple[int, ...]) -> Array:
    numbers = [unbounded if value is None else value for value in values]
    return (
        np.full(shape, numbers[0], dtype) if len(numbers) == 1 else np.asarray(numbers, dtype).reshape(shape)
    )


def _bounds(values: Array) -> list[float | None]:
    """One number where all are the same."""
    flat = values.ravel()
    uniform = flat.size > 0 and bool((flat == flat[0]).all())
    return [_number(value) for value in (flat[:1] if uniform else flat)]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None

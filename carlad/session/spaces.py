"""Gymnasium spaces as data, and their elements as named arrays."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from carlad.session.protocol import Array, Box, DictOf, Discrete, ProtocolError, Space


def describe(space: gymnasium.Space[Any]) -> Space:
    """The space as data. Raises ProtocolError for a kind of space that the step protocol does not carry."""
    if isinstance(space, gymnasium.spaces.Box):
        return _describe_box(space)
    if isinstance(space, gymnasium.spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    if isinstance(space, gymnasium.spaces.Dict):
        parts = {name: part for name, part in space.spaces.items() if isinstance(part, gymnasium.spaces.Box)}
        if len(parts) == len(space.spaces):
            return DictOf({name: _describe_box(part) for name, part in parts.items()})
    raise ProtocolError(f"cannot serve {space}: a session carries Box, Discrete, and Dict of Box")


def build(space: Space) -> gymnasium.Space[Any]:
    """The Gymnasium space that was described. Raises ProtocolError if the description is no valid space."""
    try:
        if isinstance(space, Discrete):
            return gymnasium.spaces.Discrete(space.n, start=space.start)
        if isinstance(space, DictOf):
            return gymnasium.spaces.Dict({name: _build_box(part) for name, part in space.spaces.items()})
        return _build_box(space)
    except (AssertionError, TypeError, ValueError) as error:
        raise ProtocolError(f"cannot build the space {space}: {error}") from error


def to_arrays(element: Any) -> dict[str, Array]:
    """An observation or action as named arrays: the parts of a Dict by key, anything else as ""."""
    if isinstance(element, dict):
        return {name: np.asarray(part) for name, part in element.items()}
    return {"": np.asarray(element)}


def from_arrays(space: Space, arrays: dict[str, Array]) -> Any:
    """The element that was sent. Raises ProtocolError where names, shape, dtype or finiteness do not fit."""
    parts = space.spaces if isinstance(space, DictOf) else {"": space}
    if parts.keys() != arrays.keys():
        raise ProtocolError(f"cannot use the arrays {sorted(arrays)}: expected {sorted(parts)}")
    for name, part in parts.items():
        _check(name, part, arrays[name])
    if isinstance(space, DictOf):
        return arrays
    return int(arrays[""]) if isinstance(space, Discrete) else arrays[""]


def _check(name: str, part: Box | Discrete, array: Array) -> None:
    if isinstance(part, Discrete):
        if array.shape != () or array.dtype.kind != "i" or not part.start <= array < part.start + part.n:
            raise ProtocolError(f"cannot use {array!r}: expected one of {part.n} integers from {part.start}")
    elif list(array.shape) != part.shape or array.dtype != part.dtype:
        raise ProtocolError(
            f"cannot use array {name!r}: {array.dtype} {list(array.shape)}, not {part.dtype} {part.shape}"
        )
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ProtocolError(f"cannot use array {name!r}: it holds NaN or infinity")


def _describe_box(space: gymnasium.spaces.Box) -> Box:
    return Box(_bounds(space.low), _bounds(space.high), list(space.shape), space.dtype.name)


def _build_box(space: Box) -> gymnasium.spaces.Box:
    dtype, shape = np.dtype(space.dtype), tuple(space.shape)
    low, high = (
        np.full(shape, bound[0], dtype) if len(bound) == 1 else np.asarray(bound, dtype).reshape(shape)
        for bound in (space.low, space.high)
    )
    return gymnasium.spaces.Box(low, high, dtype=dtype.type)


def _bounds(values: Array) -> list[float]:
    flat = values.ravel()
    uniform = flat.size > 0 and bool((flat == flat[0]).all())
    return [float(flat[0])] if uniform else [float(value) for value in flat]

"""Gymnasium's spaces as data, so that they travel through processes that know no numpy."""

from __future__ import annotations

import math
from typing import Annotated, Union

import msgspec

# What a session carries, and the bytes of one item.
ITEM_BYTES = {"bool": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4, "float64": 8}

Length = Annotated[int, msgspec.Meta(ge=0)]


class _SpaceData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the kinds of spaces that a session carries."""


class Box(_SpaceData, frozen=True, tag="box"):
    """A box of numbers; `low` and `high` hold one number for all elements or one for each (flat, C order).

    An infinite bound of a floating dtype is None there: msgpack has infinity, JSON does not.
    """

    low: list[float | None]
    high: list[float | None]
    shape: list[Length]
    dtype: str

    @property
    def size_bytes(self) -> int:
        """Of one element. Raises KeyError for a dtype that no session carries."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class Discrete(_SpaceData, frozen=True, tag="discrete"):
    """The integers start, ..., start + n - 1."""

    n: int
    start: int = 0


class DictOf(_SpaceData, frozen=True, tag="dict"):
    """Several parts by name."""

    spaces: dict[str, Box | Discrete]


Space = Union[Box, Discrete, DictOf]  # noqa: UP007 - msgspec reads it at run time on Python 3.10

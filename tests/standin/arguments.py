"""Arguments for any call, made from its types in `carlad.wire.calls`: fitting ones and others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec
from msgspec import inspect

from carlad.wire.calls import CALLS

INTEGERS = (0, 1, 2, 3, 7, -1, 255, 65_536, 2**31, 2**32, 2**63 - 1)
FLOATS = (0.0, 1.0, -1.0, 0.5, 30.0, -400.0, 1e30, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    "x",
    "Town02",
    "vehicle.tesla.model3",
    "../../etc/passwd",
    "a" * 300,
    "\0",
    "ü",
    "127.0.0.1:2000",
)
BYTES = (b"", b"\xff\x00", bytes(24))
# Each is wrong for every type but those named.
WRONG: dict[str, object] = {
    "nil": None,
    "text": "wrong",
    "map": {"key": 1},
    "nested": [[[[[1]]]]],
    "boolean": True,
    "fraction": 0.5,
}
_FITS = {
    "nil": (),
    "text": (inspect.StrType, inspect.BytesType),
    "map": (),
    "nested": (),
    "boolean": (inspect.BoolType,),
    "fraction": (inspect.FloatType,),
}
RAW_KINDS = 22  # of batch commands and debug shapes


def of(name: str, chance: random.Random, ids: Sequence[int]) -> list[object]:
    """Arguments that fit the call, with extreme values; actor ids are taken from `ids`."""
    return [_sample(inspect.type_info(kind), chance, ids, 0) for kind in CALLS[name].arguments]


def wrong(name: str, position: int) -> list[object]:
    """Values that do not fit the argument at this position."""
    kind = inspect.type_info(CALLS[name].arguments[position])
    if isinstance(kind, inspect.RawType):
        return []
    holds_anything = isinstance(kind, inspect.ListType) and isinstance(kind.item_type, inspect.RawType)
    labels = [label for label in WRONG if not isinstance(kind, _FITS[label])]
    return [WRONG[label] for label in labels if not (holds_anything and label == "nested")]


def _sample(kind: inspect.Type, chance: random.Random, ids: Sequence[int], depth: int) -> Any:
    if isinstance(kind, inspect.BoolType):
        return chance.random() < 0.5
    if isinstance(kind, inspect.IntType):
        return chance.choice(ids) if kind.le == 0xFFFFFFFF else _bounded(kind, chance)
    if isinstance(kind, inspect.FloatType):
        return chance.choice(FLOATS)
    if isinstance(kind, inspect.StrType):
        return chance.choice(TEXTS)
    if isinstance(kind, inspect.BytesType):
        return chance.choice(BYTES)
    if isinstance(kind, inspect.StructType):
        return [_sample(field.type, chance, ids, depth + 1) for field in kind.fields]
    if isinstance(kind, inspect.ListType):
        return [_sample(kind.item_type, chance, ids, depth + 1) for _ in range(chance.choice((0, 1, 3)))]
    if isinstance(kind, inspect.TupleType):
        return [_sample(item, chance, ids, depth + 1) for item in kind.item_types]
    if isinstance(kind, inspect.VarTupleType):
        return [False] if chance.random() < 0.5 else [True, chance.choice(FLOATS)]
    return [chance.randrange(RAW_KINDS), [chance.choice(ids), [chance.choice(FLOATS)] * 3]]


def _bounded(kind: inspect.IntType, chance: random.Random) -> int:
    low, high = kind.ge if kind.ge is not None else -(2**63), kind.le if kind.le is not None else 2**63
    return chance.choice([number for number in INTEGERS if low <= number <= high])


def packed(msgid: int, name: str, arguments: Sequence[object]) -> bytes:
    return bytes(msgpack.packb([0, msgid, name, [[False], *arguments]]))


def is_error(error: object, result: object) -> bool:
    """Whether an answer is a refusal: rpclib's own, or CARLA's inside the result."""
    if error is not None:
        return True
    decoded = msgspec.msgpack.decode(result) if isinstance(result, msgspec.Raw) else result
    inner = decoded[0] if isinstance(decoded, list) and decoded else None
    return (
        isinstance(inner, list)
        and len(inner) == 2
        and (inner[0] is True or (inner[0] == 0 and inner[0] is not False))
    )

"""Whether what a server sent has the shape that `carlad.wire` says, more strictly than decoding needs it.

Decoding takes a struct that has more fields than are known, because a newer server may send them; whoever
compares servers wants to hear of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

_ELEMENTS_MAX = 200  # of a list: the rest is of the same code


def deviations(value: object, expected: Any) -> tuple[str, ...]:
    """What of `value`, plain msgpack data, is not as the type `expected` says; each kind once."""
    return tuple(dict.fromkeys(_deviations(value, inspect.type_info(expected), "")))


def _deviations(value: object, expected: inspect.Type, path: str) -> Iterator[str]:
    match expected:
        case inspect.StructType():
            yield from _of_struct(value, expected, path)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield from _of_list(value, item, path)
        case inspect.TupleType(item_types=items):
            yield from _of_tuple(value, items, path)
        case inspect.UnionType(types=types):
            if all(any(_deviations(value, one, path)) for one in types):
                yield f"{path or 'it'} is {_kind(value)}"
        case inspect.RawType() | inspect.AnyType():
            pass
        case _:
            if not _is(value, expected):
                yield f"{path or 'it'} is {_kind(value)}, {_name(expected)} expected"


def _of_struct(value: object, expected: inspect.StructType, path: str) -> Iterator[str]:
    name, fields = expected.cls.__name__, expected.fields
    if not isinstance(value, list):
        yield f"{path or 'it'} is {_kind(value)}, the fields of {name} expected"
        return
    if len(value) != len(fields):
        yield f"{path or 'it'} has {len(value)} fields, {name} has {len(fields)}"
    for field, part in zip(fields, value, strict=False):
        yield from _deviations(part, field.type, f"{path}.{field.name}".lstrip("."))


def _of_list(value: object, item: inspect.Type, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path or 'it'} is {_kind(value)}, a list expected"
        return
    for element in value[:_ELEMENTS_MAX]:
        yield from _deviations(element, item, f"{path}[]")


def _of_tuple(value: object, items: tuple[inspect.Type, ...], path: str) -> Iterator[str]:
    if not isinstance(value, list) or len(value) != len(items):
        count = f"{len(value)} values" if isinstance(value, list) else _kind(value)
        yield f"{path or 'it'} is {count}, {len(items)} values expected"
        return
    for number, (element, item) in enumerate(zip(value, items, strict=True)):
        yield from _deviations(element, item, f"{path}[{number}]")


def _is(value: object, expected: inspect.Type) -> bool:
    match expected:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType(ge=lowest, le=highest):
            if not isinstance(value, int) or isinstance(value, bool):
                return False
            return (lowest is None or value >= lowest) and (highest is None or value <= highest)
        case inspect.FloatType():
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.BytesType():
            return isinstance(value, bytes)
        case inspect.EnumType(cls=cls):
            return value in [member.value for member in cls]
        case inspect.NoneType():
            return value is None
    raise AssertionError(f"carlad.wire uses a type that shapes do not know: {expected}")


def _kind(value: object) -> str:
    return {list: "a list", dict: "a map", str: "text", bytes: "bytes", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )


def _name(expected: inspect.Type) -> str:
    return type(expected).__name__.removesuffix("Type").lower()


def plain(raw: bytes | msgspec.Raw) -> object:
    """msgpack data as Python's own values; text that is not UTF-8 keeps its readable part."""
    import msgpack

    return msgpack.unpackb(bytes(raw), unicode_errors="replace", strict_map_key=False)

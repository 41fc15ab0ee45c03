"""TOML into frozen msgspec structs, strictly: an unknown key or a wrong type is an error in plain words."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from carlad.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

S = TypeVar("S", bound=msgspec.Struct)


def read(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read configuration {path}: {error}") from error


def parse(text: str) -> dict[str, Any]:
    """The table in `text`. Raises ConfigError with line and column."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error


def decode(table: dict[str, Any], struct: type[S]) -> S:
    """Raises ConfigError naming the key, and the likely one for a key that does not exist."""
    for problem in problems(table, struct):
        raise ConfigError(problem)
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def problems(table: dict[str, Any], struct: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Everything that is wrong with single keys, each as `section.key: why`."""
    fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known are {', '.join(fields)}"
            yield f"{prefix}{key}: no such key{hint}"
            continue
        inner = fields[key]
        if isinstance(value, dict) and _is_struct(inner):
            yield from problems(value, inner, f"{prefix}{key}.")
            continue
        if isinstance(value, list) and (element := next(iter(typing.get_args(inner)), None)) is not None:
            tables = [(i, item) for i, item in enumerate(value) if isinstance(item, dict)]
            if tables and _is_struct(element):
                for i, item in tables:
                    yield from problems(item, element, f"{prefix}{key}[{i}].")
                continue
        if (why := next(_unusable(value), None)) is not None:
            yield f"{prefix}{key}: {why}"
            continue
        try:
            msgspec.convert(value, inner)
        except msgspec.ValidationError as error:
            yield _in_words(error, f"{prefix}{key}")


def dumps(table: Mapping[str, Any]) -> str:
    """The table as TOML: plain values first, then a section for each table in it; None is left out."""
    return "".join(f"{line}\n" for line in _lines(table, "")).lstrip("\n")


def dumps_value(plain: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(plain, Mapping):
        inner = ", ".join(f"{_key(key)} = {dumps_value(item)}" for key, item in plain.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(plain, list | tuple):
        return f"[{', '.join(map(dumps_value, plain))}]"
    if isinstance(plain, float):
        return repr(plain)  # json would write Infinity
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def line_of(text: str, key: str) -> int | None:
    """The line of `key`, such as `fleet.size`, or of the table that it belongs to. From 1."""
    table, line_of_table = "", None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+([^\[\]]+)\]", line):
            table = re.sub(r"[\s\"]", "", header[1])
            if table == key:
                return number
            if key.startswith(f"{table}."):
                line_of_table = number
        elif assigned := re.match(r"\s*\"?([\w.-]+)\"?\s*=", line):
            assigned_key = f"{table}.{assigned[1]}".lstrip(".")
            if f"{assigned_key}.".startswith(f"{key}.") or key.startswith(f"{assigned_key}."):
                return number
    return line_of_table


def _lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    sections = {key: item for key, item in table.items() if isinstance(item, Mapping)}
    for key, plain in table.items():
        if key not in sections and plain is not None:
            yield f"{_key(key)} = {dumps_value(plain)}"
    for key, section in sections.items():
        inner = f"{path}.{_key(key)}" if path else _key(key)
        yield f"\n[{inner}]"
        yield from _lines(section, inner)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _unusable(value: Any) -> Iterator[str]:
    """What no key can do anything with."""
    for leaf in _leaves(value):
        if isinstance(leaf, str) and re.search(r"[\x00-\x1f\x7f]", leaf):
            yield f"{leaf!r} has a line break or another control character in it"
        elif isinstance(leaf, float) and math.isnan(leaf):
            yield "nan is not a number"


def _leaves(value: Any) -> Iterator[Any]:
    """What is no table and no array, keys included."""
    if isinstance(value, Mapping):
        yield from _leaves([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _in_words(error: msgspec.ValidationError, key: str = "") -> str:
    """`Expected int, got str - at $.fleet.size` as `fleet.size: expected int, got str`."""
    what, _, where = str(error).partition(" - at `$")
    key += re.sub(r"`$", "", where)
    key = key.lstrip(".")
    return f"{key}: {what[:1].lower()}{what[1:]}" if key else what

"""TOML into frozen msgspec structs, strictly: an unknown key or a wrong type is an error in plain words."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
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
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from problems(value, inner, f"{prefix}{key}.")
            continue
        try:
            msgspec.convert(value, inner)
        except msgspec.ValidationError as error:
            yield _in_words(error, f"{prefix}{key}")


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


def _in_words(error: msgspec.ValidationError, key: str = "") -> str:
    """`Expected int, got str - at $.fleet.size` as `fleet.size: expected int, got str`."""
    what, _, where = str(error).partition(" - at `$")
    key += re.sub(r"`$", "", where)
    key = key.lstrip(".")
    return f"{key}: {what[:1].lower()}{what[1:]}" if key else what

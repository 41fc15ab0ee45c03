"""TOML into frozen msgspec structs, strictly: an unknown key or a wrong type is an error in plain words."""

from __future__ import annotations

import difflib
import re
import sys
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
    _refuse_unknown_keys(table, struct, prefix="")
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError as error:
        raise ConfigError(_in_words(error)) from error


def _refuse_unknown_keys(table: dict[str, Any], struct: type[msgspec.Struct], prefix: str) -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known are {', '.join(fields)}"
            raise ConfigError(f"{prefix}{key}: no such key{hint}")
        inner = fields[key]
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _refuse_unknown_keys(value, inner, f"{prefix}{key}.")


def _in_words(error: msgspec.ValidationError) -> str:
    """`Expected int, got str - at $.fleet.size` as `fleet.size: expected int, got str`."""
    what, _, where = str(error).partition(" - at `$")
    key = re.sub(r"`$", "", where).lstrip(".")
    return f"{key}: {what[:1].lower()}{what[1:]}" if key else what

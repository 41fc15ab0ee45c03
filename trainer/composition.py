"""One table out of TOML files that include each other and `key=value` overrides; which keys there are is the
business of the struct that it is for."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from carlad import toml
from carlad.errors import ConfigError

INCLUDE = "include"  # a key of each file's own, on which it stands
ALIASES = {"lr": "learning_rate"}  # of a key's last word, in overrides and for scripts

Struct = type[msgspec.Struct]


class _Includes(msgspec.Struct):
    include: list[str]


def merged(table: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`table` with `over` on top: tables are merged key by key, everything else is replaced."""
    result = dict(table)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def compose(names: Sequence[str], packaged: Path, struct: Struct) -> dict[str, Any]:
    """The files' tables on top of each other, the last one uppermost; each on top of what it includes.

    A name is a file, or one in the folder `packaged` without its ending. Raises ConfigError with file, line
    and key.
    """
    table: dict[str, Any] = {}
    for name in names:
        table = merged(table, _with_included(_find(name, Path(), packaged), packaged, struct, ()))
    return table


def overridden(
    table: dict[str, Any], assignments: Sequence[str], struct: Struct, section: str = ""
) -> dict[str, Any]:
    """The table with `section.key=value` on top; values are TOML, or else strings. Raises ConfigError.

    A section may be left out, see `resolved`.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"cannot use override {assignment!r}: write section.key=value")
        try:
            table = _assigned(table, resolved(key.strip(), struct, section), _value(text))
        except ConfigError as error:
            raise ConfigError(f"cannot use override {assignment!r}: {error}") from error
    return table


def resolved(key: str, struct: Struct, section: str = "") -> str:
    """The full name of a key that may lack its section or be an alias. Raises ConfigError if it is ambiguous.

    Of several sections that have such a key `section` is meant, if it is one of them.

    One that there is not is returned as it is: whoever decodes the table refuses it, with the likely one.
    """
    head, dot, last = key.rpartition(".")
    key = f"{head}{dot}{ALIASES.get(last, last)}"
    if key.partition(".")[0] in struct.__struct_fields__:
        return key
    found = [name for name in keys(struct) if name.endswith(f".{key}")]
    if f"{section}.{key}" in found:
        return f"{section}.{key}"
    if len(found) > 1:
        raise ConfigError(f"it could be any of {', '.join(found)}")
    return found[0] if found else key


def keys(struct: Struct, prefix: str = "") -> Iterator[str]:
    """All keys of a struct and the structs in it, such as `ppo.clip`."""
    for field in msgspec.structs.fields(struct):
        yield f"{prefix}{field.name}"
        for inner in _structs(field.type):
            yield from keys(inner, f"{prefix}{field.name}.")


def _structs(kind: Any) -> list[Struct]:
    """The struct that a field holds, also one that may be absent."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return [one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)]


def _with_included(path: Path, packaged: Path, struct: Struct, via: tuple[Path, ...]) -> dict[str, Any]:
    if path in via:
        raise ConfigError(f"cannot use configuration {path}: it includes itself, by {via[-1]}")
    text = toml.read(path)
    try:
        table = toml.parse(text)
        included = toml.decode({INCLUDE: table.pop(INCLUDE, [])}, _Includes).include
    except ConfigError as error:
        raise ConfigError(f"cannot use configuration {path}: {error}") from error
    for problem in toml.problems(table, struct):
        line = toml.line_of(text, re.split(r"[:\[]", problem)[0])
        where = f"{path}, line {line}" if line else f"{path}"
        raise ConfigError(f"cannot use configuration {where}: {problem}")
    below: dict[str, Any] = {}
    for name in included:
        found = _find(name, path.parent, packaged)
        below = merged(below, _with_included(found, packaged, struct, (*via, path)))
    return merged(below, table)


def _find(name: str, folder: Path, packaged: Path) -> Path:
    """The file `name`, seen from `folder`, or the packaged one of that name."""
    for path in (folder / name, packaged / f"{name}.toml"):
        if path.is_file():
            return path.resolve()
    known = ", ".join(sorted(path.stem for path in packaged.glob("*.toml")))
    raise ConfigError(f"cannot read configuration {folder / name}: no such file; packaged are {known}")


def _assigned(table: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    first, dot, rest = key.partition(".")
    if not dot:
        return {**table, first: value}
    below = table.get(first, {})
    if not isinstance(below, dict):
        raise ConfigError(f"{first} is no section")
    return {**table, first: _assigned(below, rest, value)}


def _value(text: str) -> Any:
    try:
        return toml.parse(f"value = {text}")["value"]
    except ConfigError:
        return text.strip()

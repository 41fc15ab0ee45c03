"""`carlactl config check` and `config show`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carlad.cli.command import Exit, add_command, add_family, add_json

if TYPE_CHECKING:
    from carlad.cli.command import Commands
    from carlad.config import Config

_EXIT_CODES = "Exit codes: 0 done, 2 the configuration cannot be used.\n"


def add(commands: Commands) -> None:
    family = add_family(commands, "config", "Check a configuration, or show what comes of it.")
    check = add_command(
        family,
        "check",
        _check,
        "Say everything that is wrong with a configuration.",
        "  carlactl config check carlad.toml\n",
        _EXIT_CODES,
        asks_daemon=False,
    )
    _complete_files(check.add_argument("file", type=Path, metavar="FILE"))
    show = add_command(
        family,
        "show",
        _show,
        "Print every key with its value and where that comes from. Without FILE: the defaults.",
        """\
  carlactl config show carlad.toml
  carlactl config show --json carlad.toml | jq .fleet.size.value
""",
        _EXIT_CODES,
        asks_daemon=False,
    )
    _complete_files(show.add_argument("file", type=Path, nargs="?", metavar="FILE"))
    add_json(show)


def _complete_files(action: argparse.Action) -> None:
    action.complete = "file"  # type: ignore[attr-defined]


def _check(arguments: argparse.Namespace) -> int:
    from carlad import config, toml
    from carlad.errors import ConfigError

    text = toml.read(arguments.file)
    found = config.problems(text)
    for problem in found:
        line = toml.line_of(text, config.key_of(problem))
        print(
            f"{arguments.file}:{line}: {problem}" if line else f"{arguments.file}: {problem}", file=sys.stderr
        )
    if found:
        return Exit.USAGE
    try:
        config.load(arguments.file)  # with what the environment brings
    except ConfigError as error:
        print(f"carlactl: {error}", file=sys.stderr)
        return Exit.USAGE
    print(f"{arguments.file} can be used")
    return Exit.DONE


def _show(arguments: argparse.Namespace) -> None:
    from carlad import config, toml

    shown = {
        section: dict(_keys(section, arguments.file, config.load(arguments.file)))
        for section in config.Config.__struct_fields__
    }
    if arguments.json:
        print(json.dumps(shown))
        return
    for section, keys in shown.items():
        print(f"[{section}]")
        for key, entry in keys.items():
            assignment = f"{key} = {toml.dumps_value(entry['value'])}"
            print(f"{assignment:<48}  # {entry['origin']}")
        print()


def _keys(section: str, file: Path | None, resolved: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key's value and origin."""
    import msgspec

    from carlad import config, toml
    from carlad.config import Config

    text = "" if file is None else toml.read(file)
    given, defaults = toml.parse(text).get(section, {}), getattr(Config(), section)
    values, without = getattr(resolved, section), getattr(config.load(None), section)
    for key in values.__struct_fields__:
        value = getattr(values, key)
        if given.get(key, "") != "":  # an empty string stands for a default
            origin = f"{file}:{toml.line_of(text, f'{section}.{key}')}"
        else:
            origin = "default"
            if value != getattr(defaults, key):
                origin = "environment" if value == getattr(without, key) else "other keys"
        yield key, {"value": msgspec.to_builtins(value), "origin": origin}

"""Write what the docs take from the code, between their markers: `python docs/generate.py [--check]`.

`<!-- NAME:begin -->` and `<!-- NAME:end -->` enclose each generated part; everything else is a person's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import figures
import reference

from carlad.cli.main import every_command, parser
from carlad.fleet import lifecycle as slots
from carlad.hosts import lifecycle as hosts
from carlad.standin import blueprints as library
from carlad.standin.coverage import BLUEPRINTS, COVERAGE, SENSORS, Coverage
from carlad.standin.faults import KINDS
from carlad.wire.calls import CALLS

DOCS = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    stale = [path for path in sorted(DOCS.glob("*.md")) if generated(path.read_text()) != path.read_text()]
    if "--check" in arguments:
        for path in stale:
            print(f"docs/{path.name} is not what the code says: run python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(generated(path.read_text()))
    return 0


def generated(text: str) -> str:
    """`text` with every generated part as the code has it now."""
    for name, lines in PARTS.items():
        marked = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        content = "".join(f"{line}\n" for line in lines())
        text = marked.sub(lambda found, content=content: found[1] + content + found[2], text)
    return text


def lifecycle() -> Iterator[str]:
    """The slots' transition table as a Mermaid diagram."""
    return _diagram(slots.State.STOPPED, slots.TRANSITIONS)


def sessions() -> Iterator[str]:
    """The sessions' transition table as a Mermaid diagram."""
    return _diagram(hosts.State.PREPARING, hosts.TRANSITIONS)


def _diagram(first: Enum, transitions: Mapping[tuple[Any, Any], Any]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {first.value}"
    for (state, event), following in transitions.items():
        yield f"    {state.value} --> {following.value}: {event.value}"
    yield "```"


def coverage() -> Iterator[str]:
    """Every call of the 0.9.16 client and how far the stand-in serves it."""
    yield "| state | calls |"
    yield "| --- | --- |"
    for state in Coverage:
        names = [f"`{name}`" for name in CALLS if COVERAGE[name] is state]
        yield f"| {state.value} ({len(names)}) | {', '.join(names) or '–'} |"


def sensors() -> Iterator[str]:
    """Every sensor blueprint and how far it measures truly."""
    yield "| state | sensors |"
    yield "| --- | --- |"
    for state in Coverage:
        names = [f"`{name}`" for name, its_state in SENSORS.items() if its_state is state]
        if names:
            yield f"| {state.value} ({len(names)}) | {', '.join(names)} |"


def blueprints() -> Iterator[str]:
    """Every other blueprint, counted by how its id begins, and how far it is what it is in CARLA."""
    ids = [found.id for found in library.definitions()]
    yield "| state | blueprints |"
    yield "| --- | --- |"
    for state in Coverage:
        rows = [beginning for beginning, its_state in BLUEPRINTS.items() if its_state is state]
        counts = [sum(name.startswith(beginning) for name in ids) for beginning in rows]
        named = [
            f"`{row}{'*' if row.endswith('.') else ''}` ({n})" for row, n in zip(rows, counts, strict=True)
        ]
        if named:
            yield f"| {state.value} ({sum(counts)}) | {', '.join(named)} |"


def faults() -> Iterator[str]:
    """Every fault on demand and what it does."""
    yield "| fault | what the server does |"
    yield "| --- | --- |"
    for name, kind in KINDS.items():
        written = f"{name}={kind.argument}" if kind.argument else name
        yield f"| `{written}` | {kind.does}{' (start only)' if kind.start else ''} |"


def commands() -> Iterator[str]:
    """Every command of carlactl, from its parser."""
    for command in every_command(parser()):
        examples, _, exit_codes = (command.epilog or "").partition("\n\n")
        yield f"### {command.prog}"
        yield ""
        yield command.description or ""
        yield ""
        yield "| | |"
        yield "| --- | --- |"
        for action in command._actions:
            if action.dest != "help":
                yield f"| `{_form(action)}` | {action.help or ''} |"
        yield ""
        yield "```text"
        yield from (line.removeprefix("  ") for line in examples.splitlines()[1:])
        yield "```"
        yield ""
        yield " ".join(exit_codes.split())
        yield ""


def _form(action: argparse.Action) -> str:
    """As it is written: `-n N, --lines N`, `SLOT`."""
    value = action.metavar or (
        "{" + ",".join(action.choices) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        return str(value)
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    return ", ".join(f"{option} {value}" for option in action.option_strings)


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "lifecycle": lifecycle,
    "commands": commands,
    "sessions": sessions,
    "coverage": coverage,
    "sensors": sensors,
    "blueprints": blueprints,
    "faults": faults,
    "envelopes": reference.envelopes,
    "requests": reference.requests,
    "replies": reference.replies,
    "refusals": reference.refusals,
    "limits": reference.limits,
    "configuration": reference.configuration,
    **{f"bench-{name}": partial(figures.table, name) for name in figures.NAMES},
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

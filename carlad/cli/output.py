"""What commands write: JSON for programs, rich for people, and how a waiting goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console

from carlad.cli import tables
from carlad.messages import Message, Queued

_WIDTH_OF_FILES = 160


def print_json(message: Message, **more: Any) -> None:
    """In one line, without the tag that tells messages apart, and with `more` fields."""
    fields: dict[str, Any] = msgspec.to_builtins(message)
    fields.pop("type", None)
    print(json.dumps({**fields, **more}), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    text = "\n".join(lines)
    if text:
        print(text, flush=True)


def console() -> Console:
    """As wide as the terminal; in a file or a pipe wide enough for one line a slot."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


@contextmanager
def progress() -> Iterator[Callable[[Queued], None]]:
    """A spinner on stderr where that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda _queued: None
        return
    with Console(stderr=True, highlight=False).status("asking for a server") as spinner:
        yield lambda queued: spinner.update(tables.queued(queued))

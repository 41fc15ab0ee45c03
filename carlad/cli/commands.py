"""What each command of `carlactl` does with a client."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live

from carlad.cli import tables
from carlad.client import Client, this_process
from carlad.messages import LOG_LINES_MAX, Message, Notice, Queued

_STATUS_PERIOD_S = 1.0
_LOG_PERIOD_S = 0.5
_WIDTH_OF_FILES = 160


def status(client: Client, arguments: argparse.Namespace) -> None:
    if not arguments.watch:
        shown = client.status()
        _print_json(shown) if arguments.json else _console().print(tables.status(shown))
    elif arguments.json:
        while True:
            _print_json(client.status())
            time.sleep(_STATUS_PERIOD_S)
    else:
        with Live(tables.status(client.status()), console=_console(), auto_refresh=False) as live:
            while True:
                time.sleep(_STATUS_PERIOD_S)
                live.update(tables.status(client.status()), refresh=True)


def lease(client: Client, arguments: argparse.Namespace) -> None:
    nobody = msgspec.structs.replace(this_process(), program="carlactl", pid=0)
    with _progress() as say:
        granted = client.acquire(arguments.map, arguments.ttl, arguments.wait, nobody, on_queued=say)
    if arguments.json:
        _print_json(granted)
        return
    print(
        f"{granted.lease_id} for {granted.ttl_s:g} s: {granted.host}:{granted.rpc_port} with {granted.map} "
        f"(streaming port {granted.streaming_port}, Traffic Manager port {granted.traffic_manager_port})"
    )


def renew(client: Client, arguments: argparse.Namespace) -> None:
    renewed = client.renew(arguments.lease_id, arguments.token, arguments.ttl)
    if arguments.json:
        _print_json(renewed)
    else:
        print(f"{renewed.lease_id} lives for another {renewed.ttl_s:g} s")


def release(client: Client, arguments: argparse.Namespace) -> None:
    client.release(arguments.lease_id, arguments.token)
    print(f"{arguments.lease_id} is released")


def logs(client: Client, arguments: argparse.Namespace) -> None:
    shown: Sequence[str] = client.logs(arguments.slot, arguments.lines)
    _print_lines(shown)
    while arguments.follow:
        time.sleep(_LOG_PERIOD_S)
        tail = client.logs(arguments.slot, LOG_LINES_MAX)
        _print_lines(new_lines(shown, tail))
        shown = tail


def events(client: Client, arguments: argparse.Namespace) -> None:
    print_notice = _print_json if arguments.json else _print_notice
    for notice in client.watch() if arguments.follow else client.events().notices:
        print_notice(notice)


def new_lines(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """What `now`, the end of a log, has more than `before`, an earlier end of it.

    As few lines as can be: where all are alike, how many came cannot be seen.
    """
    for new in range(len(now)):
        overlap = min(len(before), len(now) - new)
        end = len(now) - new
        if overlap and list(before[-overlap:]) == list(now[end - overlap : end]):
            return now[end:]
    return now


def _print_json(message: Message) -> None:
    """In one line, without the tag that tells messages apart."""
    fields: dict[str, Any] = msgspec.to_builtins(message)
    fields.pop("type", None)
    print(json.dumps(fields), flush=True)


def _print_lines(lines: Sequence[str]) -> None:
    if lines:
        print("\n".join(lines), flush=True)


def _print_notice(notice: Notice) -> None:
    print(tables.notice(notice), flush=True)


def _console() -> Console:
    """As wide as the terminal; in a file or a pipe wide enough for one line a slot."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)


@contextmanager
def _progress() -> Iterator[Callable[[Queued], None]]:
    """A spinner on stderr where that is a terminal, else nothing."""
    console = Console(stderr=True, highlight=False)
    if not sys.stderr.isatty():
        yield lambda _queued: None
        return
    with console.status("asking for a server") as spinner:
        yield lambda queued: spinner.update(tables.queued(queued))

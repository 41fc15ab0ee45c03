"""What everybody wrote down while servers, daemons and clients were killed, and what of it must not be.

Pure: the histories of the clients, the call logs of the stand-ins and the daemon's notices go in, violations
come out as sentences. All times are seconds of the machine's monotonic clock, which its processes share.

A tenancy is what a holder or an env host took for a server of its own. Whatever it sends carries its mark, a
number of its own, as the weather's `fog_distance`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

MARKS_FROM = 100_000  # no weather of CARLA's own is that foggy
LATE_S = 10.0  # so long a server may live whose lease has ended: a daemon may be down in between
_COMMAND = "set_weather_parameters"
_MARK = 7  # the place of `fog_distance` in it


class Granted(msgspec.Struct, frozen=True, tag=True):
    """`token` 0: an env host, which knows of none."""

    at_s: float
    mark: int
    port: int
    token: int = 0


class Saw(msgspec.Struct, frozen=True, tag=True):
    """The mark that was in force at the server, 0 for that of nobody. `first`: before it set its own."""

    at_s: float
    mark: int
    seen: int
    first: bool = False


class Ended(msgspec.Struct, frozen=True, tag=True):
    """It knows that the server is its own no more. What it sends from here on it sends on purpose."""

    at_s: float
    mark: int
    how: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A client met what no client should have to meet, or the daemon ended by itself."""

    at_s: float
    why: str


class Watched(msgspec.Struct, frozen=True, tag=True):
    """A viewer has looked into a session, and got so many bundles."""

    at_s: float
    bundles: int


class Command(msgspec.Struct, frozen=True, tag=True):
    """A marked call as the server carried it out."""

    at_s: float
    mark: int


class LeaseEnd(msgspec.Struct, frozen=True, tag=True):
    """As the daemon published it."""

    at_s: float
    token: int
    event: str


Entry = Granted | Saw | Ended | Failed | Watched | LeaseEnd


class History(msgspec.Struct, frozen=True):
    """`commands`: of each incarnation of a server, in the order in which it carried them out. `leftovers`:
    what was still there when all had ended: processes, ports, files, descriptors, in words."""

    entries: tuple[Entry, ...] = ()
    commands: dict[str, tuple[Command, ...]] = {}
    leftovers: tuple[str, ...] = ()


def violations(history: History) -> list[str]:
    """Nothing, if all promises were kept."""
    return [
        *_interleaved(history),
        *_after_the_next_grant(history),
        *_late(history),
        *_foreign(history),
        *_tokens(history),
        *(f"failed: {entry.why}" for entry in history.entries if isinstance(entry, Failed)),
        *(f"left behind: {what}" for what in history.leftovers),
    ]


def _interleaved(history: History) -> Iterator[str]:
    """On one incarnation: a holder's commands come together."""
    for server, commands in history.commands.items():
        turns = [mark for mark, _ in groupby(command.mark for command in commands)]
        for mark in sorted({mark for mark in turns if turns.count(mark) > 1}):
            others = turns[turns.index(mark) + 1 :]
            yield f"{server}: commands of {mark} and {others[0]} interleaved"


def _after_the_next_grant(history: History) -> Iterator[str]:
    """Once somebody has a server, it carries out nobody else's commands until that one's end."""
    granted = {entry.mark: entry for entry in history.entries if isinstance(entry, Granted)}
    ended = {entry.mark: entry.at_s for entry in history.entries if isinstance(entry, Ended)}
    for server, commands in history.commands.items():
        for mark in sorted({command.mark for command in commands} & granted.keys()):
            since_s, until_s = granted[mark].at_s, ended.get(mark, _last_s(commands, mark))
            for command in commands:
                if command.mark != mark and since_s < command.at_s < until_s:
                    late_s = command.at_s - since_s
                    yield f"{server}: a command of {command.mark} {late_s:.3f} s after {mark} had got it"


def _last_s(commands: Sequence[Command], mark: int) -> float:
    return max(command.at_s for command in commands if command.mark == mark)


def _late(history: History) -> Iterator[str]:
    """A lease that has ended takes its server along, or its server shuts its ear."""
    marks = {e.token: e.mark for e in history.entries if isinstance(e, Granted) and e.token}
    ends = {marks[e.token]: e for e in history.entries if isinstance(e, LeaseEnd) and e.token in marks}
    for server, commands in history.commands.items():
        for command in commands:
            end = ends.get(command.mark)
            if end is not None and command.at_s > end.at_s + LATE_S:
                yield (
                    f"{server}: a command of {command.mark} took effect {command.at_s - end.at_s:.1f} s "
                    f"after the end of its lease ({end.event})"
                )


def _foreign(history: History) -> Iterator[str]:
    """Nobody finds what somebody else has left, nor sees it change."""
    for entry in history.entries:
        if isinstance(entry, Saw) and entry.seen != (0 if entry.first else entry.mark):
            when = "found" if entry.first else "met"
            yield f"{entry.mark} {when} the mark of {entry.seen or 'nobody'} at its server"


def _tokens(history: History) -> Iterator[str]:
    """Each is given out once, and those of one port grow."""
    grants = sorted(
        (e for e in history.entries if isinstance(e, Granted) and e.token), key=lambda e: (e.port, e.at_s)
    )
    seen: set[int] = set()
    for before, entry in zip([None, *grants], grants, strict=False):
        if entry.token in seen:
            yield f"token {entry.token} was given out twice"
        elif before is not None and before.port == entry.port and entry.token <= before.token:
            yield f"port {entry.port}: token {entry.token} was given out after {before.token}"
        seen.add(entry.token)


def read_entries(paths: Iterable[Path]) -> tuple[Entry, ...]:
    """Of clients; a line that was cut off by a kill is left out."""
    return tuple(msgspec.convert(line, Entry) for path in paths for line in _lines(path))


def read_commands(paths: Iterable[Path]) -> dict[str, tuple[Command, ...]]:
    """Of stand-ins, by the names of their logs: marked commands only."""
    return {
        path.stem: tuple(
            Command(line["at_s"], int(line["arguments"][1][_MARK]))
            for line in _lines(path)
            if line["call"] == _COMMAND and line["arguments"][1][_MARK] >= MARKS_FROM
        )
        for path in sorted(paths)
    }


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """What is behind the last line's end was cut off."""
    yield from map(json.loads, path.read_bytes().split(b"\n")[:-1])

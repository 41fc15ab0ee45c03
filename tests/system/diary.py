"""Where a process of the chaos writes down what it sees: each line is the kernel's at once."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from carlad.wire.types import WeatherParameters
from tests.standin.raw import RawClient
from tests.system.history import MARKS_FROM, Entry

_MARKS = 16_000_000  # integers that a float32 holds


class Diary:
    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, entry: Entry) -> None:
        os.write(self._file, msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        os.close(self._file)


def new_mark() -> int:
    """A number that no other tenancy has, as good as surely."""
    return MARKS_FROM + secrets.randbelow(_MARKS - MARKS_FROM)


def set_mark(server: RawClient, mark: int) -> None:
    server.call("set_weather_parameters", WeatherParameters(fog_distance=float(mark)))


def mark_at(server: RawClient) -> int:
    """That which is in force; 0 where there is none."""
    found = int(server.call("get_weather_parameters").fog_distance)
    return found if found >= MARKS_FROM else 0

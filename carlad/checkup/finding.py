"""What a look at the machine finds: each thing with its remedy."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["fine", "note", "warning", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """`remedy` is empty where nothing is to be done. `wrong`: carlad cannot work as it is configured."""

    name: str
    level: Level
    found: str
    remedy: str = ""


def fine(name: str, found: str) -> Finding:
    return Finding(name, "fine", found)


def note(name: str, found: str, remedy: str = "") -> Finding:
    return Finding(name, "note", found, remedy)


def warning(name: str, found: str, remedy: str) -> Finding:
    return Finding(name, "warning", found, remedy)


def wrong(name: str, found: str, remedy: str) -> Finding:
    return Finding(name, "wrong", found, remedy)

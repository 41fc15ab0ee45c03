"""What a viewer subscribes to, as ZeroMQ sees it: a string that ends with a zero byte.

`actors,bundle,camera@10`   the channels of one message, and how many a second at most
`bundle,camera@10j`         the same, with images as JPEG: for viewers on other machines
`map`                       a map's geometry
`pause.TOKEN.N`             the session stands still while somebody subscribes to it; N: steps asked for
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from carlad.telemetry.bundle import BUNDLE, MAP, PAUSE

RATE_MAX_HZ = 30  # bundles a second, as many as a viewer draws; steps may be far more
_CHANNEL = r"[a-z0-9_.]{1,32}"
_BUNDLES = re.compile(rf"({_CHANNEL}(?:,{_CHANNEL}){{0,31}})@([1-9][0-9]?)(j?)")
_PAUSE = re.compile(rf"{PAUSE}\.([a-z0-9]{{1,16}})\.([0-9]{{1,9}})")


@dataclass
class Bundles:
    """A set of channels that are sent together; `due_s` is when the next message may follow the last."""

    channels: frozenset[str]
    period_s: float
    as_jpeg: bool = False
    due_s: float = 0.0


def bundles_topic(channels: Iterable[str], rate_hz: int, as_jpeg: bool = False) -> str:
    """Raises ValueError for channels or a rate that no publisher would serve."""
    topic = f"{','.join(sorted({BUNDLE, *channels} - {MAP}))}@{rate_hz}{'j' * as_jpeg}"
    if parse_bundles(topic) is None:
        raise ValueError(f"cannot subscribe to {topic!r}: up to 32 channels, at 1 to {RATE_MAX_HZ} Hz")
    return topic


def parse_bundles(topic: str) -> Bundles | None:
    """None for what is no topic of bundles."""
    parts = _BUNDLES.fullmatch(topic)
    if parts is None or int(parts[2]) > RATE_MAX_HZ:
        return None
    return Bundles(frozenset(parts[1].split(",")), 1 / int(parts[2]), parts[3] == "j")


def pause_topic(token: str, steps: int) -> str:
    return f"{PAUSE}.{token}.{steps}"


def parse_pause(topic: str) -> int | None:
    """How many steps its viewer asked for so far; None for what is no such topic."""
    parts = _PAUSE.fullmatch(topic)
    return None if parts is None else int(parts[2])

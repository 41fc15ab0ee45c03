"""`carlad`, with a broker that answers nobody any more after SIGUSR1, while everything else in it goes on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import trio

from carlad import cli
from carlad.runtime import Turns

_take = Turns.take
_wedged = False


async def take(turns: Turns, act: Callable[[], Any]) -> Any:
    if _wedged:
        await trio.sleep_forever()
    return await _take(turns, act)


def wedge(*_signal: object) -> None:
    global _wedged
    _wedged = True


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, wedge)
    Turns.take = take  # type: ignore[method-assign, assignment]
    sys.exit(cli.carlad())

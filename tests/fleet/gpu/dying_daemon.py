"""A daemon that has one server on a card of `fake_look.py`, sees it there, and is killed.

`python -m tests.fleet.gpu.dying_daemon FOLDER FIRST_PORT`; the run folder is FOLDER/run.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from carlad.config import GpuSection, LogsSection
from carlad.fleet import probe
from carlad.fleet.backends.aim import binary_aim
from carlad.fleet.backends.local import Local
from carlad.fleet.backends.seated import Seated
from carlad.fleet.gpu.cards import Cards
from carlad.fleet.ports import PortRegistry
from carlad.fleet.reach import Reach
from tests.fleet.scenario import PROBE, fake

LOOK = Path(__file__).with_name("fake_look.py")


def seated(cards: Cards, environ: dict[str, str], first: int, memory_mib: int = 3500) -> Seated:
    registry = PortRegistry(first, first + 11)
    gpu = GpuSection(memory_mib=memory_mib)
    return Seated(
        partial(Local, registry=registry, limits=LogsSection()), fake(environ), binary_aim, cards, gpu
    )


async def main() -> None:
    folder, environ = Path(sys.argv[1]), dict(os.environ)
    cards = Cards(environ, (sys.executable, str(LOOK), str(folder / "spec.json")))
    backend = seated(cards, environ, int(sys.argv[2]), memory_mib=6 << 10)
    with backend.place(None) as ports:
        async with backend.running(ports, folder / "run", folder / "log", trio.Event()) as server:
            await probe.check_start(Reach(ports), server.listener, "", PROBE)
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    trio.run(main)

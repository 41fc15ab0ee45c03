"""Steps until SIGTERM, in the machine: `stepping.py lease|session FILE`.

FILE has the steps so far, and the losses.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import carlad

_TTL_S = 60.0

stopped = threading.Event()


def lease() -> Iterator[int]:
    """A leased server by the official client; yields the losses after each tick."""
    import carla

    with carlad.lease(ttl_s=_TTL_S, wait_s=60) as server:
        client = carla.Client(server.host, server.port)
        client.set_timeout(30.0)
        world = client.get_world()
        settings = world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
        world.apply_settings(settings)
        while True:
            world.tick()
            yield int(server.lost.is_set())


def session() -> Iterator[int]:
    """An environment that the daemon hosts."""
    losses = 0
    with carlad.session("route", {"config": {"route_max_m": 80}}, ttl_s=_TTL_S) as env:
        env.reset(seed=1)
        while True:
            *_outcome, terminated, truncated, info = env.step([0.0, 0.3])
            losses += "sim_lost" in info
            if terminated or truncated:
                env.reset()
            yield losses


def main(what: str, file: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with file.open("w") as out:
        for steps, losses in enumerate({"lease": lease, "session": session}[what](), 1):
            out.seek(0)
            out.write(f"{steps:12} {losses:6}\n")
            out.flush()
            if stopped.wait(0.005):  # hundreds a second would be in the others' way
                return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

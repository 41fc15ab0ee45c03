"""A fleet in a process of its own, to be killed.

`python -m tests.fleet.fleet_process CONFIG STATE_DIR OPTION...`

CONFIG is JSON, the options are the fake servers'; `--as-configured` takes the configured backend. Commands
come on stdin, one a line, each answered with the slots' statuses in one line of JSON: `until SLOT STATE`,
`pid SLOT`, `seen SLOT ID CULLING_DISTANCE` (of the settings), `lease SLOT ID`, `end SLOT ID`,
`release SLOT ID`, `load SLOT MAP`, `drain SLOT`, `quarantine SLOT WHY`.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import trio

from carlad.config import Config
from carlad.fleet.fleet import Fleet
from carlad.fleet.leftovers import state_directory
from carlad.journal import Journal
from tests.fleet.scenario import fake


async def serve(config: Config, runs: Path, journal: Journal, options: list[str]) -> None:
    def notify(event: str, **about: object) -> None:
        pass

    launch = None if options == ["--as-configured"] else fake(dict(os.environ), *options)
    fleet = Fleet(config, runs, journal, notify, os.environ, launch)
    await fleet.adopt()
    async with trio.open_nursery() as nursery:
        await nursery.start(fleet.run)
        async for line in trio.wrap_file(sys.stdin):
            await obey(fleet, *line.split())
            await fleet.keep()
            print(msgspec.json.encode(fleet.statuses()).decode(), flush=True)
        nursery.cancel_scope.cancel()


async def obey(fleet: Fleet, command: str, slot: str, *arguments: str) -> None:
    match (command, *arguments):
        case ("until", state):
            while next(now for now in fleet.statuses() if now.slot == int(slot)).state != state:
                await fleet.changes.wait()
        case ("pid",):
            while next(now for now in fleet.statuses() if now.slot == int(slot)).pid is None:
                await fleet.changes.wait()
        case ("seen", lease_id, culling_distance):
            while culling_distance not in str(fleet._tenancy(lease_id)):
                await fleet.changes.wait()
        case ("lease", lease_id):
            assert await fleet.lease(int(slot), lease_id)
        case ("end", lease_id):
            await fleet.end(int(slot), lease_id, "released")
        case ("release", lease_id):
            await fleet.release(int(slot), lease_id, "released")
        case ("load", name):
            assert await fleet.load(int(slot), name)
        case ("drain",):
            fleet.drain(int(slot))
        case ("quarantine", why):
            fleet.quarantine(int(slot), why)
        case _:
            raise ValueError(command)


def main() -> None:
    config, state_dir = msgspec.json.decode(sys.argv[1], type=Config), Path(sys.argv[2])
    with state_directory(state_dir) as runs, closing(Journal(state_dir / "journal.sqlite")) as journal:
        trio.run(serve, config, runs, journal, sys.argv[3:])


if __name__ == "__main__":
    main()

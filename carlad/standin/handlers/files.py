"""Files that the client keeps on its disk: here only the walkers' navigation mesh."""

from __future__ import annotations

import logging
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

from carlad.standin import navigation
from carlad.standin.simulation import Simulation
from carlad.standin.towns import Town
from carlad.wire.errors import CallError

log = logging.getLogger("carlad.standin")

# A mesh takes some tenths of a second: the server goes on meanwhile.
_builder = ThreadPoolExecutor(1, thread_name_prefix="navigation")
_jobs: dict[str, Future[bytes]] = {}  # by file name, the oldest first
_JOBS_MAX = 4


def get_required_files(sim: Simulation, folder: str) -> list[str]:
    """The map is not among them: the client asks for it with get_map_data and writes nothing to its disk."""
    name = navigation.file_name(sim.town.name, sim.town.xodr)
    return [name] if folder == navigation.FOLDER and name is not None else []


def request_file(sim: Simulation, name: str) -> Generator[float, None, bytes]:
    if name not in get_required_files(sim, navigation.FOLDER):
        raise CallError(f"file '{name}' not found")
    return (yield from _mesh(name, sim.town))


def get_navigation_mesh(sim: Simulation) -> Generator[float, None, bytes]:
    """Empty where nobody can walk. The 0.9.16 client does not ask for it: it requests the file."""
    for name in get_required_files(sim, navigation.FOLDER):
        return (yield from _mesh(name, sim.town))
    return b""


def _mesh(name: str, town: Town) -> Generator[float, None, bytes]:
    """The file's content, made once and by another thread."""
    if name not in _jobs:
        if len(_jobs) == _JOBS_MAX:
            del _jobs[next(iter(_jobs))]
        _jobs[name] = _builder.submit(_build, name, town)
    job = _jobs[name]
    while not job.done():
        yield 0.0
    return job.result()


def _build(name: str, town: Town) -> bytes:
    try:
        return navigation.mesh_file(town.map, town.xodr)
    except navigation.NavigationFileError:
        # A damaged mesh would corrupt the user's process; without one its walkers stand still.
        log.exception("no navigation mesh: %s", name)
        return b""

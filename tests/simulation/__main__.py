"""Simulated hours by seed: `python -m tests.simulation --seeds 0:1000`, and one of them again, with its
trace: `python -m tests.simulation --seed 17`. A seed that fails is shrunk: happenings are left out as long
as it fails in the same way. Hashes are fixed, so that a seed is the same everywhere."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path

from tests.simulation import schedule
from tests.simulation.schedule import Any
from tests.simulation.world import World

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

_HASH_SEED = "0"
_OURS = "carlad-simulation-"  # then the process


def outcome(seed: int, happenings: tuple[Any, ...]) -> tuple[str | None, World]:
    """What was violated or went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix=f"{_OURS}{os.getpid()}-", dir=_memory()) as folder:
        world = World(seed, happenings, Path(folder))
        try:
            world.run()
        except BaseExceptionGroup as failures:
            if failures.subgroup(lambda one: not isinstance(one, Exception)):
                raise  # it was interrupted
            return "; ".join(sorted({f"{type(one).__name__}: {one}" for one in _leaves(failures)})), world
        except Exception as failure:
            return f"{type(failure).__name__}: {failure}", world
        return None, world


def shrunk(seed: int, happenings: tuple[Any, ...], failure: str) -> tuple[Any, ...]:
    """As few of them as still fail alike: halves first, then ever smaller parts."""
    size = len(happenings) // 2
    while size:
        at = 0
        while at < len(happenings):
            fewer = happenings[:at] + happenings[at + size :]
            found, _world = outcome(seed, fewer)
            if found is not None and _kind(found) == _kind(failure):
                happenings = fewer
            else:
                at += size
        size //= 2
    return happenings


def _kind(failure: str) -> str:
    return re.sub(r"[\d.]+", "#", failure.partition(" s: ")[2] or failure)[:60]


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


@lru_cache(maxsize=1)
def _memory() -> Path:
    """Where folders cost nothing; without those of simulations that were killed."""
    shared = Path("/dev/shm")
    place = shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())
    for left in place.glob(f"{_OURS}*"):
        if not Path("/proc", left.name.removeprefix(_OURS).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return place


def _of_seed(seed: int) -> tuple[int, str | None, int]:
    failure, world = outcome(seed, schedule.draw(seed))
    return seed, failure, world.oracle.granted


def many(seeds: range, jobs: int) -> int:
    """Prints what fails. Returns the exit code."""
    began_s, failed, granted = time.monotonic(), 0, 0
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(_of_seed, seed) for seed in seeds]):
            seed, failure, leases = done.result()
            granted += leases
            if failure is not None:
                failed += 1
                print(
                    f"seed {seed}: {failure}\n  again: python -m tests.simulation --seed {seed}", flush=True
                )
    seconds = time.monotonic() - began_s
    print(f"{len(seeds)} simulated hours, {granted} leases, {failed} failed, {seconds:.0f} s")
    return 1 if failed or not granted else 0


def one(seed: int) -> int:
    """Prints the trace, and of a failure the shortest way to it."""
    happenings = schedule.draw(seed)
    failure, world = outcome(seed, happenings)
    if failure is not None:
        happenings = shrunk(seed, happenings, failure)
        failure, world = outcome(seed, happenings)
    print(*world.trace, sep="\n")
    print(f"seed {seed}: {failure or 'every promise was kept'}")
    return 1 if failure else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:1000", metavar="FIRST:LAST", help="the last is left out")
    parser.add_argument("--seed", type=int, help="this one alone, with its trace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != _HASH_SEED:
        os.environ["PYTHONHASHSEED"] = _HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    if options.seed is not None:
        return one(options.seed)
    first, last = map(int, options.seeds.split(":"))
    return many(range(first, last), options.jobs)


if __name__ == "__main__":
    sys.exit(main())

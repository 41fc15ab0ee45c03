"""`python -m tests.system [--seed N] [--seconds S] [--every S] [--out FOLDER]`: a chaos by hand, or a soak.

Prints what happened and every violation; the exit code is 1 if there is one. FOLDER (default build/chaos)
gets samples.jsonl and, of memory, descriptors, threads and disk over time, soak.png. Needs root, for a small
disk.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from tests import plots
from tests.plots import Panel
from tests.system.chaos import Outcome, run
from tests.system.history import Granted, Watched, violations

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system", description="A chaos of real processes.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two blows, on average")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "chaos")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="carlad-chaos-") as folder:
        is_clean = False
        try:
            outcome = run(given.seed, given.seconds, Path(folder), given.every)
            found = violations(outcome.history)
            is_clean = not found
        finally:
            if not is_clean:
                _keep(Path(folder), given.out / f"seed-{given.seed}")
    _write(outcome, given.out)
    print(summary(outcome))
    print("\n".join(found) if found else "no violations")
    return 1 if found else 0


def summary(outcome: Outcome) -> str:
    entries = outcome.history.entries
    tenancies = sum(isinstance(entry, Granted) for entry in entries)
    hosts = sum(isinstance(entry, Granted) and entry.token == 0 for entry in entries)
    bundles = sum(entry.bundles for entry in entries if isinstance(entry, Watched))
    commands = sum(map(len, outcome.history.commands.values()))
    blows = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.blows.items()))
    return (
        f"{tenancies} tenancies of {len(outcome.history.commands)} servers, {hosts} of them by env hosts; "
        f"{commands} marked commands, {bundles} bundles seen by viewers; "
        f"{sum(outcome.blows.values())} blows: {blows}"
    )


def _keep(folder: Path, kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("run", "ballast"))
    print(f"what everybody wrote is in {kept}", flush=True)


def _write(outcome: Outcome, folder: Path) -> None:
    lines = b"".join(msgspec.json.encode(sample) + b"\n" for sample in outcome.samples)
    (folder / "samples.jsonl").write_bytes(lines)
    title = f"carlad through {sum(outcome.blows.values())} blows; it was started {_runs(outcome)} times"
    panels = [
        Panel(name, [(sample.at_s, getattr(sample, field)) for sample in outcome.samples])
        for name, field in (
            ("memory of the daemon, MiB", "rss_mib"),
            ("its file descriptors", "fds"),
            ("its threads", "threads"),
            ("disk: state and logs, MiB", "disk_mib"),
        )
    ]
    plots.lines(folder / "soak.png", title, "seconds", panels)


def _runs(outcome: Outcome) -> int:
    return max((sample.runs for sample in outcome.samples), default=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What every benchmark shares: cases printed as a table and written to build/bench/NAME.jsonl.

The first line of the file names the machine and the versions; each further line is one case:
{"case", "value", "unit", "against", "ratio"}. Compare within one run only: machines are noisy.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"
_VERSIONS_OF = (
    "carlad",
    "carla",
    "gymnasium",
    "numpy",
    "open3d-cpu",
    "pyzmq",
    "stable-baselines3",
    "torch",
    "trio",
)


@dataclass(frozen=True)
class Case:
    """One measured figure; `ratio` is value / the value of the case named `against`."""

    case: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None


@dataclass
class Report:
    """The cases of one benchmark. Call `write()` once at the end."""

    name: str
    cases: list[Case] = field(default_factory=list)

    def add(self, case: str, value: float, unit: str, against: str | None = None) -> None:
        base = next((c.value for c in self.cases if c.case == against), None)
        if against is not None and base is None:
            raise ValueError(f"cannot compare {case!r}: no earlier case {against!r}")
        self.cases.append(Case(case, value, unit, against, value / base if base else None))
        progress(f"{case}: {value:,.4g} {unit}")

    def write(self) -> Path:
        """Print the table and write the JSON lines; returns the file's path."""
        BUILD.mkdir(parents=True, exist_ok=True)
        path = BUILD / f"{self.name}.jsonl"
        lines = [json.dumps(machine())] + [json.dumps(asdict(c)) for c in self.cases]
        path.write_text("\n".join(lines) + "\n")
        table = Table("case", "value", "unit", "against", "ratio", title=f"bench {self.name}")
        for c in self.cases:
            ratio = "" if c.ratio is None else f"{c.ratio:.2f}"
            table.add_row(c.case, f"{c.value:,.4g}", c.unit, c.against or "", ratio)
        Console().print(table)
        return path


def progress(what: str) -> None:
    """A line about what was done or is done now, for whoever waits."""
    print(f"  {time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def machine() -> dict[str, object]:
    """What the figures were measured on: processor, cores, load, versions and date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: _version(name) for name in _VERSIONS_OF},
    }


def _processor() -> str:
    """Its name as the kernel knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def numbers(*names: str) -> list[int]:
    """The command line's arguments, of which any may be left out at the end; ends the program with exit code
    2 for one that is no positive number, and for one too many."""
    given = sys.argv[1:]
    for name, text in zip(names, given, strict=False):
        if not text.isdecimal() or int(text) < 1:
            sys.exit(_refusal(f"{name} is a positive number, not {text!r}", names))
    if len(given) > len(names):
        sys.exit(_refusal(f"{given[len(names)]!r} is one argument too many", names))
    return [int(text) for text in given]


def _refusal(reason: str, names: Sequence[str]) -> int:
    usage = " ".join(f"[{name}]" for name in names)
    print(f"cannot measure: {reason}; usage: python -m tests.bench.NAME {usage}", file=sys.stderr)
    return 2


def rate(step: Callable[[], object], seconds: float, rounds: int = 3) -> float:
    """Median calls of `step` per second over `rounds` rounds of about `seconds` each."""
    return median(_one_round(step, seconds) for _ in range(rounds))


def rates(steps: Mapping[str, Callable[[], object]], seconds: float, rounds: int = 3) -> dict[str, float]:
    """As `rate`, of several that take turns: what else the machine does falls upon all of them."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(_one_round(step, seconds))
    return {name: median(rounds) for name, rounds in found.items()}


def _one_round(step: Callable[[], object], seconds: float) -> float:
    started = time.perf_counter()
    calls = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        step()
        calls += 1
    return calls / elapsed


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

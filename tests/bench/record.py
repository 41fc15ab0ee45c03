"""`python -m tests.bench.record [NAME...]`: runs benchmarks and keeps what they found for docs/benchmarks.md.

On a quiet machine, all of them take about half an hour. What each found goes to docs/benchmarks/NAME.jsonl,
pictures beside it; the page's tables are made of that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.harness import BUILD
from tests.plots import Bar, bars

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "benchmarks"
NAMES = tuple(re.findall("<!-- bench-(.*):begin -->", (KEPT.parent / "benchmarks.md").read_text()))
LOAD_MAX = 0.5  # that is not the benchmarks' own


class Picture(NamedTuple):
    """Of the cases in `unit` whose names have `words` in them."""

    bench: str
    file: str
    title: str
    unit: str
    words: str = ""


PICTURES = (
    Picture("recovery", "recovery", "Seconds until all environments step again", "s"),
    Picture("recovery", "recovery-goodput", "Steps a second with one fault a minute", "steps/s", "goodput"),
    Picture("vector", "vector", "Environment steps a second", "steps/s"),
    Picture(
        "trainer", "trainer", "PPO: steps a second with updates, four sessions", "steps/s", "ppo-4-sessions"
    ),
    Picture("broker", "broker", "Leases granted and released a second", "pairs/s"),
    Picture("boot", "boot", "Seconds from nothing until there are servers", "s"),
    Picture("fleet", "fleet", "What supervision takes of a core, %", "% of a core"),
    Picture("standin", "standin", "Ticks a second by scene", "ticks/s"),
)


def main(names: list[str]) -> int:
    if unknown := sorted(set(names) - set(NAMES)):
        print(
            f"there is no benchmark {', '.join(unknown)} for the page; there are {', '.join(NAMES)}",
            file=sys.stderr,
        )
        return 2
    load = os.getloadavg()[0]
    if load > LOAD_MAX:
        print(
            f"the machine is not quiet: its load is {load:.1f}; ratios count, figures do not", file=sys.stderr
        )
    KEPT.mkdir(exist_ok=True)
    for name in names or NAMES:
        subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], cwd=ROOT, check=True)
        shutil.copyfile(BUILD / f"{name}.jsonl", KEPT / f"{name}.jsonl")
        draw(name)
    return subprocess.run([sys.executable, "docs/generate.py"], cwd=ROOT, check=False).returncode


def draw(name: str) -> None:
    _machine, *cases = map(json.loads, (KEPT / f"{name}.jsonl").read_text().splitlines())
    for picture in PICTURES:
        if picture.bench == name:
            chosen = [_bar(c) for c in cases if c["unit"] == picture.unit and picture.words in c["case"]]
            bars(KEPT / f"{picture.file}.png", picture.title, chosen)


def _bar(case: dict[str, Any]) -> Bar:
    ratio = "" if case["ratio"] is None else f"  ({case['ratio']:.2f} x)"
    return Bar(case["case"], case["value"], f"{case['value']:,.4g}{ratio}", case["ratio"] is None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

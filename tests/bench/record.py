"""`python -m tests.bench.record [--missing] [NAME...]`: runs benchmarks and keeps what they find for a page.

On a quiet machine, all of them take about half an hour. What each found goes to docs/benchmarks/NAME.jsonl,
pictures beside it, and into the tables of docs/benchmarks.md, as soon as it is there: after Ctrl-C, or one
that failed, `--missing` goes on with those that have not been measured yet.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.harness import BUILD
from tests.plots import Bar, bars

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "benchmarks"
NAMES = tuple(re.findall("<!-- bench-(.*):begin -->", (KEPT.parent / "benchmarks.md").read_text()))
LOAD_MAX = 0.5  # that is not the benchmarks' own
INTERRUPTED = 130  # the exit code, as a shell has it after Ctrl-C


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


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.record")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the page; all, if there is none")
    parser.add_argument("--missing", action="store_true", help="only those that have not been measured yet")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.names) - set(NAMES)):
        parser.error(f"there is no benchmark {', '.join(unknown)} for the page; there are {', '.join(NAMES)}")
    names = [name for name in given.names or NAMES if not (given.missing and _kept(name).exists())]
    end_on_signals()
    if (load := os.getloadavg()[0]) > LOAD_MAX:
        _say(f"the machine is not quiet: its load is {load:.1f}; ratios count, figures do not")
    return _measure_all(names)


def _measure_all(names: list[str]) -> int:
    """The exit code."""
    KEPT.mkdir(exist_ok=True)
    failed = []
    for number, name in enumerate(names, 1):
        _say(f"{time.strftime('%H:%M:%S')} {number} of {len(names)}: {name}")
        code = run([sys.executable, "-m", f"tests.bench.{name}"])
        if code == INTERRUPTED:
            _say(f"interrupted in {name}; go on with --missing")
            return code
        if code != 0:
            _say(f"{name} failed: exit code {code}")
            failed.append(name)
            continue
        shutil.copyfile(BUILD / f"{name}.jsonl", _kept(name))
        draw(name)
        subprocess.run([sys.executable, "docs/generate.py"], cwd=ROOT, check=True)
    _say(f"{time.strftime('%H:%M:%S')} {len(names) - len(failed)} of {len(names)} measured")
    if failed:
        _say(f"to be measured again: {' '.join(failed)}")
    return 1 if failed else 0


def run(command: list[str]) -> int:
    """The exit code, or INTERRUPTED: whoever is interrupted first ends what it started, at its own pace."""
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            return INTERRUPTED


def draw(name: str) -> None:
    _machine, *cases = map(json.loads, _kept(name).read_text().splitlines())
    for picture in PICTURES:
        if picture.bench == name:
            chosen = [_bar(c) for c in cases if c["unit"] == picture.unit and picture.words in c["case"]]
            bars(KEPT / f"{picture.file}.png", picture.title, chosen)


def _bar(case: dict[str, Any]) -> Bar:
    ratio = "" if case["ratio"] is None else f"  ({case['ratio']:.2f} x)"
    return Bar(case["case"], case["value"], f"{case['value']:,.4g}{ratio}", case["ratio"] is None)


def _kept(name: str) -> Path:
    return KEPT / f"{name}.jsonl"


def end_on_signals() -> None:
    """Also where a shell started us in the background, with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

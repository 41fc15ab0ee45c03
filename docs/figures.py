"""The tables of benchmarks.md, out of what `python -m tests.bench.record` kept in docs/benchmarks/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "benchmarks"
NAMES = (
    "recovery",
    "vector",
    "trainer",
    "session",
    "broker",
    "boot",
    "fleet",
    "scrub",
    "standin",
    "rendering",
    "viz",
)


def table(name: str) -> Iterator[str]:
    """When and on what it was measured, its pictures, its cases."""
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        yield "Not measured on this version yet."
        return
    machine, *cases = (json.loads(line) for line in path.read_text().splitlines())
    yield _measured(machine)
    yield ""
    for picture in sorted(FOLDER.glob(f"{name}*.png")):
        yield f"![{name}](benchmarks/{picture.name})"
        yield ""
    yield "| case | value | unit | against | ratio |"
    yield "| --- | ---: | --- | --- | ---: |"
    for case in cases:
        ratio = "" if case["ratio"] is None else f"{case['ratio']:.2f}"
        against = case["against"] or ""
        yield f"| {case['case']} | {case['value']:,.4g} | {case['unit']} | {against} | {ratio} |"


def _measured(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"load {machine['load']:.1f} at the end; Linux {machine['kernel']}, Python {machine['python']}, "
        f"{versions}."
    )

"""Each misbehaviour of a server, once: how long until it is seen, told, made good, and nothing of it is left.

`python -m tests.bench.misbehaviour [--write]`; with `--write` the table goes into docs/misbehaviour.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.bench.harness import Report, machine
from tests.fleet.misbehaviour import CASES, Case, Outcome, play

PAGE = Path(__file__).resolve().parents[2] / "docs" / "misbehaviour.md"
_COLUMNS = (
    "the server …",
    "is seen as",
    "cause",
    "within",
    "measured",
    "holder told",
    "has another",
    "nothing left",
    "and then",
)
_WRITTEN = re.compile(r"(<!-- misbehaviour:begin -->\n).*?(<!-- misbehaviour:end -->)", re.DOTALL)


def main() -> None:
    report = Report("misbehaviour")
    rows = []
    for case in CASES:
        print(f"... {case.what}", file=sys.stderr)
        outcome = play(case)
        report.add(f"{case.what}: seen", 1e3 * outcome.seen_s, "ms")
        rows.append(row(case, outcome))
    report.write()
    if "--write" in sys.argv[1:]:
        here = machine()
        measured = (
            f"Measured once each on {here['date']}, on {here['cores']} cores (load {here['load']:.0f}), with "
            f"Python {here['python']}."
        )
        lines = [measured, "", _line(_COLUMNS), _line(["---"] * len(_COLUMNS)), *rows]
        PAGE.write_text(
            _WRITTEN.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], PAGE.read_text())
        )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def promise(case: Case) -> str:
    """What a row says whatever is measured: its beginning."""
    shown = {
        "slot.lost": "lost",
        "slot.stopping": "ended",
        "slot.ready": "READY",
        "lease.released": "nothing",
    }
    seen = shown[case.event]
    if case.reason:
        seen += f": `{_plain(case.reason)}`"
    return f"| {case.what} | {seen} | {case.cause or ''} | {case.within} |"


def row(case: Case, outcome: Outcome) -> str:
    times = (
        outcome.seen_s if case.event != "lease.released" else None,
        outcome.told_s,
        outcome.replaced_s,
        outcome.over_s,
    )
    return f"{promise(case)} {' | '.join(map(_time, times))} | {case.then} |"


def _plain(pattern: str) -> str:
    """As people read it."""
    return re.sub(r"\\(.)", r"\1", pattern.replace(r"\d+", "N").replace(".*", "… "))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


if __name__ == "__main__":
    main()

"""Writes the bundled towns: `python -m carlad.standin.towns.generate [--check]`.

Needs scenariogeneration; a running server does not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from carlad.standin.towns import grid, opendrive

HERE = Path(__file__).parent

SPECS = (
    grid.GridSpec(
        name="Town01",
        columns_m=(95.0, 110.0, 100.0, 85.0),
        rows_m=(90.0, 105.0, 80.0),
        arterial_columns=frozenset({2}),
        arterial_rows=frozenset({1}),
    ),
    grid.GridSpec(
        name="Town02",
        columns_m=(80.0, 95.0),
        rows_m=(85.0, 75.0),
        arterial_rows=frozenset({1}),
        latitude_deg=48.1,
        longitude_deg=11.6,
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the files, or with --check compare them; 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m carlad.standin.towns.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not current")
    options = parser.parse_args(arguments)
    stale = 0
    for spec in SPECS:
        path = HERE / f"{spec.name}.xodr"
        text = opendrive.write(grid.plan(spec))
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path.name} differs from what its plan gives: run this without --check", file=sys.stderr)
            stale += 1
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

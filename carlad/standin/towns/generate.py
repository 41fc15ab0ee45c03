"""Writes the bundled towns: `python -m carlad.standin.towns.generate [--check]`.

Needs scenariogeneration; a running server does not.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import carla

from carlad.standin.towns.attributes import parsed
from carlad.standin.towns.design import opendrive
from carlad.standin.towns.design.designs import DESIGNS
from carlad.standin.towns.design.network import Network
from carlad.standin.towns.design.plan import plan
from carlad.standin.towns.furnish import furnish

HERE = Path(__file__).parent


def text_of(network: Network) -> str:
    """The whole OpenDRIVE text of a town, with the lights, signs and crosswalks of its junctions."""
    bare = opendrive.write(plan(network))
    document = parsed(bare)
    furnish(carla.Map(network.name, bare), document, network.stop_line_m)
    ET.indent(document, " ")
    text: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return text.decode() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the files, or with --check compare them; 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m carlad.standin.towns.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not current")
    options = parser.parse_args(arguments)
    stale = 0
    for design in DESIGNS:
        network = design()
        path = HERE / f"{network.name}.xodr"
        text = text_of(network)
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(
                f"{path.name} differs from what its design gives: run this without --check", file=sys.stderr
            )
            stale += 1
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

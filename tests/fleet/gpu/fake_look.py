"""Says what a machine with two cards would, of the servers that run now. Run as a script.

`fake_look.py SPEC cards|adapters`, SPEC a JSON file: `vulkan`, the cards in Vulkan's order as it says;
`draws_on`, the card that a server of each `-graphicsadapter` really uses; `mark`, in their environment.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

GIB = 1 << 30


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    buses = [{"domain": 0, "bus": bus, "device": 0} for bus in (5, 9)]
    if sys.argv[2] == "adapters":
        json.dump([buses[card] for card in spec["vulkan"]], sys.stdout)
        return
    used: list[dict[int, int]] = [{}, {}]
    for pid, adapter in adapters_in_use(spec["mark"].encode()):
        used[spec["draws_on"][adapter]][pid] = 3 * GIB
    cards = [
        {
            "index": card,
            "uuid": f"GPU-{card}",
            "pci": buses[card],
            "name": "fake",
            "total_bytes": 24 * GIB,
            "free_bytes": spec["free_gib"][card] * GIB - sum(used[card].values()),
            "processes": used[card],
        }
        for card in (0, 1)
    ]
    json.dump(cards, sys.stdout)


def adapters_in_use(mark: bytes):
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        found = re.search(rb"-graphicsadapter=(\d+)", command)
        if found and mark in environ and b"fake_server" in command:
            yield int(folder.name), int(found[1])


main()

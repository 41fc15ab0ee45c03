"""Says what a machine with two cards would, of the servers that run now. Run as a script.

`fake_look.py SPEC cards|adapters`, SPEC a JSON file: `vulkan`, the cards in Vulkan's order as it says;
`draws_on`, the card that a server of each `-graphicsadapter` really uses; `mark`, in their environment;
`frees_late`, for how many looks the memory of processes that have ended is still there.
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
    haunt(used, Path(sys.argv[1]).with_name("haunted.json"), spec["frees_late"])
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


def haunt(used: list[dict[int, int]], kept: Path, looks: int) -> None:
    """`kept`: for how many more looks each process is there, once it has gone."""
    before = json.loads(kept.read_text()) if kept.exists() else []
    here = [[card, pid, looks] for card in (0, 1) for pid in used[card]]
    gone = [[card, pid, left - 1] for card, pid, left in before if left and pid not in used[card]]
    for card, pid, _left in gone:
        used[card][pid] = 3 * GIB
    kept.write_text(json.dumps(here + gone))


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

"""One look at the cards, as a process of its own: drivers hang and crash, and take their caller along.

Run as `python -m carlad.fleet.gpu.look cards` or `... adapters`; prints JSON, or says on stderr why not.
"""

from __future__ import annotations

import sys

import msgspec

from carlad.fleet.gpu.devices import Device, PciBus, devices
from carlad.fleet.gpu.vulkan import adapter_order


def cards() -> list[Device]:
    import pynvml

    return devices(pynvml)


def main() -> None:
    wanted = sys.argv[1]
    try:
        found: list[Device] | list[PciBus | None] = cards() if wanted == "cards" else adapter_order()
    except Exception as error:  # whatever a driver's library raises, it is told and nothing else
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()

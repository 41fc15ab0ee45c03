"""A library of pynvml's shape for cards that are not there."""

from __future__ import annotations

from types import SimpleNamespace

GIB = 1 << 30


class FakeNvml:
    """`cards`: bus and free GiB of each; `drawing` and `computing`: bytes by pid, by card."""

    def __init__(self, cards, drawing=None, computing=None) -> None:
        self.cards = cards
        self.drawing = drawing or {}
        self.computing = computing or {}
        self.open = 0

    def nvmlInit(self):  # noqa: N802
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        assert self.open
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, index):  # noqa: N802
        return f"GPU-{index}".encode()  # older versions of the package give bytes

    def nvmlDeviceGetName(self, index):  # noqa: N802
        return f"Card {index}"

    def nvmlDeviceGetPciInfo(self, index):  # noqa: N802
        return SimpleNamespace(busId=f"00000000:{self.cards[index][0]:02X}:00.0")

    def nvmlDeviceGetMemoryInfo(self, index):  # noqa: N802
        free = int(self.cards[index][1] * GIB)
        return SimpleNamespace(total=24 * GIB, free=free, used=24 * GIB - free)

    def nvmlDeviceGetGraphicsRunningProcesses(self, index):  # noqa: N802
        return _processes(self.drawing.get(index, {}))

    def nvmlDeviceGetComputeRunningProcesses(self, index):  # noqa: N802
        return _processes(self.computing.get(index, {}))


def _processes(used):
    return [SimpleNamespace(pid=pid, usedGpuMemory=figure) for pid, figure in used.items()]

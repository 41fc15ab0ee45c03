"""What NVML says of cards, and what Vulkan calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

MIB = 1 << 20


class PciBus(msgspec.Struct, frozen=True, order=True):
    """Where a card is, by which NVML, CUDA and Vulkan mean the same one whatever their order."""

    domain: int
    bus: int
    device: int

    @classmethod
    def parse(cls, text: str) -> PciBus:
        """From NVML's `00000000:05:00.0`."""
        domain, bus, rest = text.split(":")
        return cls(int(domain, 16), int(bus, 16), int(rest.partition(".")[0], 16))

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}"


def cpus_near(pci: PciBus) -> str:
    """The processors of the NUMA node that a card is attached to, such as `0-15`; empty where unknown."""
    try:
        return Path(f"/sys/bus/pci/devices/{pci}.0/local_cpulist").read_text().strip()
    except OSError:
        return ""


class Device(msgspec.Struct, frozen=True):
    """`processes`: bytes of its memory by pid; a process that NVML gives no figure for counts as 0."""

    index: int
    uuid: str
    pci: PciBus
    name: str
    total_bytes: int
    free_bytes: int
    processes: dict[int, int]

    def used_by(self, pids: frozenset[int]) -> int:
        return sum(used for pid, used in self.processes.items() if pid in pids)


def devices(nvml: Any) -> list[Device]:
    """All cards that `nvml`, the module pynvml or another of its shape, knows. Raises what it raises."""
    nvml.nvmlInit()
    try:
        return [_device(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    finally:
        nvml.nvmlShutdown()


def _device(nvml: Any, index: int) -> Device:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Device(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        pci=PciBus.parse(_text(nvml.nvmlDeviceGetPciInfo(handle).busId)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_bytes=memory.total,
        free_bytes=memory.free,
        processes=_processes(nvml, handle),
    )


def _processes(nvml: Any, handle: Any) -> dict[int, int]:
    """A process that draws and computes is in both lists, with the same figure."""
    used: dict[int, int] = {}
    for ask in (nvml.nvmlDeviceGetGraphicsRunningProcesses, nvml.nvmlDeviceGetComputeRunningProcesses):
        for process in ask(handle):
            used[process.pid] = max(used.get(process.pid, 0), process.usedGpuMemory or 0)
    return used


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

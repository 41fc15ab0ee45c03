"""How a slot's incarnation fares: what it takes of the machine, and how quickly it answers."""

from __future__ import annotations

from carlad.fleet.resources import Usage
from carlad.messages import SlotVitals

_NOTHING = Usage(processes=0, rss_bytes=0, cpu_s=0.0, fds=0, threads=0)


class Condition:
    """Of one incarnation, from its start at `now_s` on. Pure: times are the slot's clock."""

    def __init__(self, slot: int, incarnation: int, now_s: float) -> None:
        self._slot = slot
        self._incarnation = incarnation
        self._started_at_s = now_s
        self._usage = _NOTHING
        self._sampled_at_s: float | None = None
        self._cores = 0.0
        self._answer_s: float | None = None
        self._gpu_memory_bytes: int | None = None

    def uses(self, usage: Usage, now_s: float) -> None:
        """A sample of its resources."""
        before_s = self._sampled_at_s  # of a server that was taken back much was used before the first one
        if before_s is not None and now_s > before_s:
            self._cores = max(0.0, usage.cpu_s - self._usage.cpu_s) / (now_s - before_s)
        self._usage, self._sampled_at_s = usage, now_s

    @property
    def gpu_memory_bytes(self) -> int | None:
        """None where no look at graphics cards has told."""
        return self._gpu_memory_bytes

    def draws(self, gpu_memory_bytes: int) -> None:
        """It has so much of graphics cards' memory."""
        self._gpu_memory_bytes = gpu_memory_bytes

    def answered(self, seconds: float) -> None:
        """A probe's answer took so long."""
        self._answer_s = seconds

    def vitals(self, now_s: float, log_bytes: int) -> SlotVitals:
        return SlotVitals(
            slot=self._slot,
            incarnation=self._incarnation,
            age_s=now_s - self._started_at_s,
            processes=self._usage.processes,
            rss_bytes=self._usage.rss_bytes,
            cores=self._cores,
            fds=self._usage.fds,
            threads=self._usage.threads,
            answer_s=self._answer_s,
            gpu_memory_bytes=self._gpu_memory_bytes,
            log_bytes=log_bytes,
        )

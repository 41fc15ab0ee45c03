"""What a check-up found, and what it proposes. Pure."""

from __future__ import annotations

import math

import msgspec

from carlad.config import Config

# A limit is some times what was measured on an idle machine: servers start and load side by side.
_START_FACTOR, _LOAD_FACTOR = 5.0, 5.0
_START_S, _LOAD_S = (30.0, 600.0), (30.0, 600.0)  # the least and the most that is proposed
_GPU_FACTOR = 1.25  # cameras come on top
_MEMORY_SHARE = 0.8  # of what is free; the rest is for learners and caches


class Measure(msgspec.Struct, frozen=True):
    """`name` is stable; `value` is in `unit`: s, bytes, Hz, or nothing."""

    name: str
    value: float
    unit: str = ""


class Proposal(msgspec.Struct, frozen=True):
    """`line` is one of carlad.toml, in section `section`."""

    section: str
    line: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """`failures`: what a fleet cannot do with such servers; `differences`: what they do otherwise.

    `card`: the graphics card that it was seen on, if any.
    """

    server: str
    card: str | None
    measures: tuple[Measure, ...]
    differences: tuple[str, ...]
    failures: tuple[str, ...]
    proposals: tuple[Proposal, ...]

    @property
    def is_fit(self) -> bool:
        return not self.failures


def proposals(config: Config, measures: tuple[Measure, ...], free_bytes: int) -> tuple[Proposal, ...]:
    """Values for carlad.toml that are others than now. `free_bytes`: of memory, beside the one server."""
    measured = {measure.name: measure.value for measure in measures}
    found = []
    if ready_s := measured.get("ready after"):
        limit_s = _limit(ready_s * _START_FACTOR, *_START_S)
        if limit_s != config.probe.start_max_s:
            found.append(Proposal("probe", f"start_max_s = {limit_s}", f"ready after {ready_s:.1f} s"))
    if load_s := measured.get("map load"):
        limit_s = _limit(load_s * _LOAD_FACTOR, *_LOAD_S)
        if limit_s != config.probe.load_max_s:
            found.append(Proposal("probe", f"load_max_s = {limit_s}", f"a map took {load_s:.1f} s"))
    if drawn := measured.get("GPU memory"):
        memory_mib = math.ceil(drawn * _GPU_FACTOR / 2**20 / 100) * 100
        if memory_mib != config.gpu.memory_mib:
            found.append(Proposal("gpu", f"memory_mib = {memory_mib}", f"{drawn / 2**20:.0f} MiB were taken"))
    if one := measured.get("memory"):
        fit = math.floor(free_bytes * _MEMORY_SHARE / one) + 1
        if fit < config.fleet.size:
            why = f"{one / 2**30:.1f} GiB each; {free_bytes / 2**30:.1f} GiB are free beside one"
            found.append(Proposal("fleet", f"size = {fit}", why))
    return tuple(found)


def _limit(seconds: float, least: float, most: float) -> float:
    """Rounded up to 10 s."""
    return min(max(math.ceil(seconds / 10) * 10.0, least), most)

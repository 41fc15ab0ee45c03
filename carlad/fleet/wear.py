"""When a server has served long enough: real ones leak, so they are replaced between two leases. Pure.

What a limit is for is wear, which comes with use. A limit that a server reaches before anybody has used it
would have servers replaced for ever and nobody served, so each is served by a server first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from carlad.config import RecycleSection

# For so long after it became READY a server that nobody has used yet may fill its caches.
SETTLED_AFTER_S = 60.0
# A slope is believed after so long, over so many samples: a server that fills its caches grows, too.
SLOPE_AFTER_S = 600.0
_SAMPLES_MAX = 240
_MB = 1 << 20


class Past(msgspec.Struct, frozen=True):
    """What one incarnation has been through, for the journal. `own` memory, in bytes: the most that it had
    in its first minute without a holder, which is no wear."""

    ready_at_s: float | None = None  # CLOCK_BOOTTIME
    leases: int = 0
    map_loads: int = 0
    map_loads_used: int = 0  # that a lease followed
    own_rss: int = 0
    own_gpu_memory: int = 0


class Wear:
    """Of one incarnation. Times are of CLOCK_BOOTTIME, because it may outlive its daemon."""

    def __init__(self, past: Past = Past()) -> None:  # noqa: B008 it is immutable
        self.past = past
        self._settling_since_s: float | None = None
        self._rss: deque[tuple[float, int]] = deque(maxlen=_SAMPLES_MAX)
        self._rss_now = 0
        self._gpu_memory_now = 0

    def became_ready(self, now_s: float) -> None:
        """At its start, after a scrub or with another map."""
        self._settling_since_s = now_s
        if self.past.ready_at_s is None:
            self._change(ready_at_s=now_s)

    def was_leased(self) -> None:
        self._change(leases=self.past.leases + 1, map_loads_used=self.past.map_loads)

    def loaded_a_map(self) -> None:
        """A new map frees some and leaves some: growth is measured from here."""
        self._change(map_loads=self.past.map_loads + 1)
        self._rss.clear()

    def weighs(self, now_s: float, rss_bytes: int, gpu_memory_bytes: int = 0) -> None:
        """Samples are kept so far apart that those kept cover what a slope needs, however often they come."""
        if not self._rss or now_s - self._rss[-1][0] >= 2 * SLOPE_AFTER_S / _SAMPLES_MAX:
            self._rss.append((now_s, rss_bytes))
        self._rss_now, self._gpu_memory_now = rss_bytes, gpu_memory_bytes
        if self._settling_since_s is not None and self._is_settling(now_s):
            self._change(
                own_rss=max(self.past.own_rss, rss_bytes),
                own_gpu_memory=max(self.past.own_gpu_memory, gpu_memory_bytes),
            )

    def verdict(self, limits: RecycleSection, now_s: float) -> str | None:
        """Why it is to be replaced, or None. Limits of 0 are none."""
        past = self.past
        measured = (
            ("age_max_s", self._age_s(now_s), limits.age_max_s, "s old"),
            ("leases_max", past.leases, limits.leases_max, "leases served"),
            ("map_loads_max", past.map_loads_used, limits.map_loads_max, "maps loaded"),
            ("growth_max_mb_per_h", self._growth_mb_per_h(), limits.growth_max_mb_per_h, "MiB more an hour"),
            *self._weight_gained(limits, now_s),
        )
        for key, value, limit, unit in measured:
            if limit and value >= limit:
                return f"{value:.0f} {unit}; recycle.{key} is {limit:g}"
        return None

    def too_tight(self, limits: RecycleSection) -> str | None:
        """What the operator is to know of a limit that wear has nothing to do with, or None."""
        for key, own, _now, limit, unit in self._weights(limits):
            if limit and own >= limit * _MB:
                return (
                    f"{own / _MB:.0f} {unit} before anybody used it, and recycle.{key} is {limit:g}: it is "
                    "replaced after every lease. Set the limit higher"
                )
        return None

    def _weight_gained(self, limits: RecycleSection, now_s: float) -> Iterator[tuple[str, float, float, str]]:
        """The limits of memory that it may be judged by."""
        for key, own, now, limit, unit in self._weights(limits):
            has_grown = own < limit * _MB and not self._is_settling(now_s)
            if self.past.leases or has_grown:
                yield key, now / _MB, limit, unit

    def _weights(self, limits: RecycleSection) -> Iterator[tuple[str, int, int, float, str]]:
        past = self.past
        yield "rss_max_mb", past.own_rss, self._rss_now, limits.rss_max_mb, "MiB of memory"
        yield (
            "gpu_memory_max_mb",
            past.own_gpu_memory,
            self._gpu_memory_now,
            limits.gpu_memory_max_mb,
            "MiB of GPU memory",
        )

    def _is_settling(self, now_s: float) -> bool:
        if self.past.leases:
            return False
        return self._settling_since_s is None or now_s - self._settling_since_s < SETTLED_AFTER_S

    def _age_s(self, now_s: float) -> float:
        return 0.0 if self.past.ready_at_s is None else now_s - self.past.ready_at_s

    def _change(self, **changes: object) -> None:
        self.past = msgspec.structs.replace(self.past, **changes)

    def _growth_mb_per_h(self) -> float:
        """The slope of the least-squares line through the samples; 0 before there are enough."""
        if not self._rss or self._rss[-1][0] - self._rss[0][0] < SLOPE_AFTER_S:
            return 0.0
        count = len(self._rss)
        mean_t = sum(t for t, _rss in self._rss) / count
        mean_rss = sum(rss for _t, rss in self._rss) / count
        covariance = sum((t - mean_t) * (rss - mean_rss) for t, rss in self._rss)
        return covariance / sum((t - mean_t) ** 2 for t, _rss in self._rss) * 3600.0 / _MB

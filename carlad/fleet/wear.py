"""When a server has served long enough: real ones leak, so they are replaced between two leases. Pure."""

from __future__ import annotations

from collections import deque

from carlad.config import RecycleSection

# A slope is believed after so long, over so many samples: a server that fills its caches grows, too.
SLOPE_AFTER_S = 600.0
_SAMPLES_MAX = 240
_MB = 1 << 20


class Wear:
    """What one incarnation has been through since it was READY at `now_s`."""

    def __init__(self, now_s: float) -> None:
        self._ready_at_s = now_s
        self._leases = 0
        self._map_loads = 0
        self._rss: deque[tuple[float, int]] = deque(maxlen=_SAMPLES_MAX)
        self._gpu_memory_bytes: int | None = None

    def was_leased(self) -> None:
        self._leases += 1

    def loaded_a_map(self) -> None:
        """A new map frees some and leaves some: growth is measured from here."""
        self._map_loads += 1
        self._rss.clear()

    def weighs(self, now_s: float, rss_bytes: int, gpu_memory_bytes: int | None = None) -> None:
        """Samples are kept so far apart that those kept cover what a slope needs, however often they come."""
        if not self._rss or now_s - self._rss[-1][0] >= 2 * SLOPE_AFTER_S / _SAMPLES_MAX:
            self._rss.append((now_s, rss_bytes))
        self._gpu_memory_bytes = gpu_memory_bytes

    def verdict(self, limits: RecycleSection, now_s: float) -> str | None:
        """Why it is to be replaced, or None. Limits of 0 are none."""
        rss_mb = self._rss[-1][1] / _MB if self._rss else 0.0
        gpu_mb = (self._gpu_memory_bytes or 0) / _MB
        measured = (
            ("age_max_s", now_s - self._ready_at_s, limits.age_max_s, "s old"),
            ("leases_max", self._leases, limits.leases_max, "leases served"),
            ("map_loads_max", self._map_loads, limits.map_loads_max, "maps loaded"),
            ("rss_max_mb", rss_mb, limits.rss_max_mb, "MiB of memory"),
            ("gpu_memory_max_mb", gpu_mb, limits.gpu_memory_max_mb, "MiB of GPU memory"),
            ("growth_max_mb_per_h", self._growth_mb_per_h(), limits.growth_max_mb_per_h, "MiB more an hour"),
        )
        for key, value, limit, unit in measured:
            if limit and value >= limit:
                return f"{value:.0f} {unit}; recycle.{key} is {limit:g}"
        return None

    def _growth_mb_per_h(self) -> float:
        """The slope of the least-squares line through the samples; 0 before there are enough."""
        if not self._rss or self._rss[-1][0] - self._rss[0][0] < SLOPE_AFTER_S:
            return 0.0
        count = len(self._rss)
        mean_t = sum(t for t, _rss in self._rss) / count
        mean_rss = sum(rss for _t, rss in self._rss) / count
        covariance = sum((t - mean_t) * (rss - mean_rss) for t, rss in self._rss)
        return covariance / sum((t - mean_t) ** 2 for t, _rss in self._rss) * 3600.0 / _MB

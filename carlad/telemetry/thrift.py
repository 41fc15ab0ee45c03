"""How often bundles go out, so that who watches costs the watched next to nothing. Pure."""

from __future__ import annotations

SHARE_MAX = 0.01  # of the process's CPU time, unless that were fewer than so many pictures:
RATE_MIN_HZ = 10.0
# What a bundle costs beyond the thread that makes it: ZeroMQ's own thread carries it to each viewer.
_CARRIAGE = 1.5
_NEWS = 0.2  # of an average, what the newest value counts


class Thrift:
    """Told what each bundle took and what the process does meanwhile, it says how long to wait for the next.

    Where the environment keeps a core busy, viewers get fewer pictures than they ask for; where it waits for
    its simulator, the processor has time for them anyway.
    """

    def __init__(self) -> None:
        self.pause_s = 0.0
        """Between two bundles, whoever they are for."""
        self._cost_s = 0.0
        self._before: tuple[float, float] | None = None

    def spent(self, cost_s: float, now_s: float, cpu_s: float) -> None:
        """A bundle took `cost_s` of CPU time; at `now_s` the process has had `cpu_s`."""
        self._cost_s += _NEWS * (cost_s - self._cost_s) if self._cost_s else cost_s
        before, self._before = self._before, (now_s, cpu_s)
        if before is None or now_s <= before[0]:
            return
        busy = max((cpu_s - before[1]) / (now_s - before[0]), 1e-6)  # of a core
        pause_s = _CARRIAGE * self._cost_s / (SHARE_MAX * busy)
        self.pause_s += _NEWS * (min(pause_s, 1 / RATE_MIN_HZ) - self.pause_s)

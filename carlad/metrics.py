"""What a Prometheus server reads of the daemon: off unless `metrics.listen` says where.

Counts and durations are taken from the notices, states from the daemon's own status at the moment of the
scrape. The library answers in threads of its own, which ask the daemon's: nothing is read from outside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import msgspec
import trio

from carlad.errors import ConfigError
from carlad.messages import Notice, SlotState, SlotStatus, SlotVitals

_READY_BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 40, 60, 90, 120, 180, 300)


class Snapshot(msgspec.Struct, frozen=True):
    """The daemon at one moment."""

    slots: tuple[SlotStatus, ...]
    vitals: tuple[SlotVitals, ...]
    leases: int
    sessions: int
    waiting: int


class Tally:
    """What the notices tell, added up. Tell it each once, in order."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.ready_s: list[int] = [0] * (len(_READY_BUCKETS_S) + 1)
        self.ready_sum_s = 0.0
        self._starting_since_s: dict[int, float] = {}

    def note(self, notice: Notice) -> None:
        self.events[notice.event] += 1
        if notice.event == "slot.lost":
            self.losses[notice.cause or "other"] += 1
        if notice.slot is None:
            return
        if notice.event == "slot.starting":
            self._starting_since_s[notice.slot] = notice.at_unix_s
        elif notice.event == "slot.ready" and notice.slot in self._starting_since_s:
            self._count_start(max(0.0, notice.at_unix_s - self._starting_since_s.pop(notice.slot)))

    def _count_start(self, seconds: float) -> None:
        self.ready_sum_s += seconds
        bucket = sum(seconds > limit for limit in _READY_BUCKETS_S)
        self.ready_s[bucket] += 1


class Exposition:
    """The metric families of one scrape, as prometheus-client has them."""

    def __init__(self, tally: Tally, look: Callable[[], Snapshot], version: str) -> None:
        self._tally = tally
        self._look = look
        self._version = version

    def families(self) -> Iterator[Any]:
        """To be called in the daemon's thread."""
        from prometheus_client.metrics_core import InfoMetricFamily

        yield InfoMetricFamily("carlad", "The daemon.", {"version": self._version})
        snapshot = self._look()
        yield from self._states(snapshot)
        yield from _of_slots(snapshot.vitals)
        yield from self._counts()

    def _states(self, snapshot: Snapshot) -> Iterator[Any]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        states = Counter(slot.state for slot in snapshot.slots)
        slots = GaugeMetricFamily("carlad_slots", "Slots by state.", labels=["state"])
        for state in get_args(SlotState):
            slots.add_metric([state], states[state])
        yield slots
        draining = sum(slot.draining for slot in snapshot.slots)
        yield GaugeMetricFamily("carlad_slots_draining", "Slots that are not leased any more.", draining)
        yield GaugeMetricFamily("carlad_leases", "Live leases.", snapshot.leases)
        yield GaugeMetricFamily("carlad_sessions", "Open env sessions.", snapshot.sessions)
        yield GaugeMetricFamily("carlad_waiting", "Requests that wait for a server.", snapshot.waiting)

    def _counts(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        events = CounterMetricFamily(
            "carlad_events", "What happened, by name of the event.", labels=["event"]
        )
        for event, count in sorted(self._tally.events.items()):
            events.add_metric([event], count)
        yield events
        losses = CounterMetricFamily("carlad_losses", "Servers lost, by cause.", labels=["cause"])
        for cause, count in sorted(self._tally.losses.items()):
            losses.add_metric([cause], count)
        yield losses
        yield HistogramMetricFamily(
            "carlad_ready_seconds",
            "From a server's start until it could be leased.",
            buckets=_cumulative(self._tally.ready_s),
            sum_value=self._tally.ready_sum_s,
        )


_GAUGES: tuple[tuple[str, str, str], ...] = (
    ("carlad_slot_age_seconds", "Since the server was started.", "age_s"),
    ("carlad_slot_rss_bytes", "Resident memory of a server's processes.", "rss_bytes"),
    ("carlad_slot_gpu_memory_bytes", "GPU memory of a server's processes.", "gpu_memory_bytes"),
    ("carlad_slot_cores", "CPU seconds a second of a server's processes.", "cores"),
    ("carlad_slot_processes", "Processes of a server.", "processes"),
    ("carlad_slot_fds", "Open file descriptors of a server's processes.", "fds"),
    ("carlad_slot_threads", "Threads of a server's processes.", "threads"),
    ("carlad_slot_answer_seconds", "How long the newest probe's answer took.", "answer_s"),
    ("carlad_slot_log_bytes", "Size of a slot's logs on disk.", "log_bytes"),
)


def _of_slots(vitals: Iterable[SlotVitals]) -> Iterator[Any]:
    """A gauge for each figure, a sample for each slot of which it is known."""
    from prometheus_client.metrics_core import GaugeMetricFamily

    vitals = tuple(vitals)
    for name, says, field in _GAUGES:
        gauge = GaugeMetricFamily(name, says, labels=["slot"])
        for slot in vitals:
            value = getattr(slot, field)
            if value is not None:
                gauge.add_metric([str(slot.slot)], value)
        yield gauge


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    buckets, total = [], 0
    for limit, count in zip([*map(str, map(float, _READY_BUCKETS_S)), "+Inf"], counts, strict=True):
        total += count
        buckets.append((limit, float(total)))
    return buckets


class _Scraped:
    """What the library's threads call."""

    def __init__(self, exposition: Exposition, token: trio.lowlevel.TrioToken) -> None:
        self._exposition = exposition
        self._token = token

    def collect(self) -> list[Any]:
        return trio.from_thread.run_sync(lambda: list(self._exposition.families()), trio_token=self._token)


@contextmanager
def serving(listen: str, exposition: Exposition) -> Iterator[None]:
    """Answers at http://`listen`/metrics until the end of the block; empty: nowhere. Raises ConfigError."""
    if not listen:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise ConfigError(
            "metrics.listen: prometheus-client is not installed; install carlad[metrics] or leave it empty"
        ) from error
    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scraped(exposition, trio.lowlevel.current_trio_token()))
    try:
        server, thread = start_http_server(int(port), host, registry)
    except OSError as error:
        raise ConfigError(f"metrics.listen: cannot listen on {listen}: {error.strerror or error}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

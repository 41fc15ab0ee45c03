"""What a server takes of the machine: sampled from all processes of its tree together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import psutil
import trio

_FIRST_PAUSE_S = 0.5


class Usage(msgspec.Struct, frozen=True):
    """Of a process tree. `cpu_s`: of all its threads since they started, those that ended not counted."""

    processes: int
    rss_bytes: int
    cpu_s: float
    fds: int
    threads: int


def usage_of(pids: Iterable[int]) -> Usage:
    """Of these processes; one that has ended, or may not be looked at, counts as nothing."""
    each = [usage for pid in pids if (usage := _usage(pid)) is not None]
    return Usage(
        processes=len(each),
        rss_bytes=sum(usage.rss_bytes for usage in each),
        cpu_s=sum(usage.cpu_s for usage in each),
        fds=sum(usage.fds for usage in each),
        threads=sum(usage.threads for usage in each),
    )


async def watch_usage(
    tree: Callable[[], Iterable[int]], period_s: float, tell: Callable[[Usage], object]
) -> None:
    """Tells at once and soon again, as a server that has just been started is none yet; then every
    `period_s`, until cancelled."""
    pause_s = min(_FIRST_PAUSE_S, period_s)
    while True:
        tell(await trio.to_thread.run_sync(lambda: usage_of(tree())))
        await trio.sleep(pause_s)
        pause_s = min(2 * pause_s, period_s)


def _usage(pid: int) -> Usage | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return Usage(
                processes=1,
                rss_bytes=process.memory_info().rss,
                cpu_s=times.user + times.system,
                fds=process.num_fds(),
                threads=process.num_threads(),
            )
    except psutil.Error:
        return None

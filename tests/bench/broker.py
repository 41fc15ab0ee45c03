"""`make bench NAME=broker`: leases granted and released a second, one client with one request in flight.

The fleet has no processes, so that this is carlad's own cost: gateway, lease table, journal. The measures
are plain blocking ROUTERs that answer bytes of the same size and commit the lease for a grant and its end for
a release. `durable-echo` flushes every token to the disk. carlad flushes tokens by the dozen, ahead, and so
does `same-commits-echo`: the stricter measure, as it hardly ever waits for the disk. Each runs in a process
of its own, in turns, over a Unix socket.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles

import zmq

from carlad.broker.lease import Ended, Lease, Record
from carlad.broker.writer import TOKENS_AHEAD
from carlad.client import Client
from carlad.journal import Journal, Put
from carlad.link import Link
from carlad.messages import Acquire, Granted, Release
from tests.bench.harness import Report
from tests.broker.slots import HOLDER
from tests.gateway.daemons import fake_daemon

ROUNDS = 5
ROUND_S = 2.0
REQUEST, REPLY = bytes(150), bytes(180)  # about what Acquire and Granted take


def main() -> None:
    with _echo(1) as durable_pair, _echo(TOKENS_AHEAD // 2) as same_pair, _carlad() as lease_pair:
        pairs = {"durable-echo": durable_pair, "same-commits-echo": same_pair, "grant-release": lease_pair}
        samples: dict[str, list[float]] = {name: [] for name in pairs}
        for _ in range(ROUNDS):
            for name, pair in pairs.items():
                samples[name] += _durations(pair)
    report = Report("broker")
    pairs_per_s = {name: 1 / median(durations) for name, durations in samples.items()}
    for echo, name in (("durable-echo", "grant-release"), ("same-commits-echo", "grant-release again")):
        report.add(echo, pairs_per_s[echo], "pairs/s")
        report.add(name, pairs_per_s["grant-release"], "pairs/s", echo)
    for name, durations in samples.items():
        percentiles = quantiles(durations, n=100)
        report.add(f"{name} p50", 1e3 * percentiles[49], "ms")
        report.add(f"{name} p99", 1e3 * percentiles[98], "ms")
    report.write()


def _durations(pair: Callable[[], None]) -> list[float]:
    """Of each pair in one round, in seconds."""
    durations = []
    until = time.perf_counter() + ROUND_S
    while (started := time.perf_counter()) < until:
        pair()
        durations.append(time.perf_counter() - started)
    return durations


@contextmanager
def _carlad() -> Iterator[Callable[[], None]]:
    with fake_daemon(size=4, restart_s=0.0) as daemon, Link(daemon.endpoint) as link:

        def pair() -> None:
            granted = link.ask(Acquire(holder=HOLDER, wait_s=5.0))
            assert isinstance(granted, Granted)
            link.ask(Release(lease_id=granted.lease_id))

        with Client(daemon.endpoint) as client:
            client.status()
        yield pair


@contextmanager
def _echo(flushed_every: int) -> Iterator[Callable[[], None]]:
    with (
        tempfile.TemporaryDirectory(prefix="carlad-") as folder,
        subprocess.Popen([sys.executable, "-m", "tests.bench.broker", folder, str(flushed_every)]) as server,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.connect(f"ipc://{folder}/echo.sock")

        def pair() -> None:
            for kind in (b"acquire", b"release"):
                dealer.send_multipart([kind, REQUEST])
                dealer.recv_multipart()

        pair()
        yield pair
        server.terminate()


def _serve_echo(folder: Path, flushed_every: int) -> None:
    """Every `flushed_every`th token is flushed, the others with it."""
    journal = Journal(folder / "journal.sqlite")
    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(f"ipc://{folder}/echo.sock")
    for token in count(1):
        sender, kind, _request = router.recv_multipart()
        lease = Lease(token, 0, "a request", Acquire(holder=HOLDER), "Town01", 30.0, 0.0, 0.0, 30.0)
        if kind == b"acquire":
            flushed = token + flushed_every if token // 2 % flushed_every == 0 else 0
            journal.write([Put("lease", f"lease-{token % 1024}", Record(lease))], flushed)
        else:
            journal.write([Put("lease", f"lease-{token % 1024}", Record(lease, Ended("it was released")))])
        router.send_multipart([sender, REPLY])


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else _serve_echo(Path(sys.argv[1]), int(sys.argv[2]))

"""`make bench NAME=broker`: leases granted and released a second, one client with one request in flight.

The fleet has no processes, so that this is carlad's own cost: gateway, lease table, journal. The
measure is a plain blocking ROUTER that answers bytes of the same size and makes the same durable commits:
of the token and the lease for a grant, of its end for a release. (carlad flushes tokens by the dozen, ahead.)
Both run in one process of their own, in turns, over a Unix socket.
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
    with _echo() as echo_pair, _carlad() as lease_pair:
        samples: dict[str, list[float]] = {"durable-echo": [], "grant-release": []}
        for _ in range(ROUNDS):
            samples["durable-echo"] += _durations(echo_pair)
            samples["grant-release"] += _durations(lease_pair)
    report = Report("broker")
    for name, against in (("durable-echo", None), ("grant-release", "durable-echo")):
        report.add(name, 1 / median(samples[name]), "pairs/s", against)
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
def _echo() -> Iterator[Callable[[], None]]:
    with (
        tempfile.TemporaryDirectory(prefix="carlad-") as folder,
        subprocess.Popen([sys.executable, "-m", "tests.bench.broker", folder]) as server,
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


def _serve_echo(folder: Path) -> None:
    journal = Journal(folder / "journal.sqlite")
    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(f"ipc://{folder}/echo.sock")
    for token in count(1):
        sender, kind, _request = router.recv_multipart()
        lease = Lease(token, 0, "a request", Acquire(holder=HOLDER), "Town01", 30.0, 0.0, 0.0, 30.0)
        if kind == b"acquire":
            journal.write([Put("lease", f"lease-{token % 1024}", Record(lease))], token)
        else:
            journal.write([Put("lease", f"lease-{token % 1024}", Record(lease, Ended("it was released")))])
        router.send_multipart([sender, REPLY])


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else _serve_echo(Path(sys.argv[1]))

"""Env hosts here, on servers that daemons on other machines lease: a source as those in sources.py.

A daemon hosts environments for its own machine only, because steps are not encrypted. What crosses the
network here is the simulator's own protocol, from the env host to the server that its lease names.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from carlad.client import Lease, lease
from carlad.errors import LeaseLostError, NoDaemonError
from carlad.messages import Queued
from carlad.session.environment import Server
from carlad.session.sources import CancelledError, Children, Hosted, Terms

_TOLD_WITHIN_S = 1.0  # a daemon sees a server's end before its client does, and its notice takes milliseconds
_LOOK_AGAIN_S = 0.05
_NO_DAEMON_RETRY_S = 0.5


class LeaseSource:
    """Each env host on a server that none of ours was on, from whichever of the daemons has room.

    A server that is lost is followed by its replacement, at the same daemon. After any other loss, and where
    no replacement can come, another lease is taken at any of them.
    """

    def __init__(self, env: str, terms: Terms, name: str, log: Path) -> None:
        """`env` is the MODULE:CLASS that hosts construct; `log` takes their output."""
        self._terms = terms
        self._children = Children(env, terms.config, name, log)
        self._lease: Lease | None = None
        self._token = 0  # of the server that was hosted last
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def obtain(self, cause: str | None) -> Hosted:
        held = self._another()
        granted = held.granted
        self._token = granted.token
        return self._children.host(
            Server(granted.host, granted.rpc_port, granted.traffic_manager_port, granted.map)
        )

    def cancel(self) -> None:
        self._cancelled.set()
        self._children.cancel()
        self._give_back()  # who waits for a replacement stops waiting

    def leave(self) -> None:
        self._children.leave()

    def close(self) -> None:
        self._children.close()
        self._give_back()

    def _another(self) -> Lease:
        """A lease of a server other than the last. Raises CarladError."""
        held = self._lease
        if held is None or not self._was_replaced(held):
            self._give_back()
            held = self._take()
        return held

    def _was_replaced(self, held: Lease) -> bool:
        """Whether another server came in the lost one's place, once the daemon had its time to tell."""
        deadline_s = time.monotonic() + _TOLD_WITHIN_S
        while held.token == self._token and not held.lost.wait(_LOOK_AGAIN_S):
            if time.monotonic() > deadline_s:
                return False
        try:
            held.recover()
        except LeaseLostError:
            return False
        return held.token != self._token

    def _take(self) -> Lease:
        """Daemons that are being restarted are waited for as servers are."""
        deadline_s = time.monotonic() + self._terms.wait_s
        while True:
            self._go_on()
            try:
                taken = lease(**self._wish(deadline_s - time.monotonic()))
            except NoDaemonError:
                if time.monotonic() > deadline_s:
                    raise
                self._cancelled.wait(_NO_DAEMON_RETRY_S)
            else:
                return self._keep(taken)

    def _wish(self, wait_s: float) -> dict[str, Any]:
        _, _, map_, ttl_s, _, endpoint = self._terms
        terms = {"map": map_, "ttl_s": ttl_s, "wait_s": max(0.0, wait_s), "endpoint": endpoint}
        return {**terms, "on_queued": self._go_on, "replace": True}

    def _keep(self, taken: Lease) -> Lease:
        with self._lock:
            self._lease = taken
        if self._cancelled.is_set():
            self._give_back()
        self._go_on()
        return taken

    def _give_back(self) -> None:
        with self._lock:
            held, self._lease = self._lease, None
        if held is not None:
            held.release()

    def _go_on(self, _standing: Queued | None = None) -> None:
        if self._cancelled.is_set():
            raise CancelledError("cancelled")

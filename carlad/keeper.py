"""What keeps a lease alive while its holder works: a thread that renews it and hears of its loss."""

from __future__ import annotations

import os
import threading
import time

import msgspec
import zmq

from carlad.errors import CarladError
from carlad.link import SILENCE_MAX_S, Link
from carlad.messages import Granted, Notice, RefusalCode, Refused, Renew, Renewed, notices_endpoint

_RENEWALS_IN_TTL = 3  # two may be missed
_RETRIES_IN_TTL = 10  # while no daemon answers
_FINAL: frozenset[RefusalCode] = frozenset({"no-such-lease", "stale-token", "bad-request", "bad-ttl"})


class Keeper:
    """Renews from its construction until `stop`, or until the lease is lost.

    A daemon that is away for less than what is left of the time to live is survived.
    """

    def __init__(self, endpoint: str, granted: Granted) -> None:
        self.lost = threading.Event()
        self.lost_reason: str | None = None
        self._granted = granted
        self._ttl_s = granted.ttl_s
        self._ends_at_s = time.monotonic() + granted.ttl_s
        self._pid = os.getpid()
        self._link = Link(endpoint, silence_max_s=min(SILENCE_MAX_S, granted.ttl_s / _RENEWALS_IN_TTL))
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {granted.lease_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; idempotent. In a forked child, where there is no thread, nothing happens."""
        if self._pid == os.getpid() and self._woken != -1:
            os.close(self._woken)
            self._thread.join()
            os.close(self._wake)
            self._woken = -1

    def _keep(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        notices = context.socket(zmq.SUB)
        try:
            notices.subscribe(b"lease.")
            notices.connect(notices_endpoint(self._link.endpoint))
            pause_s = self._ttl_s / _RENEWALS_IN_TTL
            while self._wait(notices, pause_s) and not self.lost.is_set():
                pause_s = self._renew()
        finally:
            context.destroy(linger=0)
            self._link.close()

    def _wait(self, notices: zmq.Socket[bytes], pause_s: float) -> bool:
        """Whether to go on after a pause, which ends early if the lease does."""
        poller = zmq.Poller()
        poller.register(notices, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        until = time.monotonic() + pause_s
        while (left_s := until - time.monotonic()) > 0 and not self.lost.is_set():
            ready = dict(poller.poll(max(1, int(1000 * left_s))))
            if self._wake in ready:
                return False
            if notices in ready:
                self._hear(notices.recv_multipart())
        return True

    def _hear(self, frames: list[bytes]) -> None:
        try:
            notice = msgspec.msgpack.decode(frames[-1], type=Notice)
        except msgspec.MsgspecError:  # of a daemon of another version: the next renewal tells how it stands
            return
        if notice.lease_id == self._granted.lease_id and notice.event != "lease.granted":
            self._lose(notice.reason or notice.event)

    def _renew(self) -> float:
        """Seconds until the next attempt."""
        asked_at_s = time.monotonic()
        try:
            answer = self._link.ask(Renew(lease_id=self._granted.lease_id, token=self._granted.token))
        except CarladError as error:
            return self._retry(str(error))
        if isinstance(answer, Renewed):
            self._ttl_s = answer.ttl_s
            self._ends_at_s = asked_at_s + answer.ttl_s  # the daemon counts from a later moment
            return self._ttl_s / _RENEWALS_IN_TTL
        reason = answer.reason if isinstance(answer, Refused) else f"the daemon answered {answer}"
        if isinstance(answer, Refused) and answer.code not in _FINAL:
            return self._retry(reason)
        self._lose(reason)
        return 0.0

    def _retry(self, trouble: str) -> float:
        left_s = self._ends_at_s - time.monotonic()
        if left_s <= 0:
            self._lose(f"it could not be renewed within its time to live: {trouble}")
            return 0.0
        return min(left_s, self._ttl_s / _RETRIES_IN_TTL)

    def _lose(self, reason: str) -> None:
        self.lost_reason = reason
        self.lost.set()

"""What keeps a lease alive while its holder works: a thread that renews it and hears of its loss."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import msgspec
import zmq

from carlad.errors import CarladError
from carlad.keys import connect
from carlad.link import SILENCE_MAX_S, Link
from carlad.messages import (
    Granted,
    Notice,
    Queued,
    RefusalCode,
    Refused,
    Renew,
    Renewed,
    ReplacementQuery,
    notices_endpoint,
)
from carlad.ttl import RENEWALS_IN_TTL, SLEEP_MAX_S, TimeToLive, now_s, over

_SUBSCRIBED_WITHIN_S = 1.0  # a loss that was told before the subscription arrived is asked for
_REPLACEMENT_SILENCE_MAX_S = 1.5  # `stop` waits for a third of it at most
_REPLACEMENT_RETRY_S = 0.3
_ENDS = frozenset({"lease.lost", "lease.expired", "lease.released"})
_FINAL: frozenset[RefusalCode] = frozenset({"no-such-lease", "stale-token", "bad-request", "bad-ttl"})


class _StoppedError(Exception):
    """The keeper is to end."""


class Keeper:
    """Renews from its construction until `stop`, or until the lease is lost for good.

    A daemon that is away for less than what is left of the time to live is survived. With `replace` a lease
    that was lost is followed by its replacement: `granted` is the newest, `lost` is set in between, and
    `settled` whenever it is certain whether the lease is ours. `on_lost` and `on_replaced` are called in the
    keeper's thread, which renews nothing meanwhile.
    """

    def __init__(
        self,
        endpoint: str,
        granted: Granted,
        *,
        replace: bool = False,
        on_lost: Callable[[], None] | None = None,
        on_replaced: Callable[[], None] | None = None,
    ) -> None:
        self.granted = granted
        self.lost = threading.Event()
        self.lost_reason: str | None = None
        self.settled = threading.Event()
        self.settled.set()
        self._replace = replace
        self._on_lost = on_lost
        self._on_replaced = on_replaced
        self._ttl = TimeToLive(granted.ttl_s, now_s())
        self._pid = os.getpid()
        self._link = Link(endpoint, silence_max_s=min(SILENCE_MAX_S, granted.ttl_s / RENEWALS_IN_TTL))
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {granted.lease_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; idempotent. In a forked child, where there is no thread, nothing happens."""
        if self._pid == os.getpid() and self._woken != -1:
            os.write(self._woken, b"!")  # closing would not do: a forked child may have it open, too
            self._thread.join()
            os.close(self._woken)
            os.close(self._wake)
            self._woken = -1

    def _keep(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        notices = context.socket(zmq.SUB)
        try:
            notices.subscribe(b"lease.")
            connect(notices, notices_endpoint(self._link.endpoint))
            while self._keep_one(notices) and self._await_replacement():
                pass
        finally:
            self.settled.set()
            context.destroy(linger=0)
            self._link.close()

    def _keep_one(self, notices: zmq.Socket[bytes]) -> bool:
        """Until it is lost; False: it is not wanted any more."""
        pause_s = min(self._ttl.renew_in_s, _SUBSCRIBED_WITHIN_S)
        while not self.lost.is_set():
            if not self._wait(notices, pause_s):
                return False
            if not self.lost.is_set():
                pause_s = self._renew()
        _call(self._on_lost)
        return True

    def _await_replacement(self) -> bool:
        """Whether there is one. Returns soon after `stop`."""
        if not self._replace:
            return False
        query = ReplacementQuery(lease_id=self.granted.lease_id, token=self.granted.token)
        with Link(self._link.endpoint, silence_max_s=_REPLACEMENT_SILENCE_MAX_S) as link:
            pause_s = 0.0
            while not self._is_stopped(pause_s):
                pause_s = _REPLACEMENT_RETRY_S
                asked_at_s = now_s()
                try:
                    answer = link.ask(query, self._go_on_unless_stopped)
                except _StoppedError:
                    return False
                except CarladError:  # no daemon: the next one owes us the replacement still
                    continue
                if isinstance(answer, Granted):
                    return self._take(answer, asked_at_s)
                if isinstance(answer, Refused) and answer.code in _FINAL:
                    self.lost_reason = answer.reason
                    return False
        return False

    def _take(self, replacement: Granted, asked_at_s: float) -> bool:
        self.granted = replacement
        self._ttl.renewed(replacement.ttl_s, asked_at_s)
        self.lost_reason = None
        self.lost.clear()
        self.settled.set()
        _call(self._on_replaced)
        return True

    def _go_on_unless_stopped(self, _standing: Queued) -> None:
        if self._is_stopped(0.0):
            raise _StoppedError

    def _is_stopped(self, within_s: float) -> bool:
        poller = zmq.Poller()
        poller.register(self._wake, zmq.POLLIN)
        return bool(poller.poll(int(1000 * within_s)))

    def _wait(self, notices: zmq.Socket[bytes], pause_s: float) -> bool:
        """Whether to go on after a pause, which ends early if the lease does."""
        poller = zmq.Poller()
        poller.register(notices, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        until_s = now_s() + pause_s
        while (left_s := until_s - now_s()) > 0 and not self.lost.is_set():
            ready = dict(poller.poll(max(1, int(1000 * min(left_s, SLEEP_MAX_S)))))
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
        if notice.lease_id == self.granted.lease_id and notice.event in _ENDS:
            self._lose(notice.reason or notice.event)

    def _renew(self) -> float:
        """Seconds until the next attempt."""
        asked_at_s = now_s()
        try:
            answer = self._link.ask(Renew(lease_id=self.granted.lease_id, token=self.granted.token))
        except CarladError as error:
            return self._retry(str(error))
        if isinstance(answer, Renewed):
            self._ttl.renewed(answer.ttl_s, asked_at_s)
            return self._ttl.renew_in_s
        reason = answer.reason if isinstance(answer, Refused) else f"the daemon answered {answer}"
        if isinstance(answer, Refused) and answer.code not in _FINAL:
            return self._retry(reason)
        self._lose(reason)
        return 0.0

    def _retry(self, trouble: str) -> float:
        pause_s = self._ttl.retry_in_s(now_s())
        if not pause_s:
            self._lose(over(trouble))
        return pause_s

    def _lose(self, reason: str) -> None:
        self.lost_reason = reason
        if self._replace:
            self.settled.clear()
        self.lost.set()


def _call(callback: Callable[[], None] | None) -> None:
    """One that fails is reported as a thread's failure is, and the lease is kept none the less."""
    try:
        if callback is not None:
            callback()
    except Exception:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

"""What keeps a session alive while its client works: a thread that renews it."""

from __future__ import annotations

import os
import threading

from carlad.client import Client
from carlad.errors import CarladError, RequestError
from carlad.ttl import SLEEP_MAX_S, TimeToLive, now_s, over

_FINAL = frozenset({"no-such-session", "session-failed", "environment-refused", "stale-token", "bad-request"})


class Renewal:
    """Renews from its construction until `stop`, or until the session is lost.

    A daemon that is away for less than what is left of the time to live is survived.
    """

    def __init__(self, endpoint: str, session_id: str, key: str, ttl_s: float) -> None:
        self.lost = threading.Event()
        self.lost_reason: str | None = None
        self._session_id, self._key = session_id, key
        self._ttl = TimeToLive(ttl_s, now_s())
        self._pid = os.getpid()
        self._stopped = threading.Event()
        self._client = Client(endpoint)
        self._thread = threading.Thread(target=self._keep, name=f"renewal of {session_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; idempotent. In a forked child, where there is no thread, nothing happens."""
        if self._pid == os.getpid():
            self._stopped.set()
            self._thread.join()

    def _keep(self) -> None:
        pause_s = self._ttl.renew_in_s
        while not self._is_stopped_within(pause_s) and not self.lost.is_set():
            pause_s = self._renew()
        self._client.close()

    def _is_stopped_within(self, pause_s: float) -> bool:
        until_s = now_s() + pause_s
        while (left_s := until_s - now_s()) > 0:
            if self._stopped.wait(min(left_s, SLEEP_MAX_S)):
                return True
        return self._stopped.is_set()

    def _renew(self) -> float:
        """Seconds until the next attempt."""
        asked_at_s = now_s()
        try:
            renewed = self._client.renew_session(self._session_id, self._key)
        except CarladError as error:
            is_final = isinstance(error, RequestError) and error.code in _FINAL
            return self._lose(str(error)) if is_final else self._retry(str(error))
        self._ttl.renewed(renewed.ttl_s, asked_at_s)
        return self._ttl.renew_in_s

    def _retry(self, trouble: str) -> float:
        pause_s = self._ttl.retry_in_s(now_s())
        return pause_s or self._lose(over(trouble))

    def _lose(self, reason: str) -> float:
        self.lost_reason = reason
        self.lost.set()
        return 0.0

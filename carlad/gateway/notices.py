"""What happened, numbered: published to who listens, and kept for a while for who asks."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable

import msgspec
import zmq

from carlad.messages import Events, Notice

KEPT_MAX = 1024


class Notices:
    """`publish` never blocks: a subscriber that does not read loses notices, and sees so by the numbers."""

    def __init__(
        self, publisher: zmq.Socket[bytes], also: Callable[[Notice], object] = lambda _notice: None
    ) -> None:
        """`also` is told each notice first."""
        self.run = secrets.token_hex(8)
        self._publisher = publisher
        self._also = also
        self._kept: deque[Notice] = deque(maxlen=KEPT_MAX)
        self._number = 0

    @property
    def newest(self) -> int:
        """The number of the notice that was published last."""
        return self._number

    def publish(
        self,
        event: str,
        slot: int | None = None,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: str | None = None,
        session_id: str | None = None,
    ) -> None:
        self._number += 1
        notice = Notice(
            number=self._number,
            run=self.run,
            at_unix_s=time.time(),
            event=event,
            slot=slot,
            lease_id=lease_id,
            session_id=session_id,
            reason=reason,
            cause=cause,
        )
        self._also(notice)
        self._kept.append(notice)
        self._publisher.send_multipart([event.encode(), msgspec.msgpack.encode(notice)], zmq.NOBLOCK)

    def since(self, after: int, run: str = "") -> Events:
        """All that are kept and newer than number `after` of that run; of any run for an empty one."""
        is_ours = run in ("", self.run) and 0 <= after <= self._number
        after = after if is_ours else 0
        oldest = self._kept[0].number if self._kept else self._number + 1
        return Events(notices=tuple(n for n in self._kept if n.number > after), oldest=oldest, run=self.run)

"""Who holds the servers of an open fleet (`fleet.open`): the daemon itself, for whoever connects.

So the rules for leased servers hold: strangers are welcome, one that is paused is not hung, and one that dies
is replaced.
"""

from __future__ import annotations

import uuid

import trio

from carlad.broker.broker import Broker
from carlad.broker.holder import Peer
from carlad.log import get_logger
from carlad.messages import WAIT_MAX_S, Acquire, Granted, Holder, LeaseRequest, Renew, Renewed, ReplyBody

log = get_logger(__name__)

_HOLDER = Holder(user="everybody", host="localhost", program="whoever connects")
_ENDS = ("lease.lost", "lease.expired", "lease.released")
_RENEWALS_IN_TTL = 3
_AGAIN_S = 1.0  # after a refusal, such as that of a daemon that ends


class Occupant:
    def __init__(self, broker: Broker, size: int) -> None:
        self._broker = broker
        self._size = size
        self._ended: dict[str, trio.Event] = {}  # of the leases that are kept

    def hear(self, event: str, lease_id: str | None) -> None:
        """What the broker tells of leases."""
        if event in _ENDS and lease_id in self._ended:
            self._ended[lease_id].set()

    async def run(self) -> None:
        """Until cancelled. Leases of an earlier run are gone on with."""
        await self._broker.ping()  # then it knows them
        before = self._broker.leases()
        async with trio.open_nursery() as nursery:
            for lease in before:
                nursery.start_soon(self._occupy, lease.lease_id)
            for _ in range(self._size - len(before)):
                nursery.start_soon(self._occupy, None)

    async def _occupy(self, lease_id: str | None) -> None:
        while True:
            if lease_id is not None:
                await self._keep(lease_id)
            answer = await self._ask(Acquire(holder=_HOLDER, wait_s=WAIT_MAX_S))
            lease_id = answer.lease_id if isinstance(answer, Granted) else None
            if lease_id is None:
                log.info("server.not_occupied", reason=answer)
                await trio.sleep(_AGAIN_S)

    async def _keep(self, lease_id: str) -> None:
        """Returns when it has ended."""
        ended = self._ended[lease_id] = trio.Event()
        try:
            while not ended.is_set():
                answer = await self._ask(Renew(lease_id=lease_id))
                if not isinstance(answer, Renewed):
                    return
                with trio.move_on_after(answer.ttl_s / _RENEWALS_IN_TTL):
                    await ended.wait()
        finally:
            del self._ended[lease_id]

    async def _ask(self, body: LeaseRequest) -> ReplyBody | None:
        return await (await self._broker.ask(uuid.uuid4().hex, body, Peer())).wait()

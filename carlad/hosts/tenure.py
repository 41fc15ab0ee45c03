"""The server under a session: how it is got, kept and given back, and got again."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import NamedTuple

import trio

from carlad.broker.broker import Broker
from carlad.broker.holder import Peer
from carlad.config import EnvSection
from carlad.errors import ServerError
from carlad.messages import (
    PRIORITY_MAX,
    WAIT_MAX_S,
    Acquire,
    Granted,
    LeaseRequest,
    OpenSession,
    Refused,
    Release,
    Renew,
    ReplacementQuery,
    ReplyBody,
    Withdraw,
)
from carlad.runtime import NoAnswerError

_RELEASE_MAX_S = 5.0
_REQUEST = re.compile(r"(session-[0-9a-f]{8})-[0-9a-f]{12}")  # as `Tenure` names them


class Order(NamedTuple):
    """What was asked, by whom. `holder` of `asked` is as the kernel says; `uid` may connect."""

    session_id: str
    asked: OpenSession
    env: EnvSection
    peer: Peer
    uid: int
    ttl_s: float


class Tenure:
    """The lease of one session: `granted`, where it has one now."""

    def __init__(self, order: Order, broker: Broker) -> None:
        self.granted: Granted | None = None
        self.request_id = ""  # of the newest request for a server
        self._lost: Granted | None = None  # in its place the broker owes another
        self._order = order
        self._broker = broker

    @property
    def lease_id(self) -> str | None:
        return self.granted.lease_id if self.granted is not None else None

    @property
    def address(self) -> str | None:
        """The server's host:port."""
        return f"{self.granted.host}:{self.granted.rpc_port}" if self.granted is not None else None

    def lose(self) -> None:
        """The broker ended it, and where the server was lost it owes us another."""
        self._lost, self.granted = self.granted, None

    async def is_live(self) -> bool:
        """Also what the broker told of it before this daemon listened counts."""
        await self._broker.settled()
        return self.granted is None or self.lease_id in {lease.lease_id for lease in self._broker.leases()}

    async def acquire(self, *, goes_on: bool) -> Granted | Refused | None:
        """None: whoever asked is gone. Cancelled, it waits for none any more. A session that goes on waits
        behind none that begins. Raises ServerError."""
        owed = self._lost
        self.request_id = self._new_id()
        body = self._request(goes_on) if owed is None else _replacement_of(owed)
        try:
            answer = await (await self._broker.ask(self.request_id, body, self._order.peer)).wait()
        except NoAnswerError:
            raise ServerError("the broker failed over its lease") from None
        except trio.Cancelled:
            await self._tell(Withdraw(request_id=self.request_id))
            raise
        self._lost = None
        if isinstance(answer, Granted):
            self.granted = answer
            return answer
        if isinstance(answer, Refused) and answer.code == "unavailable" and goes_on:
            raise ServerError(answer.reason)  # for another round
        if owed is not None:  # it was not lost with its server: it was released by hand, or expired
            return await self.acquire(goes_on=goes_on)
        return answer if isinstance(answer, Refused) else None

    async def renew(self) -> None:
        """A lease that is over already is told of elsewhere."""
        if (granted := self.granted) is not None:
            body = Renew(lease_id=granted.lease_id, token=granted.token, ttl_s=self._order.ttl_s)
            with suppress(NoAnswerError):
                await self._ask(body)

    async def give_back(self, *, for_good: bool) -> None:
        """The server, after the last process that was connected to it is gone; `for_good`: what is owed for
        a lost one, too."""
        granted, self.granted = self.granted, None
        if for_good and self._lost is not None:
            granted, self._lost = self._lost, None
        if granted is not None:
            await self._tell(Release(lease_id=granted.lease_id, token=granted.token))

    def _request(self, goes_on: bool) -> Acquire:
        asked = self._order.asked
        return Acquire(
            holder=asked.holder,
            map=asked.map,
            ttl_s=self._order.ttl_s,
            wait_s=WAIT_MAX_S if goes_on else asked.wait_s,
            priority=PRIORITY_MAX if goes_on else 0,
            replace=True,
            furnish=False,  # another env host attaches as the first one did
        )

    async def _tell(self, body: Release | Withdraw) -> None:
        """Also of a session that is cancelled."""
        with trio.move_on_after(_RELEASE_MAX_S, shield=True), suppress(NoAnswerError):
            await self._ask(body)

    async def _ask(self, body: LeaseRequest) -> ReplyBody | None:
        return await (await self._broker.ask(self._new_id(), body, self._order.peer)).wait()

    def _new_id(self) -> str:
        return f"{self._order.session_id}-{secrets.token_hex(6)}"


def session_of(request_id: str) -> str | None:
    """Whose session has asked the broker so; None: some client's own request."""
    found = _REQUEST.fullmatch(request_id)
    return found and found[1]


def _replacement_of(lost: Granted) -> ReplacementQuery:
    return ReplacementQuery(lease_id=lost.lease_id, token=lost.token)

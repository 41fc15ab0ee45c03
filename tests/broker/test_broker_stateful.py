"""Clients, crashes, a daemon that dies and a disk that fills up, at random and in virtual time."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from carlad.broker.broker import Broker
from carlad.broker.clock import Clock
from carlad.broker.holder import Peer
from carlad.broker.terms import Quota, Terms
from carlad.journal import Journal, JournalError
from carlad.messages import (
    Acquire,
    Granted,
    LeaseRequest,
    Refused,
    Release,
    Renew,
    Renewed,
    ReplacementQuery,
    ReplyBody,
)
from carlad.runtime import NoAnswerError
from tests.broker.fake_servers import FakeServers
from tests.broker.slots import acquire
from tests.broker.test_broker import at_once

TTL_S = 20.0
USERS = ("ann", "bob")


class FullDisk(Journal):
    """Cannot be written now and then."""

    is_full = False

    def write(self, *args: object, **kwargs: object) -> None:
        if self.is_full:
            raise JournalError("cannot write the journal: disk full")
        super().write(*args, **kwargs)  # type: ignore[arg-type]

    def write_now(self, *args: object, **kwargs: object) -> bool:
        return not self.is_full and super().write_now(*args, **kwargs)  # type: ignore[arg-type]


class World:
    """Servers and journal outlive the brokers; clients send again until they are answered."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = Random(seed)
        self.servers = FakeServers(3, load_s=2.0, restart_s=1.0, answer_s=0.01)
        self.journal = FullDisk(folder / "journal.sqlite")
        self.broker: Broker | None = None
        self.holders: dict[int, str] = {}  # rpc port → lease that its holder believes in
        self.token = 0
        self.served = self.lost = 0
        self._requests = 0

    async def live(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.servers.run)
            nursery.start_soon(self.brokers)
            nursery.start_soon(self.disasters)
            async with trio.open_nursery() as clients:
                for number in range(6):
                    clients.start_soon(self.client, USERS[number % 2], number)
            nursery.cancel_scope.cancel()
        self.journal.close()

    async def brokers(self) -> None:
        """One after the other; each is killed without a word."""
        while True:
            terms = Terms(TTL_S, 60.0, quota=Quota(3))
            clock = Clock(trio.current_time, "a boot")
            with trio.move_on_after(self.chance.uniform(5.0, 30.0)):
                self.broker = Broker(self.servers, self.journal, terms, _deaf, clock, at_once)
                await self.broker.run()
            self.broker = None
            await trio.sleep(self.chance.uniform(0.1, 1.0))

    async def disasters(self) -> None:
        while True:
            await trio.sleep(self.chance.uniform(1.0, 5.0))
            self.journal.is_full = self.chance.random() < 0.2
            self.servers.crash_if_up(self.chance.randrange(3))

    async def ask(self, body: LeaseRequest) -> ReplyBody:
        """Sends the same request until it is answered, as `Link` does."""
        self._requests += 1
        name = f"request {self._requests}"
        while True:
            with trio.move_on_after(3.0):
                try:
                    if self.broker is not None:
                        answer = await (await self.broker.ask(name, body, Peer())).wait()
                        if answer is not None and not _is_passing(answer):
                            return answer
                except NoAnswerError:
                    pass
            await trio.sleep(0.1)

    async def client(self, user: str, number: int) -> None:
        for _ in range(8):
            wanted = self.chance.choice([None, "Town01", "Town02"])
            body: Acquire = acquire(wanted, wait_s=1000.0, user=user, priority=number % 3, replace=True)
            granted = await self.ask(body)
            assert isinstance(granted, Granted), granted
            await self.hold(granted)

    async def hold(self, granted: Granted) -> None:
        """For a while, and its replacements."""
        for _ in range(self.chance.randint(1, 3)):
            assert granted.rpc_port not in self.holders, "one holder a server, one server a holder"
            self.holders[granted.rpc_port] = granted.lease_id
            self.served += 1
            await trio.sleep(self.chance.uniform(0.0, 3.0))
            renewed = await self.ask(Renew(lease_id=granted.lease_id, token=granted.token))
            del self.holders[granted.rpc_port]
            if isinstance(renewed, Renewed):
                continue_with = granted
            else:
                self.lost += 1
                assert "its server was lost" in str(renewed) or "expired" in str(renewed), renewed
                answer = await self.ask(ReplacementQuery(lease_id=granted.lease_id, token=granted.token))
                if not isinstance(answer, Granted):
                    return
                assert answer.token > granted.token
                continue_with = answer
            granted = continue_with
        await self.ask(Release(lease_id=granted.lease_id, token=granted.token))


def _is_passing(answer: ReplyBody) -> bool:
    return isinstance(answer, Refused) and answer.code in ("unavailable", "withdrawn")


def _deaf(event: str, **_keys: object) -> None:
    pass


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_one_server_has_one_holder_and_everybody_is_served(
    tmp_path: Path, seed: int
) -> None:
    live_through(tmp_path, seed)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(100, 400, 20))
def test_whatever_happens_in_hundreds_of_worlds(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 20):
        (folder := tmp_path / str(seed)).mkdir()
        live_through(folder, seed)


def live_through(folder: Path, seed: int) -> None:
    world = World(folder, seed)
    trio.run(world.live, clock=trio.testing.MockClock(autojump_threshold=0))
    assert world.served >= 48
    assert world.lost > 0
    grants = [lease for leases in world.servers.grants_of.values() for lease in leases]
    assert len(grants) == len(set(grants)), "no token twice"

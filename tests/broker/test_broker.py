"""The broker with fake servers, under virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from itertools import chain
from pathlib import Path

import pytest
import trio
import trio.testing

from carlad.broker.broker import Broker
from carlad.broker.clock import Clock
from carlad.broker.holder import Peer
from carlad.broker.terms import Terms
from carlad.broker.writer import TOKENS_AHEAD
from carlad.journal import Journal, JournalError
from carlad.messages import Granted, Refused, Release, Released, Renew, Renewed, ReplyBody, Withdraw
from carlad.runtime import NoAnswerError, RestartPolicy, supervise
from tests.broker.fake_servers import FakeServers
from tests.broker.slots import acquire


async def at_once(function: Callable[..., object], *args: object) -> object:
    """In place of a thread, which virtual time would not wait for."""
    await trio.lowlevel.checkpoint()
    return function(*args)


class Bench:
    """A running broker and what it told."""

    def __init__(self, broker: Broker, servers: FakeServers, journal: Journal, told: list[str]):
        self.broker, self.servers, self.journal, self.told = broker, servers, journal, told
        self._requests = 0

    async def ask(self, body: object, request_id: str | None = None) -> ReplyBody | None:
        self._requests += 1
        name = request_id or f"request {self._requests}"
        pending = await self.broker.ask(name, body, Peer())  # type: ignore[arg-type]
        return await pending.wait()

    async def granted(self, **terms: object) -> Granted:
        answer = await self.ask(acquire(**terms))  # type: ignore[arg-type]
        assert isinstance(answer, Granted), answer
        return answer


@asynccontextmanager
async def running(
    tmp_path: Path, size: int = 2, ttl_s: float = 30.0, clock: Clock | None = None, **fleet: float
) -> AsyncIterator[Bench]:
    servers = FakeServers(size, **fleet)
    journal = Journal(tmp_path / "journal.sqlite")
    told: list[str] = []

    def notify(event: str, **_keys: object) -> None:
        told.append(event)

    clock = clock or Clock(trio.current_time, "a boot")
    broker = Broker(servers, journal, Terms(ttl_s, 3600.0), notify, clock, at_once)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(servers.run)
            nursery.start_soon(broker.run)
            await broker.ping()
            yield Bench(broker, servers, journal, told)
            nursery.cancel_scope.cancel()
    finally:
        journal.close()


def simulated(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """Runs the test under a clock that jumps to the next deadline when all tasks wait."""

    def run(tmp_path: Path) -> None:
        trio.run(test, tmp_path, clock=trio.testing.MockClock(autojump_threshold=0))

    run.__name__ = test.__name__
    return run


@simulated
async def test_a_token_is_on_disk_before_its_grant_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        for _ in range(2):
            granted = await bench.granted()
            assert bench.journal.token() >= granted.token


@simulated
async def test_tokens_are_on_disk_however_many_are_given_out(tmp_path: Path) -> None:
    async with running(tmp_path, restart_s=0.0, scrub_s=0.0) as bench:
        for _ in range(3 * TOKENS_AHEAD):
            granted = await bench.granted(wait_s=60.0)
            assert bench.journal.token() >= granted.token
            await bench.ask(Release(lease_id=granted.lease_id))
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        assert journal.token() >= granted.token


@simulated
async def test_tokens_grow_across_restarts_of_the_daemon(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        first = await bench.granted()
    async with running(tmp_path) as bench:
        assert (await bench.granted()).token > first.token


@simulated
async def test_an_expired_lease_ends_its_server_within_its_time_and_not_before(tmp_path: Path) -> None:
    async with running(tmp_path, ttl_s=5.0) as bench:
        granted = await bench.granted()
        await trio.sleep(4.9)
        assert bench.servers.ended == []
        await trio.sleep(0.2)
        assert bench.servers.ended == [(granted.slot, granted.lease_id)]
        assert bench.told == ["lease.granted", "lease.expired"]


@simulated
async def test_a_lease_whose_server_nobody_uses_ends_however_often_it_is_renewed(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.broker.use(Terms(30.0, 60.0, idle_max_s=100.0))
        granted = await bench.granted()
        bench.servers.used_at_s = trio.current_time()
        for _ in range(9):
            await trio.sleep(10.0)
            assert isinstance(await bench.ask(Renew(lease_id=granted.lease_id)), Renewed)
        assert bench.servers.ended == []
        await trio.sleep(11.1)
        assert bench.servers.ended == [(granted.slot, granted.lease_id)]


@simulated
async def test_a_lease_whose_use_cannot_be_seen_is_not_idle(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.broker.use(Terms(3000.0, 6000.0, idle_max_s=100.0))
        await bench.granted()
        await trio.sleep(1000.0)
        assert bench.servers.ended == []


@simulated
async def test_what_ends_in_a_suspend_has_ended_a_second_after_the_machine_woke(tmp_path: Path) -> None:
    slept_s = 0.0
    clock = Clock(lambda: trio.current_time() + slept_s, "a boot")
    async with running(tmp_path, ttl_s=30.0, clock=clock) as bench:
        granted = await bench.granted()
        await trio.sleep(5.0)
        slept_s = 3600.0  # timers stood still, the leases' clock did not
        await trio.sleep(1.1)
        assert bench.servers.ended == [(granted.slot, granted.lease_id)]


@simulated
async def test_whoever_is_first_after_a_suspend_no_lease_that_ended_in_it_is_renewed(tmp_path: Path) -> None:
    slept_s = 0.0
    clock = Clock(lambda: trio.current_time() + slept_s, "a boot")
    async with running(tmp_path, ttl_s=30.0, clock=clock) as bench:
        granted = await bench.granted()
        await trio.sleep(5.0)
        slept_s = 3600.0
        answer = await bench.ask(Renew(lease_id=granted.lease_id))
        assert isinstance(answer, Refused)
        assert "expired" in answer.reason


@simulated
async def test_no_lease_outlives_the_boot_that_it_was_granted_in(tmp_path: Path) -> None:
    async with running(tmp_path, clock=Clock(trio.current_time, "a boot")) as bench:
        before = await bench.granted(ttl_s=1000.0)
    async with running(tmp_path, clock=Clock(trio.current_time, "the next")) as bench:
        assert bench.broker.leases() == ()
        answer = await bench.ask(Renew(lease_id=before.lease_id))
        assert isinstance(answer, Refused)
        assert (await bench.granted()).token > before.token


@simulated
async def test_a_renewed_lease_lives_on(tmp_path: Path) -> None:
    async with running(tmp_path, ttl_s=5.0) as bench:
        granted = await bench.granted()
        for _ in range(5):
            await trio.sleep(4.0)
            assert isinstance(await bench.ask(Renew(lease_id=granted.lease_id)), Renewed)
        assert bench.servers.ended == []


@simulated
async def test_a_waiting_request_gets_the_server_that_was_released_once_it_is_scrubbed(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, size=1) as bench:
        first = await bench.granted()
        async with trio.open_nursery() as nursery:

            async def wait_for_it() -> None:
                second = await bench.granted(wait_s=10.0)
                assert second.token > first.token
                assert second.rpc_port == first.rpc_port
                assert bench.servers.scrubbed == [(0, first.lease_id)]

            nursery.start_soon(wait_for_it)
            await trio.sleep(3.0)
            await bench.ask(Release(lease_id=first.lease_id))


@simulated
async def test_a_waiting_request_is_refused_when_its_time_is_up(tmp_path: Path) -> None:
    async with running(tmp_path, size=1) as bench:
        await bench.granted()
        asked_at = trio.current_time()
        answer = await bench.ask(acquire(wait_s=7.0))
        assert isinstance(answer, Refused)
        assert answer.code == "waited-in-vain"
        assert trio.current_time() - asked_at == pytest.approx(7.0, abs=0.1)


@simulated
async def test_a_map_is_loaded_for_who_wants_it(tmp_path: Path) -> None:
    async with running(tmp_path, size=1, load_s=60.0) as bench:
        granted = await bench.granted(map="Town02")
        assert granted.map == "Town02"


@simulated
async def test_a_lease_on_a_crashed_server_is_lost_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        granted = await bench.granted()
        bench.servers.crash(granted.slot, "segmentation fault")
        await trio.sleep(0.01)
        assert bench.told[-1] == "lease.lost"
        answer = await bench.ask(Renew(lease_id=granted.lease_id))
        assert "segmentation fault" in str(answer)


@simulated
async def test_who_sends_a_request_again_is_answered_and_the_first_sending_falls_silent(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, size=1) as bench:
        held = await bench.granted()
        answers: list[ReplyBody | None] = []
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                answers.append(await bench.ask(acquire(wait_s=10.0), "the same"))

            for _ in range(3):
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
            await bench.ask(Release(lease_id=held.lease_id))
        assert answers[:2] == [None, None]
        assert isinstance(answers[2], Granted)
        assert bench.servers.grants_of[0] == [held.lease_id, answers[2].lease_id]


@simulated
async def test_a_withdrawn_request_takes_no_server(tmp_path: Path) -> None:
    async with running(tmp_path, size=1) as bench:
        held = await bench.granted()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.ask, acquire(wait_s=100.0), "unwanted")
            await trio.testing.wait_all_tasks_blocked()
            await bench.ask(Withdraw(request_id="unwanted"))
        await bench.ask(Release(lease_id=held.lease_id))
        await trio.sleep(5.0)
        assert bench.broker.leases() == ()


@simulated
async def test_without_a_journal_there_is_no_grant(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:

        def fail(changes: object = (), token: int = 0) -> None:
            raise JournalError("cannot write the journal: disk full")

        bench.journal.write = fail  # type: ignore[assignment, method-assign]
        answer = await bench.ask(acquire(wait_s=10.0))
        assert isinstance(answer, Refused)
        assert (answer.code, bench.servers.grants_of) == ("unavailable", {0: [], 1: []})


@simulated
async def test_a_broker_that_failed_knows_its_leases_again_and_answers_what_it_had_not(
    tmp_path: Path,
) -> None:
    servers, journal = FakeServers(3), Journal(tmp_path / "journal.sqlite")
    fail_once = [RuntimeError("planted")]

    def notify(event: str, **_keys: object) -> None:
        if event == "lease.released" and fail_once:
            raise fail_once.pop()

    broker = Broker(servers, journal, Terms(30.0, 60.0), notify, Clock(trio.current_time, "a boot"), at_once)
    policy = RestartPolicy(backoff_s=0.1, backoff_max_s=1.0, restarts_max=2, period_s=60.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(servers.run)
        nursery.start_soon(supervise, broker.run, policy, "broker")
        bench = Bench(broker, servers, journal, [])
        first, second = await bench.granted(), await bench.granted()
        release = Release(lease_id=first.lease_id)
        with pytest.raises(NoAnswerError):
            await bench.ask(release, "release")
        assert isinstance(await bench.ask(release, "release"), Released)
        assert [lease.lease_id for lease in broker.leases()] == [second.lease_id]
        assert isinstance(await bench.ask(Renew(lease_id=second.lease_id)), Renewed)
        assert (await bench.granted()).token > second.token
        nursery.cancel_scope.cancel()
    journal.close()


@simulated
async def test_two_of_many_clients_never_hold_one_server(tmp_path: Path) -> None:
    holders: dict[int, int] = {}
    chance = random.Random(1)

    async with running(tmp_path, size=3, restart_s=0.5) as bench:

        async def client() -> None:
            for _ in range(4):
                answer = await bench.ask(acquire(chance.choice([None, "Town01", "Town02"]), wait_s=1000.0))
                assert isinstance(answer, Granted)
                assert holders.setdefault(answer.rpc_port, answer.token) == answer.token
                await trio.sleep(chance.random())
                del holders[answer.rpc_port]
                await bench.ask(Release(lease_id=answer.lease_id, token=answer.token))

        async def crashes() -> None:
            while True:
                await trio.sleep(2.0)
                slot = chance.randrange(3)
                if bench.servers.statuses()[slot].state == "READY":
                    bench.servers.crash(slot)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crashes)
            async with trio.open_nursery() as clients:
                for _ in range(6):
                    clients.start_soon(client)
            nursery.cancel_scope.cancel()
        leases = list(chain.from_iterable(bench.servers.grants_of.values()))
        assert len(leases) == len(set(leases)) >= 24


@simulated
async def test_a_broker_that_fails_while_it_stops_stops_all_the_same(tmp_path: Path) -> None:
    servers, journal = FakeServers(1), Journal(tmp_path / "journal.sqlite")
    fail_once = [RuntimeError("planted")]

    def notify(event: str, **_keys: object) -> None:
        if event == "lease.lost" and fail_once:
            raise fail_once.pop()

    broker = Broker(servers, journal, Terms(30.0, 60.0), notify, Clock(trio.current_time, "a boot"), at_once)
    policy = RestartPolicy(backoff_s=0.1, backoff_max_s=1.0, restarts_max=2, period_s=60.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(servers.run)
        nursery.start_soon(supervise, broker.run, policy, "broker")
        await Bench(broker, servers, journal, []).granted()
        with trio.fail_after(10.0):
            await broker.stop()
        assert not fail_once
        assert broker.leases() == ()
        nursery.cancel_scope.cancel()
    journal.close()

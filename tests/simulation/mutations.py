"""Deliberate faults in the code under test, each of which the simulation must find."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import trio

from carlad.broker.answers import Answers
from carlad.broker.book import Book
from carlad.broker.deaths import Deaths
from carlad.broker.grants import Grants
from carlad.broker.lease import Lease
from carlad.broker.ledger import Boot, Restored, restore
from carlad.broker.queue import Queue
from carlad.broker.terms import Quota
from carlad.fleet import scrub as scrubbing
from carlad.fleet.incarnation import Incarnation
from carlad.fleet.ledger import Ledger
from carlad.fleet.liveness import Silence
from carlad.fleet.slot import Slot
from carlad.fleet.standing import Standing
from carlad.fleet.visitors import Visitors
from carlad.gateway import requests
from carlad.gateway.notices import Notices
from carlad.gateway.requests import UnreadableError
from carlad.hosts.session import Session
from carlad.hosts.sessions import Sessions
from carlad.journal import Journal
from carlad.messages import Request, StatusQuery

Mutation = Callable[[], AbstractContextManager[Any]]


def _nothing(*_arguments: object, **_options: object) -> None: ...


async def _looks_only(_reach: object, visitors: Visitors, *_rest: object) -> None:
    await visitors.look()


async def _does_nothing(*_arguments: object, **_options: object) -> None: ...


async def _hears_nobody(*_arguments: object) -> frozenset[Any]:
    return frozenset()


async def _sees_no_end(*_arguments: object) -> None:
    await trio.sleep_forever()


def _renews_by_half(lease: Lease, ttl_s: float, now_s: float) -> Lease:
    return _renewed(lease, ttl_s / 2, now_s)


def _renews_without_end(lease: Lease, ttl_s: float, now_s: float) -> Lease:
    return _renewed(lease, ttl_s * 3, now_s)


def _rests_not_at_all(standing: Standing, reason: str | None) -> float | None:
    return None if _failed(standing, reason) is None else 0.0


def _never_gives_up(_standing: Standing, _reason: str | None) -> float:
    return 0.6


async def _leaves_the_actors(rpc: Any, reach: Any, baseline: Any, now: Any) -> None:
    await rpc.call("stop_recorder")


def _restores_nothing(journal: Any, _boot_id: str) -> Restored:
    return Restored(token=journal.token(), records=())


def _restores_any_boot(journal: Any, _boot_id: str) -> Restored:
    boot = journal.read("boot", Boot).get("boot")
    return _restore(journal, _boot_id if boot is None else boot.boot_id)


def _never_flushes(journal: Journal, pragma: str, value: object) -> None:
    _set(journal, pragma, "NORMAL" if value == "FULL" else value)


def _leaves_at_once(slot: Slot) -> None:
    _leave(slot)
    slot.quarantine("the fleet shrinks")


def _last_first(queue: Queue, arrived_at_s: float) -> tuple[float, int]:
    return _ranked(queue, -arrived_at_s)


async def _has_no_records(_sessions: object) -> dict[str, object]:
    return {}


async def _serves_silently(session: Session, *arguments: Any) -> None:
    session._cause = ""
    await _became_serving(session, *arguments)


def _publishes_most(notices: Notices, event: str, *arguments: Any, **options: Any) -> None:
    if event != "slot.leased":
        _published(notices, event, *arguments, **options)


def _restores_another_key(session: Session, opened: Any, granted: Any, losses: int) -> None:
    _restored(session, opened, granted, losses)
    session.key = "another"


def _takes_anything(frames: Any) -> Request:
    try:
        return _read(frames)
    except UnreadableError as error:
        return Request(version=1, request_id=error.request_id or "?", body=StatusQuery())


class _Both(AbstractContextManager[Any]):
    def __init__(self, *parts: AbstractContextManager[Any]) -> None:
        self._parts = parts

    def __enter__(self) -> None:
        for part in self._parts:
            part.__enter__()

    def __exit__(self, *failure: Any) -> None:
        for part in reversed(self._parts):
            part.__exit__(*failure)


_renewed, _failed, _ranked, _restored = Lease.renewed, Standing.failed, Queue.rank, Session.restore
_read, _published, _became_serving = requests.read, Notices.publish, Session._become_serving
_restore, _set, _leave = restore, Journal._set, Slot.leave

MUTATIONS: dict[str, Mutation] = {
    "tokens are not on disk": lambda: patch("carlad.broker.writer.TOKENS_AHEAD", -(1 << 40)),
    "tokens are not flushed": lambda: patch.object(Journal, "_set", _never_flushes),
    "leases outlive a boot": lambda: patch("carlad.broker.broker.restore", _restores_any_boot),
    "a fleet that shrinks takes servers from their holders": lambda: patch.object(
        Slot, "leave", _leaves_at_once
    ),
    "a lease expires too early": lambda: patch.object(Lease, "renewed", _renews_by_half),
    "a lease lasts too long": lambda: patch.object(Lease, "renewed", _renews_without_end),
    "a renewal is forgotten": lambda: patch.object(Book, "renew", lambda book, lease_id, *_: book[lease_id]),
    "a request that comes twice is served twice": lambda: _Both(
        patch.object(Answers, "again", lambda *_: []), patch.object(Book, "of_request", _nothing)
    ),
    "a scrub does not wait for others to go": lambda: _Both(
        patch.object(scrubbing, "alone", _looks_only), patch.object(Visitors, "came", _hears_nobody)
    ),
    "a scrub leaves actors": lambda: _Both(
        patch.object(scrubbing, "_put_back", _leaves_the_actors),
        patch.object(scrubbing, "_verify_world", _does_nothing),
        patch.object(scrubbing, "_verify_values", _does_nothing),
    ),
    "strangers are not noticed": lambda: patch.object(Visitors, "came", _hears_nobody),
    "a hang is not seen": lambda: patch.object(Silence, "goes_on", _nothing),
    "a crash is seen by probes alone": lambda: patch.object(Incarnation, "_watch_process", _sees_no_end),
    "a slot that fails does not rest": lambda: patch.object(Standing, "failed", _rests_not_at_all),
    "a slot that fails is never given up": lambda: patch.object(Standing, "failed", _never_gives_up),
    "slots are not on disk": lambda: patch.object(Ledger, "_write", _does_nothing),
    "leases are not restored": lambda: patch("carlad.broker.broker.restore", _restores_nothing),
    "the last who come are served first": lambda: patch.object(Queue, "rank", _last_first),
    "quotas are not kept": lambda: patch.object(Quota, "of", _nothing),
    "a server that waits is given to nobody": lambda: patch.object(Grants, "serve", lambda *_: []),
    "lost servers are not replaced": lambda: patch.object(Book, "unreplaced", lambda _book: []),
    "a replacement has not the settings": lambda: patch("carlad.fleet.upkeep.furnish", _does_nothing),
    "a dead holder is not seen": lambda: patch.object(Deaths, "watch_only", _nothing),
    "sessions are not on disk": lambda: patch.object(Sessions, "records", _has_no_records),
    "a session goes on under another key": lambda: patch.object(Session, "restore", _restores_another_key),
    "nobody is told why a host was lost": lambda: patch.object(Session, "_become_serving", _serves_silently),
    "garbage is understood": lambda: patch("carlad.gateway.router.requests.read", _takes_anything),
    "a notice is left out": lambda: patch.object(Notices, "publish", _publishes_most),
}

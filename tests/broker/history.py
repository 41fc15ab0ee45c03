"""A fleet and its clients in which everything takes time and the daemon may die; each step is checked.

It plays broker, fleet, disk and clients of a `LeaseTable`. Claims, loads, scrubs and ends are orders under
way until they are carried out, in any order; servers die whenever they like; the daemon dies before or right
after a write, and whoever has no answer then asks again. Promises 1 to 4 and 12 are asserted throughout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Literal, ParamSpec

import msgspec

from carlad.broker.effects import Answer, Claim, Effect, End, Load, Scrub, Tell
from carlad.broker.grants import CLAIM_MAX_S
from carlad.broker.holder import Process
from carlad.broker.lease import Record
from carlad.broker.leases import LeaseTable
from carlad.broker.queue import Waiting
from carlad.broker.terms import Quota, Terms
from carlad.journal import Put
from carlad.messages import (
    Acquire,
    Granted,
    Refused,
    Release,
    Renew,
    Renewed,
    ReplacementQuery,
    ReplyBody,
    Withdraw,
)
from tests.broker.slots import acquire, status

MAPS = frozenset({"Town01", "Town02"})
TTL_S, TTL_MAX_S, HEAD_START_S = 10.0, 60.0, 5.0
USERS = ("ann", "bob", "eve")

Order = Claim | Load | Scrub | End
P = ParamSpec("P")


class KilledError(Exception):
    """The daemon was killed in the midst of this step."""


class Live(msgspec.Struct):
    """A lease as its holder knows it. `latest_s`: of its end; later than `ends_at_s` after a restart."""

    slot: int
    user: str
    token: int
    ends_at_s: float
    latest_s: float


def mortal(step: Callable[Concatenate[History, P], None]) -> Callable[Concatenate[History, P], None]:
    """The daemon may die in that step; then what the step itself would have looked at is moot."""

    @wraps(step)
    def run(self: History, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(self, *args, **kwargs)
        except KilledError:
            self.come_back()
        self.check()

    return run


class History:
    def __init__(self, size: int, spares: int, quota: int | None) -> None:
        self.now_s = 0.0
        self.slots = {slot: status(slot) for slot in range(size)}
        self.terms = Terms(TTL_S, TTL_MAX_S, spares=spares, head_start_s=HEAD_START_S, quota=Quota(quota))
        self.disk: dict[str, Record] = {}
        self.token_on_disk = 41
        self.table = LeaseTable(self.terms, 41)
        self.doom: Literal["before", "after"] | None = None
        self.orders: list[Order] = []
        self.loading: dict[int, str] = {}
        self.fenced: dict[int, set[int]] = {slot: set() for slot in self.slots}  # incarnations not scrubbed
        self.requests: dict[str, Acquire] = {}
        self.ranks: dict[str, tuple[float, int]] = {}  # of requests without an answer
        self.answers: dict[str, ReplyBody] = {}
        self.live: dict[str, Live] = {}
        self.token = 41
        self.tokens: dict[int, int] = {}  # of the last lease of each slot
        self.arrivals = self.operations = 0
        self.look()

    # --- the broker --------------------------------------------------------------------------------

    def perform(self, effects: list[Effect]) -> None:
        self.operations += 1
        if self.doom == "before":
            raise KilledError
        self.write()
        if self.doom == "after":
            raise KilledError
        self.check_choices(effects)
        for effect in effects:
            match effect:
                case Answer(request_id, body):
                    self.take_answer(request_id, body)
                case Claim(_slot, _lease_id, token):
                    assert self.token < token <= self.token_on_disk, "tokens grow, and are on disk"
                    self.token = token
                    self.orders.append(effect)
                case Load() | Scrub() | End():
                    self.orders.append(effect)
                case Tell():
                    self.hear(effect)

    def write(self) -> None:
        self.token_on_disk = self.table.token
        for change in self.table.unwritten():
            if isinstance(change, Put):
                assert isinstance(change.record, Record)
                self.disk[change.key] = change.record
            else:
                self.disk.pop(change.key, None)

    def check_choices(self, effects: list[Effect]) -> None:
        """Whoever just got a slot was entitled to it before all who still wait."""
        chosen = {effect.slot for effect in effects if isinstance(effect, Claim | Load)}
        assignment = self.table._assignment
        for reservation in assignment.reservations:
            waiting = reservation.waiting
            if reservation.slot not in chosen or (reservation.lease and waiting.loads):
                continue  # chosen before, or its map is loaded by now
            assert all(w.rank > waiting.rank or w in self.passed_over() for w in assignment.queue), (
                "who is first"
            )
            if waiting.replaces is None:
                assert len(self.free()) >= self.terms.spares, "spares are kept"

    def take_answer(self, request_id: str, body: ReplyBody) -> None:
        if request_id in self.requests:
            assert self.answers.setdefault(request_id, body) == body, "a request has one answer"
        if self.ranks.pop(request_id, None) is not None and isinstance(body, Granted):
            assert self.requests[request_id].map in (None, body.map)
            assert body.lease_id in self.live
        self.answers[request_id] = body

    def hear(self, tell: Tell) -> None:
        if tell.lease is not None:
            self.grant(tell)
        elif tell.is_end:
            ended = self.live.pop(tell.lease_id)
            if tell.event == "lease.expired" and "died" not in (tell.reason or ""):
                assert self.now_s >= ended.ends_at_s, "never before its time"
            if tell.event == "lease.lost":
                assert self.slots[ended.slot].lease_id != tell.lease_id

    def grant(self, tell: Tell) -> None:
        lease, shown = tell.lease, self.slots[tell.slot]
        assert lease is not None
        assert shown.lease_id == lease.lease_id
        assert all(other.slot != lease.slot for other in self.live.values()), "one live lease a server"
        assert lease.token > self.tokens.get(lease.slot, 0), "a server's tokens grow"
        self.tokens[lease.slot] = lease.token
        assert shown.incarnation not in self.fenced[lease.slot], "nobody gets what was held and not scrubbed"
        self.fenced[lease.slot].add(shown.incarnation)
        ends_at_s = self.now_s + lease.ttl_s
        self.live[lease.lease_id] = Live(lease.slot, lease.holder.user, lease.token, ends_at_s, ends_at_s)

    def look(self) -> None:
        maps = dict.fromkeys(self.slots, MAPS)
        self.perform(self.table.slots_changed(self.slots.values(), maps, self.now_s))

    def show(self, slot: int, **fields: object) -> None:
        self.slots[slot] = msgspec.structs.replace(self.slots[slot], **fields)
        self.look()

    def come_back(self) -> None:
        """Another daemon, with what is on disk; clients without an answer ask again."""
        self.doom = None
        self.orders.clear()
        self.answers.clear()  # who has an answer does not ask again
        records = [msgspec.json.decode(msgspec.json.encode(r), type=Record) for r in self.disk.values()]
        assert len({record.lease.slot for record in records if record.ended is None}) == sum(
            record.ended is None for record in records
        )
        self.table = LeaseTable(self.terms, self.token_on_disk, records)
        for lease_id in self.live.keys() - self.table.live().keys():
            assert self.disk[lease_id].ended is not None, "a lease ends by a decision, never by a crash"
            del self.live[lease_id]
        for lease_id, lease in self.table.live().items():
            latest_s = lease.expires_at_s
            if lease_id in self.live:  # held by who knows of it: never shorter, hardly longer
                known = self.live[lease_id]
                assert known.ends_at_s <= latest_s <= known.latest_s + CLAIM_MAX_S
                known.latest_s = latest_s
            else:
                user = lease.holder.user
                self.live[lease_id] = Live(lease.slot, user, lease.token, latest_s, latest_s)
                if self.slots[lease.slot].lease_id == lease_id:
                    self.fenced[lease.slot].add(self.slots[lease.slot].incarnation)
        self.look()
        for request_id in list(self.ranks):
            self.send(request_id)

    # --- what clients do ---------------------------------------------------------------------------

    def send(self, request_id: str) -> None:
        asked = self.requests[request_id]
        self.arrivals += 1
        if request_id not in self.answers:
            self.ranks[request_id] = (self.now_s - asked.priority * HEAD_START_S, self.arrivals)
        self.perform(self.table.acquire(request_id, asked, self.now_s))

    @mortal
    def ask(self, terms: dict[str, object], *, at_once: bool) -> None:
        request_id = f"request {len(self.requests)}"
        started = len(self.requests) + 1  # each a process of its own
        self.requests[request_id] = acquire(**terms, started=started)  # type: ignore[arg-type]
        self.send(request_id)
        while at_once and self.orders:
            self.do_order(0, 3)

    @mortal
    def ask_again(self, which: int) -> None:
        request_id = list(self.requests)[which % len(self.requests)]
        if request_id in self.ranks or request_id in self.answers:
            self.perform(self.table.acquire(request_id, self.requests[request_id], self.now_s))

    @mortal
    def renew(self, which: int, ttl_s: float) -> None:
        lease_id = self.one_of(which)
        lease = self.live[lease_id]
        lease.ends_at_s = min(lease.ends_at_s, self.now_s + ttl_s)  # until there is an answer
        lease.latest_s = max(lease.latest_s, self.now_s + ttl_s)
        self.perform(self.table.renew("renewal", Renew(lease_id=lease_id, ttl_s=ttl_s), self.now_s))
        if isinstance(self.answers.pop("renewal"), Renewed):
            lease.ends_at_s = lease.latest_s = self.now_s + ttl_s
        else:
            assert lease_id not in self.live

    @mortal
    def release(self, which: int, *, is_stale: bool) -> None:
        lease_id = self.one_of(which)
        token = int(lease_id.removeprefix("lease-")) - is_stale
        request_id = f"release {lease_id} {token}"
        self.perform(self.table.release(request_id, Release(lease_id=lease_id, token=token), self.now_s))
        if is_stale:
            assert isinstance(self.answers[request_id], Refused)
        else:
            assert lease_id not in self.live

    @mortal
    def withdraw(self, which: int) -> None:
        request_id = list(self.ranks)[which % len(self.ranks)]
        self.perform(self.table.withdraw("withdrawal", Withdraw(request_id=request_id), self.now_s))
        assert request_id not in self.ranks

    @mortal
    def follow(self, which: int) -> None:
        """Of any lease that is still known."""
        lease_id = list(self.disk)[which % len(self.disk)]
        query = ReplacementQuery(lease_id=lease_id)
        self.answers.pop("follow", None)
        self.perform(self.table.replacement("follow", query, self.now_s))
        answer = self.answers.get("follow")
        if isinstance(answer, Granted):
            assert answer.lease_id in self.live
        elif answer is None:
            assert self.table._assignment.of_request("follow") is not None

    @mortal
    def holder_dies(self, which: int) -> None:
        processes = sorted(self.table.processes(), key=lambda process: process.started)
        if processes:
            process: Process = processes[which % len(processes)]
            for request_id in list(self.ranks):
                if self.requests[request_id].holder.started == process.started:
                    del self.ranks[request_id]  # nobody waits for the answer
            self.perform(self.table.holder_died(process, self.now_s))
            assert process not in self.table.processes()

    # --- what the fleet, the clock and fate do -----------------------------------------------------

    @mortal
    def carry_out(self, which: int, luck: int) -> None:
        self.do_order(which, luck)

    def do_order(self, which: int, luck: int) -> None:
        """`luck` 0: the disk is full; 1: the server dies right after."""
        order = self.orders.pop(which % len(self.orders))
        shown = self.slots[order.slot]
        match order:
            case Claim(slot, lease_id, token, expected) if luck == 0 or not (
                shown.state == "READY" and (shown.incarnation, shown.map) == expected
            ):
                fault = "disk full" if luck == 0 else None
                self.perform(self.table.not_claimed(slot, token, self.now_s, fault))
            case Claim(slot, lease_id, token):
                self.show(slot, state="LEASED", lease_id=lease_id)
                if luck == 1:
                    self.kill(slot)
                self.perform(self.table.claimed(slot, token, self.now_s))
            case Load(slot, wanted):
                if shown.state == "READY":
                    self.loading[slot] = wanted
                    self.show(slot, state="STARTING")
                self.perform(self.table.load_began(slot, shown.state == "READY", self.now_s))
            case Scrub(slot, lease_id) | End(slot, lease_id):
                assert lease_id not in self.live, "who holds a server keeps it"
                if shown.lease_id == lease_id:
                    self.fenced[slot].add(shown.incarnation)
                    state = "SCRUBBING" if isinstance(order, Scrub) else "STOPPING"
                    self.show(slot, state=state, lease_id=None)

    @mortal
    def server_dies(self, slot: int) -> None:
        if slot < len(self.slots):
            self.kill(slot)

    def kill(self, slot: int) -> None:
        self.loading.pop(slot, None)
        self.show(slot, state="BACKOFF", lease_id=None, reason="crashed")

    @mortal
    def servers_are_ready(self) -> None:
        for slot, shown in self.slots.items():
            if slot in self.loading:
                self.slots[slot] = msgspec.structs.replace(shown, state="READY", map=self.loading.pop(slot))
            elif shown.state == "SCRUBBING":
                self.fenced[slot].discard(shown.incarnation)
                self.slots[slot] = msgspec.structs.replace(shown, state="READY")
            elif shown.state in ("BACKOFF", "STOPPING"):
                self.slots[slot] = status(slot, incarnation=shown.incarnation + 1)
        self.look()

    @mortal
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.perform(self.table.time_passed(self.now_s))

    def daemon_will_die(self, when: Literal["before", "after"]) -> None:
        """At the next write."""
        self.doom = when

    # --- what always holds -------------------------------------------------------------------------

    def check(self) -> None:
        said = {lease.lease_id: lease.slot for lease in self.table.leases(self.now_s)}
        assert said == {lease_id: lease.slot for lease_id, lease in self.live.items()}
        assert all(lease.latest_s > self.now_s for lease in self.live.values()), "none outlives its time"
        deadline_s = self.table.next_deadline_s()
        assert deadline_s is None or deadline_s > self.now_s
        self.check_queue()
        self.check_quota()

    def check_queue(self) -> None:
        assignment = self.table._assignment
        assert {w.request_id for w in assignment.waiting()} >= self.ranks.keys(), "answered, or waiting"
        waiting = [w for w in assignment.queue if w.request_id in self.ranks and w.replaces is None]
        expected = sorted(waiting, key=lambda w: self.ranks[w.request_id or ""])
        assert waiting == expected, "first come, first served, but for head starts"
        owed = [w.replaces.lease_id for w in assignment.waiting() if w.replaces is not None]
        assert sorted(owed) == sorted(lease.lease_id for lease in self.table._book.unreplaced())
        able = [w for w in assignment.queue if w not in self.passed_over()]
        spares = 0 if any(w.replaces is not None for w in able) else self.terms.spares
        assert not able or len(self.free()) <= spares, "who can be served is served"

    def passed_over(self) -> list[Waiting]:
        """Who waits for a reason of their own."""
        queue = self.table._assignment.queue
        return [w for w in queue if w.is_at_quota or w.paused_until_s is not None]

    def check_quota(self) -> None:
        quota = self.terms.quota.leases_max
        waiting = self.table._assignment.queue
        owed = (w.user for w in waiting if w.replaces is not None)
        reserved = (r.waiting.user for r in self.table._assignment.reservations)
        held = (lease.user for lease in self.live.values())
        counts = Counter([*owed, *reserved, *held])
        assert quota is None or all(count <= quota for count in counts.values()), counts

    def free(self) -> list[int]:
        reserved = self.table._assignment.reservations
        return [s.slot for s in self.slots.values() if s.state == "READY" and s.slot not in reserved]

    def one_of(self, which: int) -> str:
        return list(self.live)[which % len(self.live)]

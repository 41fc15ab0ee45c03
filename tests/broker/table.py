"""A lease table in a small world, for tests of it: no I/O, no clock but the one that the test moves."""

from __future__ import annotations

import msgspec

from carlad.broker.effects import Answer, Claim, Effect, Tell
from carlad.broker.lease import Record
from carlad.broker.leases import LeaseTable
from carlad.broker.terms import Terms
from carlad.journal import Put
from carlad.messages import (
    Granted,
    LeaseRequest,
    Refused,
    Release,
    Renew,
    ReplacementQuery,
    ReplyBody,
    SlotStatus,
    Withdraw,
)
from tests.broker.slots import acquire

MAPS = frozenset({"Town01", "Town02"})


class Fleet:
    """A lease table with slots and a disk around it; `do` performs claims at once, the rest is `ordered`.

    `restart`: the daemon was killed; slots, disk and time go on.
    """

    def __init__(self, *slots: SlotStatus, maps: frozenset[str] = MAPS, **terms: object) -> None:
        self.slots = {s.slot: s for s in slots}
        self.maps = dict.fromkeys(self.slots, maps)
        self.now_s = 0.0
        self.answers: dict[str, ReplyBody] = {}
        self.told: list[str] = []
        self.ordered: list[Effect] = []
        self.claims_work = True
        self.terms = Terms(**{"ttl_s": 30.0, "ttl_max_s": 3600.0, **terms})  # type: ignore[arg-type]
        self.disk: dict[str, Record] = {}
        self.token_on_disk = 100
        self.table = LeaseTable(self.terms, token=100)
        self.look()

    def look(self) -> None:
        self.do(self.table.slots_changed(self.slots.values(), self.maps, self.now_s))

    def show(self, slot: int, **fields: object) -> None:
        self.slots[slot] = msgspec.structs.replace(self.slots[slot], **fields)
        self.look()

    def at(self, now_s: float) -> None:
        self.now_s = now_s
        self.do(self.table.time_passed(now_s))

    def restart(self) -> None:
        self.answers.clear()
        self.table = LeaseTable(self.terms, self.token_on_disk, self.disk.values())
        self.look()

    def write(self) -> None:
        self.token_on_disk = self.table.token
        for change in self.table.unwritten():
            if isinstance(change, Put):
                encoded = msgspec.json.encode(change.record)
                self.disk[change.key] = msgspec.json.decode(encoded, type=Record)
            else:
                self.disk.pop(change.key, None)

    def do(self, effects: list[Effect]) -> None:
        self.write()
        for effect in effects:
            match effect:
                case Answer(request_id, body):
                    self.answers[request_id] = body
                case Tell(event):
                    self.told.append(event)
                case Claim(slot, lease_id, token) if self.claims_work:
                    self.show(slot, state="LEASED", lease_id=lease_id)
                    self.do(self.table.claimed(slot, token, self.now_s))
                case _:
                    self.ordered.append(effect)

    def acquire(self, request_id: str, **terms: object) -> ReplyBody | None:
        self.do(self.table.acquire(request_id, acquire(**terms), self.now_s))  # type: ignore[arg-type]
        return self.answers.get(request_id)

    def granted(self, request_id: str, **terms: object) -> Granted:
        answer = self.acquire(request_id, **terms)
        assert isinstance(answer, Granted), answer
        return answer

    def ask(self, body: LeaseRequest, request_id: str = "ask") -> ReplyBody | None:
        table = self.table
        self.answers.pop(request_id, None)
        match body:
            case Renew():
                self.do(table.renew(request_id, body, self.now_s))
            case Release():
                self.do(table.release(request_id, body, self.now_s))
            case Withdraw():
                self.do(table.withdraw(request_id, body, self.now_s))
            case ReplacementQuery():
                self.do(table.replacement(request_id, body, self.now_s))
        return self.answers.get(request_id)


def code(answer: ReplyBody | None) -> str | None:
    return answer.code if isinstance(answer, Refused) else None

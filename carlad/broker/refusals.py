"""Refusals in words: what cannot be done, why, and what there is instead."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable

from carlad.broker.lease import Ended
from carlad.messages import WAIT_MAX_S, Refused, SlotStatus


def bad_ttl(ttl_s: float, ttl_max_s: float) -> Refused:
    return Refused(
        code="bad-ttl",
        reason=f"cannot lease for {ttl_s:g} s: a time to live is above 0 and at most {ttl_max_s:g} s",
    )


def bad_wait(wait_s: float) -> Refused:
    return Refused(
        code="bad-request", reason=f"cannot wait {wait_s:g} s: waiting takes from 0 to {WAIT_MAX_S:g} s"
    )


def unknown_map(name: str, known: Collection[str]) -> Refused:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f"did you mean {near[0]}? " if near else ""
    return Refused(
        code="unknown-map",
        reason=f"cannot lease a server with map {name!r}: no server has it; {hint}"
        f"known are {', '.join(sorted(known))}",
    )


def waited_in_vain(wait_s: float, slots: Iterable[SlotStatus], spares: int, setback: str | None) -> Refused:
    free = f"no server came free within {wait_s:g} s" if wait_s else "no server is free"
    census = ", ".join(f"{n} {state}" for state, n in sorted(Counter(s.state for s in slots).items()))
    kept = f"; {spares} kept for those who lose theirs" if spares else ""
    why = f"; {setback}" if setback else ""
    return Refused(
        code="waited-in-vain", reason=f"cannot lease: {free} ({census or 'the fleet is empty'}{kept}){why}"
    )


def over_quota(user: str, quota: int, wait_s: float) -> Refused:
    still = f" still, after {wait_s:g} s," if wait_s else ""
    return Refused(
        code="over-quota",
        reason=f"cannot lease: {user}{still} has all {quota} servers that one may have (quota): release one",
    )


def map_does_not_load(name: str, attempts: int, setback: str | None) -> Refused:
    why = f": {setback}" if setback else ""
    return Refused(
        code="waited-in-vain",
        reason=f"cannot lease a server with map {name!r}: {attempts} servers failed to load it{why}",
    )


def no_such_lease(verb: str, lease_id: str, ended: Ended | None) -> Refused:
    why = ended.why if ended is not None else "there is no such lease"
    successor = f"; {ended.successor} replaces it" if ended is not None and ended.successor else ""
    return Refused(code="no-such-lease", reason=f"cannot {verb} {lease_id}: {why}{successor}")


def stale_token(verb: str, lease_id: str, token: int, current: int) -> Refused:
    return Refused(
        code="stale-token",
        reason=f"cannot {verb} {lease_id}: fencing token {token} is stale, the lease has {current}",
    )


def overloaded(waiting: int) -> Refused:
    return Refused(code="overloaded", reason=f"cannot lease: {waiting} requests are waiting already")


def withdrawn() -> Refused:
    return Refused(code="withdrawn", reason="the request was withdrawn")


def asked_anew() -> Refused:
    return Refused(code="withdrawn", reason="another request asks for the same replacement")


def stopping() -> Refused:
    return Refused(code="stopping", reason="cannot lease: carlad is stopping")


def journal_fails(reason: str) -> Refused:
    return Refused(code="unavailable", reason=f"cannot promise anything: {reason}")

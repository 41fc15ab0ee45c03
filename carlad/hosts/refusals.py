"""Refusals in words: what cannot be done, why, and what there is instead."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from carlad.messages import Refused


def unknown_environment(name: str, known: Collection[str]) -> Refused:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return Refused(
        code="unknown-environment",
        reason=f"cannot open a session of {name!r}: session.envs does not allow it; {hint}"
        f"allowed are {', '.join(sorted(known)) or 'none'}",
    )


def environment_refuses(name: str, words: str) -> Refused:
    return Refused(code="environment-refused", reason=f"cannot make the environment {name!r}: {words}")


def failed(session_id: str, why: str) -> Refused:
    return Refused(code="session-failed", reason=f"cannot keep {session_id}: {why}")


def no_such_session(verb: str, session_id: str, why: str = "there is no such session") -> Refused:
    return Refused(code="no-such-session", reason=f"cannot {verb} {session_id}: {why}")


def ended(verb: str, session_id: str, end: Refused) -> Refused:
    """`end`: what its client was told then: that something cannot be done, and why."""
    return no_such_session(verb, session_id, end.reason.partition(": ")[2] or end.reason)


def wrong_key(verb: str, session_id: str) -> Refused:
    return Refused(code="stale-token", reason=f"cannot {verb} {session_id}: the key is another session's")


def not_local() -> Refused:
    return Refused(
        code="bad-request",
        reason="cannot open a session for another machine: its env host would be here, and "
        "remote.session_ports names no ports to reach it; take a lease, and host the environment there",
    )


def no_ports(sessions: int) -> Refused:
    return Refused(
        code="overloaded",
        reason=f"cannot open a session for another machine: {sessions} sessions have the free ports of "
        "remote.session_ports",
    )


def overloaded(sessions: int) -> Refused:
    return Refused(code="overloaded", reason=f"cannot open a session: there are {sessions} already")


def stopping() -> Refused:
    return Refused(code="stopping", reason="cannot open a session: carlad is stopping")

"""What clients of env sessions were promised: theirs goes on, whoever dies, at the price of one episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carlad.messages import Notice, OpenSession, Refused, ReplyBody, SessionOpened

if TYPE_CHECKING:
    from tests.simulation.world import World

_MARGIN_S = 1.0


@dataclass
class Session:
    opened: SessionOpened
    renewed_s: float  # when its last renewal that was answered was sent, or later
    over: bool = False


class Sessions:
    """By client, which has one at most."""

    def __init__(self, world: World, check: Callable[[bool, str], None]) -> None:
        self._world = world
        self._check = check
        self._of: dict[str, Session] = {}
        self._opened_s: dict[str, float] = {}
        self.truncated = 0  # episodes
        self.may_be_lost = False  # the journal was damaged, or the daemon was ended in order

    def answered(self, name: str, asked: OpenSession, answer: ReplyBody) -> None:
        if isinstance(answer, SessionOpened):
            self._check(asked.map in (None, answer.map), f"{name} wanted {asked.map} and got {answer.map}")
            self._of[name] = Session(answer, self._opened_s.get(answer.session_id, self._world.sim_s()))
        elif asked.config:
            codes = ("environment-refused", "session-failed", "stopping", "withdrawn")
            is_said = isinstance(answer, Refused) and answer.code in codes
            self._check(is_said, f"{name} has a bad environment and is told {answer}")

    def heard(self, notice: Notice) -> None:
        if notice.event == "session.opened" and notice.session_id is not None:
            self._opened_s[notice.session_id] = self._world.sim_s()

    def renewed(self, name: str, sent_s: float) -> None:
        self._of[name].renewed_s = max(self._of[name].renewed_s, sent_s)

    def recovered(self, name: str, before: SessionOpened, after: SessionOpened) -> None:
        """One episode is truncated: it is said why, and the session is the same."""
        self.truncated += 1
        session = self._of[name]
        same = ("session_id", "key", "telemetry", "ttl_s", "observation_space", "action_space")
        others = [field for field in same if getattr(before, field) != getattr(after, field)]
        self._check(not others, f"{name} goes on with another {others}")
        self._check(after.host > before.host, f"{name} goes on with host {after.host} after {before.host}")
        self._check(bool(after.cause), f"{name} is not told why its episode was truncated")
        self._check(after.secret != before.secret, f"{name} goes on with the secret of a lost host")
        session.opened = after

    def refused(self, name: str, answer: Refused) -> None:
        """Its session is over, although its client wants it."""
        session = self._of[name]
        if session.over:
            return
        session.over = True
        late_s = self._world.sim_s() - session.renewed_s
        why = answer.reason
        is_over = "expired" in why or "no such session" in why  # as a daemon says that began after its end
        expired = is_over and late_s >= session.opened.ttl_s - _MARGIN_S
        failed = answer.code == "session-failed" or "failed too often" in why or "map" in why
        is_said = (
            expired or failed or self.may_be_lost or "stopping" in why or self._world.machine_is_gone(name)
        )
        self._check(is_said, f"{name}, renewed {late_s:.1f} s ago, lost its session: {why}")

    def leaves(self, name: str) -> None:
        self._of[name].over = True

    def is_over(self, name: str) -> bool:
        return self._of[name].over

    def closed(self, name: str) -> None:
        """Nothing of it is left."""
        left = [host.name for host in self._world.hosts.running() if host.client == name]
        self._check(not left or self.may_be_lost, f"{name} has closed its session, and {left} runs")

    def may_give_back(self, name: str) -> bool:
        """A session's lease is given back whenever its host is lost."""
        return name.startswith("session")

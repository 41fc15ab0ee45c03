"""What is wanted of a slot, and how it has fared so far: both decide what follows an incarnation. Pure."""

from __future__ import annotations

from enum import Enum
from random import Random

from carlad.config import RecycleSection
from carlad.runtime import RestartPolicy, Restarts


class Wish(Enum):
    """UP is the only one under which a server is started."""

    UP = "up"
    DOWN = "down"  # drained: it stays empty until it is wanted again
    QUARANTINED = "quarantined"  # by hand or by its own failures; `restart` lifts it
    GONE = "gone"  # the fleet shrinks


class Standing:
    """Survives incarnations, and failures of the slot itself."""

    def __init__(self, policy: RestartPolicy, seed: int) -> None:
        self._policy = policy
        self._random = Random(seed)
        self._restarts = Restarts(policy, self._random)
        self.wish = Wish.UP
        self.why = ""  # it is not UP, or outdated
        self.is_outdated = False  # its server is to be replaced as soon as nobody holds it
        self.told_of: RecycleSection | None = None  # that one of these limits is too tight

    @property
    def is_draining(self) -> bool:
        return self.wish in (Wish.DOWN, Wish.GONE)

    @property
    def may_be_leased(self) -> bool:
        return self.wish is Wish.UP and not self.is_outdated

    def go_on(self, wish: Wish, why: str) -> None:
        """As an earlier daemon left it."""
        self.wish, self.why = wish, why

    def wants_up(self) -> None:
        """Whatever was wanted or has failed before."""
        self.wish, self.why, self.is_outdated = Wish.UP, "", False
        self._restarts = Restarts(self._policy, self._random)

    def wants_down(self, why: str) -> None:
        self.wish, self.why = Wish.DOWN, why

    def wants_gone(self, why: str) -> None:
        self.wish, self.why = Wish.GONE, why

    def quarantine(self, why: str) -> None:
        self.wish, self.why = Wish.QUARANTINED, why

    def outdate(self, why: str) -> None:
        self.is_outdated = True
        if self.wish is Wish.UP:
            self.why = why

    def use(self, policy: RestartPolicy) -> None:
        """From now on. Failures so far are forgotten: they were judged by the policy before."""
        if policy != self._policy:
            self._policy = policy
            self._restarts = Restarts(policy, self._random)

    def ran(self, seconds: float) -> None:
        """An incarnation served for so long."""
        self._restarts.ran(seconds)

    def failed(self, reason: str | None) -> float | None:
        """Seconds until the next start; None: quarantined from now on."""
        backoff_s = self._restarts.failed()
        if backoff_s is None:
            self.quarantine(f"failed too often, lastly: {reason}")
        return backoff_s

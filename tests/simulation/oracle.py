"""What must hold, whatever happens: carlad's promises, checked from outside at every event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from carlad.broker.grants import CLAIM_MAX_S
from carlad.messages import Acquire, Granted, LeaseStatus, ReplyBody, SlotStatus
from tests.simulation.backend import LATER_DAEMON
from tests.simulation.server import SimServer

if TYPE_CHECKING:
    from tests.simulation.world import Life, World

_LOOK_S = 2.0  # the broker's timers, and its writes
_CRASH_SEEN_S = 1.0
_HANG_SEEN_S = 40.0  # probes, revivals
_LOOP_SEEN_S = 120.0
_JUST_NOW_S = 0.2
_OVERDUE_LOOKS = 2  # a second each; the broker looks at its clock every second
_UP = ("READY", "LEASED")


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


@dataclass
class Lease:
    """As the outside knows it. `until_s`: it must not end before, by the leases' clock."""

    lease_id: str
    token: int
    party: str
    slot: int
    server: SimServer
    granted_s: float
    granted_sim_s: float
    until_s: float = 0.0
    ttl_s: float = 0.0
    delivered_s: float = 0.0
    was_found: bool = False  # by a later daemon than the one that promised it
    wants_to_leave: bool = False
    ended: bool = False
    ended_in: Life | None = None
    was_lost: bool = False
    overdue: int = 0  # looks in a row


@dataclass
class Kept:
    """What a daemon that was killed knew: the next one must know it, too."""

    leases: list[Lease]
    at_s: float


@dataclass
class Oracle:
    world: World
    leases: dict[str, Lease] = field(default_factory=dict)
    asked: dict[str, Acquire] = field(default_factory=dict)
    grants: dict[int, list[Lease]] = field(default_factory=dict)  # by server's pid
    starts: dict[int, int] = field(default_factory=dict)
    leased_s: dict[str, float] = field(default_factory=dict)  # from when a lease's time counts
    lost_at_s: dict[int, float] = field(default_factory=dict)  # slots that then have to rest
    strangers_at_s: float = -10.0
    meddled: set[int] = field(default_factory=set)  # slots that an operator just touched
    answered: int = 0
    granted: int = 0
    kept: Kept | None = None
    journal_was_lost: bool = False
    violation: BrokenPromiseError | None = None  # the first one

    # --- what is heard -----------------------------------------------------------------------------

    def heard(
        self, life: Life, event: str, slot: int | None, lease_id: str | None, reason: str | None
    ) -> None:
        """A notice of the fleet or the broker."""
        if event == "slot.leased" and lease_id is not None:
            self.leased_s[lease_id] = self.world.now_s()
        elif event == "slot.starting" and slot is not None:
            self.starts[slot] = self.starts.get(slot, 0) + 1
            rest_s = self.world.sim_s() - self.lost_at_s.pop(slot, -1.0)
            self._check(
                rest_s >= self.world.config.restart.backoff_s, f"slot {slot} rested {rest_s:.3f} s only"
            )
            most = self.world.config.restart.restarts_max + 1
            self._check(
                self.starts[slot] <= most, f"slot {slot} was started {self.starts[slot]} times in vain"
            )
        elif event == "slot.lost" and slot is not None and slot not in self.meddled:
            self.lost_at_s[slot] = self.world.sim_s()
        elif event in ("slot.ready", "slot.quarantined") and slot is not None:
            self.starts[slot] = 0
        elif event in ("lease.expired", "lease.released", "lease.lost") and lease_id is not None:
            self._ended(life, event, lease_id, reason or "")
        self._look(life)

    def _ended(self, life: Life, event: str, lease_id: str, reason: str) -> None:
        lease = self.leases.get(lease_id)
        if lease is None:
            return
        # A full disk may not have told the next daemon.
        self._check(not lease.ended or lease.ended_in is not life, f"{lease_id} ended twice")
        lease.ended, lease.ended_in = True, life
        lease.was_lost = event == "lease.lost"
        if event == "lease.expired":
            self._check(self.world.now_s() >= lease.until_s - 1e-6, f"{lease_id} expired before its time")
        if event == "lease.lost" and "stopping" not in reason:
            status = self.world.status(lease.slot)
            self._check(status is None or status.lease_id != lease_id, f"{lease_id} was lost, and is held")

    def _look(self, life: Life) -> None:
        """At the leases as they are told now."""
        if life.broker is None or life.is_dead:
            return
        live = life.broker.leases()
        slots = [status.slot for status in live]
        self._check(len(set(slots)) == len(slots), f"two live leases on one server: {live}")
        for status in live:
            if status.lease_id not in self.leases:
                self._granted(life, status)

    def _granted(self, life: Life, status: LeaseStatus) -> None:
        shown = life.fleet.statuses()[status.slot]
        server = self.world.server_at(shown.rpc_port)
        if shown.lease_id != status.lease_id or server is None:
            return  # it was lost while nobody looked
        name = status.holder.split()[-1]
        now_s = self.world.now_s()
        since_s = self.leased_s.get(status.lease_id, now_s)
        lease = Lease(status.lease_id, status.token, name, status.slot, server, since_s, self.world.sim_s())
        lease.until_s = lease.delivered_s = lease.granted_s
        lease.was_found = not life.is_settled
        self.leases[lease.lease_id] = lease
        earlier = self.grants.setdefault(server.pid, [])
        if life.is_settled:
            self._check_grant(lease, earlier)
        earlier.append(lease)
        self.granted += 1

    def _check_grant(self, lease: Lease, earlier: list[Lease]) -> None:
        server = lease.server
        self._check(all(one.ended for one in earlier), f"{lease.lease_id}: its server is another's still")
        twice = [one.lease_id for one in self.leases.values() if one.party == lease.party and not one.ended]
        self._check(twice == [lease.lease_id], f"{lease.party} asked once and got {twice}")
        self._check(lease.token > max((one.token for one in earlier), default=0), "tokens must grow")
        if self.world.sim_s() - self.strangers_at_s < _JUST_NOW_S:
            return
        others = {
            connection.party
            for connection in self.world.machine.network.connections
            if connection.service is server and isinstance(connection.party, str)
        }
        self._check(not others, f"{lease.lease_id}: {others} still at its server")
        foreign = server.world.foreign()
        if self._replaces(lease):
            foreign = [what for what in foreign if not what.startswith("settings")]
        self._check(not foreign, f"{lease.lease_id} got a server with {foreign}")

    def _replaces(self, lease: Lease) -> bool:
        return any(one.party == lease.party and one is not lease for one in self.leases.values())

    def commanded(self, server: SimServer, who: object, name: str) -> None:
        """A command took effect."""
        if who == "stranger":
            self.strangers_at_s = self.world.sim_s()
        grants = self.grants.get(server.pid, [])
        if isinstance(who, str) and who != "stranger" and grants:
            had_it = any(lease.party == who for lease in grants)
            newest = grants[-1]
            self._check(
                not had_it or newest.party == who,
                f"{name} of {who} reached the server of {newest.lease_id}, which is {newest.party}'s",
            )

    # --- what clients know -------------------------------------------------------------------------

    def was_told(self, name: str, asked: Acquire, granted: Granted) -> None:
        lease = self.leases.get(granted.lease_id)
        if lease is None:
            return  # granted by a daemon that was killed before it could be seen, and over by now
        self._check(lease.party == name, f"{granted.lease_id} is {lease.party}'s, and {name} was told of it")
        self._check(asked.map in (None, granted.map), f"{name} wanted {asked.map} and got {granted.map}")
        lease.until_s = max(lease.until_s, lease.granted_s + granted.ttl_s)
        lease.ttl_s = granted.ttl_s

    def renewed(self, lease_id: str, sent_s: float) -> None:
        if (lease := self.leases.get(lease_id)) is not None:
            lease.until_s = max(lease.until_s, sent_s + lease.ttl_s)

    def delivered(self, lease_id: str) -> None:
        """A renewal has arrived: from now on the lease may live for its time to live, and no longer."""
        if (lease := self.leases.get(lease_id)) is not None:
            lease.delivered_s = self.world.now_s()

    def wants_to_leave(self, lease_id: str) -> None:
        if lease_id in self.leases:
            self.leases[lease_id].wants_to_leave = True

    def left(self, _name: str, _answer: ReplyBody) -> None:
        self.answered += 1

    # --- daemons -----------------------------------------------------------------------------------

    def killed(self, life: Life, *, journal_lost: bool) -> None:
        known = {} if life.broker is None else {one.lease_id: one for one in life.broker.leases()}
        self.kept = Kept([lease for key, lease in self.leases.items() if key in known], self.world.sim_s())
        self.journal_was_lost = journal_lost

    def begins(self) -> None:
        """A daemon, which does not know what the one before was waiting for."""
        self.starts.clear()
        self.lost_at_s.clear()

    def began(self, life: Life) -> None:
        """A daemon is there, and has looked at its slots."""
        kept, self.kept = self.kept, None
        if kept is not None and not self.journal_was_lost:
            known = {lease.lease_id for lease in life.broker.leases()} if life.broker else set()
            for lease in kept.leases:
                self._check(
                    lease.lease_id in known or self._may_be_over(lease, life),
                    f"{lease.lease_id} was lost in a restart",
                )
        if self.journal_was_lost:
            for lease in self.leases.values():
                lease.ended = True
            self.journal_was_lost = False
        self._look(life)

    def _may_be_over(self, lease: Lease, life: Life) -> bool:
        ended = lease.ended and not (lease.was_lost and lease.ended_in is life)
        gone = lease.server.how not in (None, LATER_DAEMON) or lease.server.is_hung
        late = self.world.now_s() >= lease.until_s
        return ended or lease.wants_to_leave or gone or late or lease.slot in self.meddled

    # --- now and then ------------------------------------------------------------------------------

    def look(self, life: Life) -> None:
        """Every second."""
        for status in life.fleet.statuses():
            self._check_seen(life, status)
        if life.broker is None or not life.is_settled:
            return
        for lease in life.broker.leases():
            known = self.leases.get(lease.lease_id)
            if known is not None:
                known.overdue = known.overdue + 1 if lease.expires_in_s == 0 else 0
                self._check(known.overdue <= _OVERDUE_LOOKS, f"{lease.lease_id} outlives its time")
            if known is not None and known.ttl_s and lease.expires_in_s > 0:
                latest_s = known.delivered_s + known.ttl_s + _LOOK_S
                if known.was_found or life.began_at_s > known.granted_sim_s:
                    latest_s += CLAIM_MAX_S  # promised by one daemon, and found by the next
                self._check(
                    self.world.now_s() + lease.expires_in_s <= latest_s, f"{lease.lease_id} lasts too long"
                )

    def _check_seen(self, life: Life, status: SlotStatus) -> None:
        if status.state not in _UP:
            return
        server = self.world.yard_of(status.pid)
        if server is None:
            return
        since_s = max(server.fault_at_s, life.began_at_s)
        for_s = self.world.sim_s() - since_s
        if server.how is not None:
            self._check(for_s < _CRASH_SEEN_S, f"a crash is not seen for {for_s:.1f} s: {status}")
        elif server.is_hung:
            most_s = _LOOP_SEEN_S if server.pid in self.world.machine.busy else _HANG_SEEN_S
            self._check(for_s < most_s, f"a hang is not seen for {for_s:.1f} s: {status}")

    def at_the_end(self) -> None:
        """After everything has been told to end."""
        left = self.world.yard.running()
        self._check(not left, f"{len(left)} servers were left running")
        network = self.world.machine.network
        ports = [port for port, service in network.listeners.items() if isinstance(service, SimServer)]
        self._check(not ports, f"ports are left: {ports}")
        self._check(not network.connections, f"connections are left: {len(network.connections)}")

    def _check(self, holds: bool, otherwise: str) -> None:
        """Nothing is raised where the code under test could catch it."""
        if not holds and self.violation is None:
            self.violation = BrokenPromiseError(f"at {self.world.sim_s():.3f} s: {otherwise}")
            self.world.scope.cancel()

"""What must hold, whatever happens: carlad's promises, checked from outside at every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from carlad.broker.grants import CLAIM_MAX_S
from carlad.messages import Acquire, Granted, LeaseStatus, Notice, Refused, Reply, ReplyBody, Request
from tests.simulation.backend import LATER_DAEMON
from tests.simulation.episodes import Sessions
from tests.simulation.fairness import Fairness
from tests.simulation.promise import BrokenPromiseError
from tests.simulation.server import SimServer
from tests.simulation.watcher import Picture

if TYPE_CHECKING:
    from tests.simulation.post import Sender
    from tests.simulation.world import Life, World

_LOOK_S = 2.0  # the broker's timers, and its writes
_CRASH_SEEN_S = 1.0
_HANG_SEEN_S = 15.0  # after its probes: revivals
_LOOP_SEEN_S = 120.0
_DEATH_SEEN_S = 1.0
_JUST_NOW_S = 0.2
_LATE_MAX_S = 2.0  # the broker looks at its clock every second
_UP = ("READY", "LEASED")


def program_of(holder: str) -> str:
    """Of `messages.Holder` in words."""
    return holder.split()[-1].partition("[")[0]


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
    user: str = ""
    map: str | None = None
    is_replaced: bool = False  # where it is lost
    end_s: float = 0.0  # as the daemon says
    boot: int = 0


@dataclass
class Kept:
    """What a daemon that was killed knew: the next one must know it, too."""

    leases: list[Lease]
    at_s: float
    was_stopping: bool  # then it ended leases, and may have told nobody yet


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
    meddled: Counter[int] = field(default_factory=Counter)  # slots that an operator just touched
    taken: Counter[int] = field(default_factory=Counter)  # and which he took from whoever held it
    answered: int = 0
    granted: int = 0
    kept: Kept | None = None
    journal_was_lost: bool = False
    wants_replacement: set[str] = field(default_factory=set)  # parties
    dead: set[str] = field(default_factory=set)  # parties whose process, the holder, has ended
    jumped_s: float = 0.0  # when the leases' clock did so last, by itself
    garbage: int = 0  # of it so much was answered
    tokens_before: int = 0  # the highest that an earlier daemon gave out
    violation: BrokenPromiseError | None = None  # the first one

    def __post_init__(self) -> None:
        self.fairness = Fairness(self.world, self)
        self.sessions = Sessions(self.world, self.check)

    # --- what is heard -----------------------------------------------------------------------------

    def heard(self, life: Life, notice: Notice) -> None:
        """What a daemon publishes."""
        event, slot, lease_id = notice.event, notice.slot, notice.lease_id
        if event == "slot.leased" and lease_id is not None:
            self.leased_s[lease_id] = self.world.now_s()
        elif event == "slot.starting" and slot is not None:
            self._check_start(slot)
        elif event == "slot.lost" and slot is not None and not self.meddled[slot]:
            self.lost_at_s[slot] = self.world.sim_s()
        elif event in ("slot.ready", "slot.quarantined") and slot is not None:
            self.starts[slot] = 0
        elif event in ("lease.expired", "lease.released", "lease.lost") and lease_id is not None:
            self._ended(life, event, lease_id, notice.reason or "")
        self.look(life)
        self.fairness.heard(life, notice)
        self.sessions.heard(notice)

    def _check_start(self, slot: int) -> None:
        """A slot that an operator touches begins anew whenever he likes."""
        rest_s = self.world.sim_s() - self.lost_at_s.pop(slot, -1.0)
        if self.meddled[slot]:
            self.starts[slot] = 0
            return
        self.starts[slot] = self.starts.get(slot, 0) + 1
        self.check(rest_s >= self.world.config.restart.backoff_s, f"slot {slot} rested {rest_s:.3f} s only")
        most = self.world.config.restart.restarts_max + 1
        self.check(self.starts[slot] <= most, f"slot {slot} was started {self.starts[slot]} times in vain")

    def _ended(self, life: Life, event: str, lease_id: str, reason: str) -> None:
        lease = self.leases.get(lease_id)
        if lease is None:
            return
        # A full disk may not have told the next daemon.
        self.check(not lease.ended or lease.ended_in is not life, f"{lease_id} ended twice")
        had_ended, lease.ended, lease.ended_in = lease.ended, True, life
        lease.was_lost = event == "lease.lost"
        self.check(lease.boot == self.world.boots, f"{lease_id} was granted before the machine was booted")
        if event == "lease.expired":
            is_early = self.world.now_s() < lease.until_s - 1e-6
            why = self._may_end(lease, reason)
            self.check(why or not is_early, f"{lease_id} expired before its time: {reason}")
        if event == "lease.lost" and "stopping" not in reason:
            status = self.world.status(lease.slot)
            self.check(status is None or status.lease_id != lease_id, f"{lease_id} was lost, and is held")
            self.check(had_ended or self._may_be_lost(lease), f"{lease_id} was lost for nothing: {reason}")

    def _may_be_lost(self, lease: Lease) -> bool:
        """Its server is, or an operator took it."""
        server = lease.server
        return server.how is not None or server.is_hung or server.was_slow or self.taken[lease.slot] > 0

    def _may_end(self, lease: Lease, reason: str) -> bool:
        """Before its time: its holder is dead, or nobody is connected."""
        if "died" in reason:
            return lease.party in self.dead
        return "nobody was connected" in reason and self.world.config.lease.idle_max_s > 0

    def look(self, life: Life) -> None:
        """At the leases as they are told now."""
        if life.broker is None or life.is_dead:
            return
        live = life.broker.leases()
        slots = [status.slot for status in live]
        self.check(len(set(slots)) == len(slots), f"two live leases on one server: {live}")
        for status in live:
            if status.lease_id not in self.leases:
                self._granted(life, status)
        self._check_times(life, live)

    def _granted(self, life: Life, status: LeaseStatus) -> None:
        shown = self.world.status(status.slot)
        server = self.world.server_at(shown.rpc_port) if shown is not None else None
        if shown is None or server is None or shown.lease_id != status.lease_id:
            return  # it was lost while nobody looked
        name = program_of(status.holder)
        now_s = self.world.now_s()
        since_s = self.leased_s.get(status.lease_id, now_s)
        lease = Lease(status.lease_id, status.token, name, status.slot, server, since_s, self.world.sim_s())
        lease.user, lease.map = status.holder.partition("@")[0], shown.map
        lease.is_replaced = name.startswith("session") or name in self.wants_replacement
        lease.until_s = lease.delivered_s = lease.granted_s
        lease.boot = self.world.boots
        lease.was_found = not life.is_settled
        self.leases[lease.lease_id] = lease
        earlier = self.grants.setdefault(server.pid, [])
        if life.is_settled:
            self._check_grant(lease, earlier)
        earlier.append(lease)
        self.granted += 1

    def _check_grant(self, lease: Lease, earlier: list[Lease]) -> None:
        server = lease.server
        self.check(all(one.ended for one in earlier), f"{lease.lease_id}: its server is another's still")
        twice = [one.lease_id for one in self.leases.values() if one.party == lease.party and not one.ended]
        self.check(twice == [lease.lease_id], f"{lease.party} asked once and got {twice}")
        highest = max((one.token for one in earlier), default=self.tokens_before)
        self.check(lease.token > highest, f"tokens must grow: {lease.token} after {highest}")
        if self.world.sim_s() - self.strangers_at_s < _JUST_NOW_S:
            return
        others = {
            connection.party
            for connection in self.world.machine.network.connections
            if connection.service is server and isinstance(connection.party, str)
        }
        self.check(not others, f"{lease.lease_id}: {others} still at its server")
        foreign = server.world.foreign()
        if self._replaces(lease):
            foreign = [what for what in foreign if not what.startswith("settings")]
        self.check(not foreign, f"{lease.lease_id} got a server with {foreign}")

    def _replaces(self, lease: Lease) -> bool:
        return any(one.party == lease.party and one is not lease for one in self.leases.values())

    def commanded(self, server: SimServer, who: object, name: str) -> None:
        """A command took effect."""
        if who == "stranger":
            self.strangers_at_s = self.world.sim_s()
        grants = self.grants.get(server.pid, [])
        if isinstance(who, str):
            self.fairness.commanded(server, who, name)
        if isinstance(who, str) and who != "stranger" and grants:
            had_it = any(lease.party == who for lease in grants)
            newest = grants[-1]
            self.check(
                not had_it or newest.party == who,
                f"{name} of {who} reached the server of {newest.lease_id}, which is {newest.party}'s",
            )

    # --- what clients know -------------------------------------------------------------------------

    def asks(self, sender: Sender, request: Request) -> None:
        if isinstance(request.body, Acquire) and request.body.replace:
            self.wants_replacement.add(sender.name)

    def was_told(self, name: str, asked: Acquire, granted: Granted) -> None:
        lease = self.leases.get(granted.lease_id)
        if lease is None:
            return  # granted by a daemon that was killed before it could be seen, and over by now
        self.check(lease.party == name, f"{granted.lease_id} is {lease.party}'s, and {name} was told of it")
        self.check(asked.map in (None, granted.map), f"{name} wanted {asked.map} and got {granted.map}")
        lease.until_s = max(lease.until_s, lease.granted_s + granted.ttl_s)
        lease.ttl_s = granted.ttl_s

    def renewed(self, lease_id: str, sent_s: float) -> None:
        if (lease := self.leases.get(lease_id)) is not None:
            lease.until_s = max(lease.until_s, sent_s + lease.ttl_s)

    def delivered(self, lease_id: str) -> None:
        """A renewal has arrived: from now on the lease may live for its time to live, and no longer."""
        if (lease := self.leases.get(lease_id)) is not None:
            lease.delivered_s = self.world.now_s()

    def died(self, name: str, *, is_known: bool) -> None:
        """Its process has ended: what it holds must end at once."""
        if is_known:
            self.dead.add(name)
            clock = self.world.clock
            clock.call_at(clock.now_s + _DEATH_SEEN_S, lambda: self._check_dead(name))

    def _check_dead(self, name: str) -> None:
        life = self.world.life
        if life is None or life.is_dead or not life.is_settled or life.broker is None:
            return
        if self.world.sim_s() - life.began_at_s >= _DEATH_SEEN_S:
            held = [one.lease_id for one in life.broker.leases() if program_of(one.holder) == name]
            self.check(not held, f"{name} is dead and holds {held}")

    def answered_a_stranger(self, reply: Reply) -> None:
        """What is no request of this protocol gets one clear answer."""
        self.garbage += 1
        is_clear = isinstance(reply.body, Refused) and reply.body.code == "bad-request"
        self.check(is_clear, f"garbage is answered with {reply.body}")

    def watched(self, believed: Picture, seen: Picture) -> None:
        """Who follows the notices knows what a snapshot shows."""
        self.check(believed == seen, f"a watcher believes {believed}, and there is {seen}")

    def reconfigured(self) -> None:
        self.fairness.reconfigured()

    def wants_to_leave(self, lease_id: str) -> None:
        if lease_id in self.leases:
            self.leases[lease_id].wants_to_leave = True

    def left(self, _name: str, _answer: ReplyBody) -> None:
        self.answered += 1

    # --- daemons -----------------------------------------------------------------------------------

    def killed(self, life: Life, *, journal_lost: bool) -> None:
        known = {} if life.broker is None else {one.lease_id: one for one in life.broker.leases()}
        leases = [lease for key, lease in self.leases.items() if key in known]
        self.kept = Kept(leases, self.world.sim_s(), life.is_stopping)
        self.journal_was_lost = journal_lost
        if journal_lost:  # what servers were set to may be what is missing
            self.fairness.synchronous_s.clear()

    def begins(self) -> None:
        """A daemon, which does not know what the one before was waiting for."""
        self.tokens_before = max((lease.token for lease in self.leases.values()), default=0)
        self.fairness.begins()
        self.starts.clear()
        self.lost_at_s.clear()

    def began(self, life: Life) -> None:
        """A daemon is there, and has looked at its slots."""
        kept, self.kept = self.kept, None
        if kept is not None and not self.journal_was_lost:
            known = {lease.lease_id for lease in life.broker.leases()} if life.broker else set()
            for lease in kept.leases:
                self.check(
                    lease.lease_id in known or kept.was_stopping or self._may_be_over(lease, life),
                    f"{lease.lease_id} was lost in a restart",
                )
                lease.ended |= lease.lease_id not in known  # as the killed one wrote, and could not tell
        if self.journal_was_lost:
            for lease in self.leases.values():
                lease.ended = True
            self.journal_was_lost = False
        for server in self.world.yard.servers.values():
            if server.how is not None or server.is_hung:
                self._expect_seen(server, life.began_at_s)
        self.look(life)

    def _may_be_over(self, lease: Lease, life: Life) -> bool:
        ended = lease.ended and not (lease.was_lost and lease.ended_in is life)
        if lease.party in self.dead or self.sessions.may_give_back(lease.party):
            return True
        gone = lease.server.how not in (None, LATER_DAEMON) or lease.server.is_hung
        late = self.world.now_s() >= lease.until_s
        return ended or lease.wants_to_leave or gone or late or self.meddled[lease.slot] > 0

    # --- what time brings ---------------------------------------------------------------------------

    def broke(self, server: SimServer) -> None:
        """It has ended or hangs: that must be seen in time."""
        self._expect_seen(server, server.fault_at_s)

    def _expect_seen(self, server: SimServer, since_s: float) -> None:
        self.world.clock.call_at(since_s + self._seen_within_s(server), lambda: self._check_seen(server))

    def _seen_within_s(self, server: SimServer) -> float:
        if server.how is not None:
            return _CRASH_SEEN_S
        probe = self.world.config.probe
        silent_s = probe.period_s + (probe.failures + 1) * probe.timeout_s
        return silent_s + (_LOOP_SEEN_S if server.pid in self.world.machine.busy else _HANG_SEEN_S)

    def _check_seen(self, server: SimServer) -> None:
        life = self.world.life
        if life is None or life.broker is None or life.is_dead:
            return  # `began` expects it of the next
        for_s = self.world.sim_s() - max(server.fault_at_s, life.began_at_s)
        if for_s < self._seen_within_s(server) - 1e-6:
            return
        up = [one for one in life.fleet.statuses() if one.pid == server.pid and one.state in _UP]
        what = "a crash" if server.how is not None else "a hang"
        self.check(not up, f"{what} is not seen for {for_s:.1f} s: {up}")

    def _check_times(self, life: Life, live: Iterable[LeaseStatus]) -> None:
        """That none lives for longer than it may, now and when it should have ended."""
        if not life.is_settled:
            return
        now_s = self.world.now_s()
        for lease in live:
            known = self.leases.get(lease.lease_id)
            if known is None:
                continue
            end_s = now_s + lease.expires_in_s
            if known.end_s != end_s and lease.expires_in_s > 0:
                known.end_s = end_s
                self._expect_end(known, lease.expires_in_s)
            if known.ttl_s and lease.expires_in_s > 0:
                latest_s = known.delivered_s + known.ttl_s + _LOOK_S
                if known.was_found or life.began_at_s > known.granted_sim_s:
                    latest_s += CLAIM_MAX_S  # promised by one daemon, and found by the next
                self.check(end_s <= latest_s, f"{lease.lease_id} lasts too long")

    def _expect_end(self, lease: Lease, in_s: float) -> None:
        self.world.clock.call_at(self.world.sim_s() + in_s + _LATE_MAX_S, lambda: self._check_end(lease))

    def _check_end(self, lease: Lease) -> None:
        life = self.world.life
        if life is None or life.broker is None or life.is_dead or not life.is_settled or lease.ended:
            return
        for status in life.broker.leases():
            if status.lease_id == lease.lease_id and status.expires_in_s == 0:
                late_s = self.world.now_s() - max(lease.end_s, self.jumped_s)
                self.check(late_s < _LATE_MAX_S - 1e-6, f"{lease.lease_id} outlives its time")

    def time_jumped(self) -> None:
        """The leases' clock, while timers stood still."""
        self.jumped_s = self.world.now_s()
        for lease in self.leases.values():
            if not lease.ended:
                self._expect_end(lease, 0.0)

    def at_the_end(self) -> None:
        """After everything has been told to end."""
        left = self.world.yard.running()
        self.check(not left, f"{len(left)} servers were left running")
        network = self.world.machine.network
        ports = [port for port, service in network.listeners.items() if isinstance(service, SimServer)]
        self.check(not ports, f"ports are left: {ports}")
        hosts = self.world.hosts.running()
        self.check(not hosts, f"{len(hosts)} env hosts were left running")
        self.check(not network.connections, f"connections are left: {len(network.connections)}")

    def check(self, holds: bool, otherwise: str) -> None:
        """Nothing is raised where the code under test could catch it."""
        if not holds and self.violation is None:
            self.violation = BrokenPromiseError(f"at {self.world.sim_s():.3f} s: {otherwise}")
            self.world.scope.cancel()

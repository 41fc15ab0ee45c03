"""Who gets which server when: promises 9 and 12, as the outside can tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from carlad.broker.holder import Peer
from carlad.broker.pending import Pending
from carlad.messages import Acquire, Notice
from carlad.runtime import NoAnswerError
from tests.simulation.server import MAPS, SimServer

if TYPE_CHECKING:
    from tests.simulation.life import Life
    from tests.simulation.oracle import Oracle
    from tests.simulation.world import World

_DECIDED_S = 0.5  # before a slot is asked: what the disk may take at worst
_IDLE_MAX_S = 5.0  # a free server, while somebody waits for one
_REPLACED_WITHIN_S = 3.0
_SEEN_MARGIN_S = 6.0  # for a probe to see what a server is set to
_QUIET_S = 10.0  # after a full disk, or another configuration
_SYNCHRONOUS_BY = "set_episode_settings"


@dataclass
class Waiting:
    """A request without an answer. `queued_s`: since when it is in the queue; None: a slot is reserved."""

    request_id: str
    user: str
    rank_s: float
    map: str | None
    arrived_s: float
    queued_s: float | None = None


@dataclass
class Choice:
    """What was so when a slot was asked for somebody."""

    at_s: float
    waiting: list[Waiting]


@dataclass
class Fairness:
    world: World
    oracle: Oracle
    waiting: dict[str, Waiting] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)  # of all requests, by program
    loads: dict[int, Choice] = field(default_factory=dict)  # by slot
    choices: dict[str, Choice] = field(default_factory=dict)  # by lease
    ready_s: dict[int, float] = field(
        default_factory=dict
    )  # slots that are READY, and nothing happened since
    replaced: set[str] = field(default_factory=set)
    synchronous_s: dict[tuple[int, str], float] = field(default_factory=dict)  # by pid and party
    doubtful_until_s: float = 0.0
    departed: set[int] = field(default_factory=set)  # slots that have left the fleet
    forgotten: set[str] = field(default_factory=set)  # leases of which no daemon knows settings any more

    # --- what is asked and told

    def begins(self) -> None:
        """A daemon, whose queue is empty. Of slots that have left it knows nothing."""
        leases = self.oracle.leases.values()
        self.forgotten |= {lease.lease_id for lease in leases if lease.slot in self.departed}
        for of_one_daemon in (self.waiting, self.ranks, self.loads, self.choices, self.ready_s):
            of_one_daemon.clear()

    def reconfigured(self) -> None:
        self.doubtful_until_s = self.world.sim_s() + 4 * _QUIET_S

    def disk_was_full(self) -> None:
        self.doubtful_until_s = max(self.doubtful_until_s, self.world.sim_s() + _QUIET_S)

    def asked(self, life: Life, request_id: str, body: Acquire, peer: Peer, pending: Pending) -> None:
        """The broker has taken it."""
        if life.broker is None or not life.broker.queued(request_id).position:
            return
        user, now_s = peer.user or body.holder.user, self.world.now_s()
        if request_id not in self.waiting:
            rank_s = now_s - body.priority * self.world.config.lease.head_start_s
            self.waiting[request_id] = Waiting(request_id, user, rank_s, body.map, self.world.sim_s())
            self.ranks[body.holder.program] = rank_s
        trio.lowlevel.spawn_system_task(self._until_answered, request_id, pending)
        self._expect_no_idle(life)

    async def _until_answered(self, request_id: str, pending: Pending) -> None:
        try:
            answer = await pending.wait()
        except NoAnswerError:
            answer = None
        if answer is not None:
            self.waiting.pop(request_id, None)

    def loading(self, slot: int) -> None:
        """The broker has a slot load a map for somebody."""
        self.loads[slot] = self._choice()

    def leasing(self, slot: int, lease_id: str) -> None:
        """The broker asks a slot to be leased."""
        self.choices[lease_id] = self.loads.pop(slot, None) or self._choice()

    def _choice(self) -> Choice:
        self._look()
        return Choice(self.world.sim_s(), [one for one in self.waiting.values() if one.queued_s is not None])

    def _look(self) -> None:
        life = self.world.life
        if life is None or life.broker is None or life.is_dead:
            return
        for one in self.waiting.values():
            if not life.broker.queued(one.request_id).position:
                one.queued_s = None
            elif one.queued_s is None:
                one.queued_s = self.world.sim_s()

    def heard(self, life: Life, notice: Notice) -> None:
        if self.waiting:
            self._look()
        slot = notice.slot
        if notice.event.startswith("slot.") and slot is not None:
            self.ready_s.pop(slot, None)
            if notice.event == "slot.left":
                self.departed.add(slot)
            elif notice.event == "slot.starting":
                self.departed.discard(slot)
            if notice.event == "slot.ready":
                self.ready_s[slot] = self.world.sim_s()
                self._expect_no_idle(life)
        elif notice.event == "lease.granted" and notice.lease_id is not None:
            self._check_grant(life, notice.lease_id)
        elif notice.event == "lease.lost" and notice.lease_id is not None:
            self._expect_replacement(life, notice.lease_id)
        elif notice.event in ("lease.replaced", "lease.given_up") and notice.lease_id is not None:
            self.replaced.add(notice.lease_id)
            successor_id = (notice.reason or "").removeprefix("by ")
            if notice.event == "lease.replaced" and self._is_furnished(life, successor_id):
                self._check_settings(notice.lease_id, successor_id)

    @property
    def _is_doubtful(self) -> bool:
        return self.world.disk_is_full or self.world.sim_s() < self.doubtful_until_s

    # --- 12: in order, within quotas, and no server idles while somebody waits for it

    def _check_grant(self, life: Life, lease_id: str) -> None:
        lease, choice = self.oracle.leases.get(lease_id), self.choices.pop(lease_id, None)
        if lease is None or choice is None or life.broker is None or self._is_doubtful or not life.is_settled:
            return
        if self._replaces(life, lease_id):
            return
        live = [one.holder.partition("@")[0] for one in life.broker.leases()]
        quota = self.world.config.lease.quota
        self.oracle.check(
            not quota or live.count(lease.user) <= quota, f"{lease.user} has {live.count(lease.user)} servers"
        )
        rank_s = self.ranks.get(lease.party)
        if rank_s is None or quota:
            return
        for other in choice.waiting:
            waited_s = choice.at_s - (other.queued_s or choice.at_s)
            if waited_s > _DECIDED_S and other.map in (None, *MAPS):
                self.oracle.check(
                    other.rank_s >= rank_s, f"{lease.party} got {lease_id} before {other.request_id}"
                )

    def _replaces(self, life: Life, lease_id: str) -> bool:
        """Another that was lost: it came before all others."""
        lease = life.broker._table.live().get(lease_id) if life.broker is not None else None
        return lease is not None and lease.replaces is not None

    def _is_furnished(self, life: Life, lease_id: str) -> bool:
        lease = life.broker._table.live().get(lease_id) if life.broker is not None else None
        return lease is not None and lease.acquire.furnish

    def _expect_no_idle(self, life: Life) -> None:
        clock = self.world.clock
        clock.call_at(clock.now_s + _IDLE_MAX_S, lambda: self._check_idle(life))

    def _check_idle(self, life: Life) -> None:
        if life is not self.world.life or life.is_dead or not life.is_settled or self._is_doubtful:
            return
        config, now_s = self.world.config, self.world.sim_s()
        if config.lease.quota or config.fleet.spares:
            return
        self._look()
        free = [slot for slot, at_s in self.ready_s.items() if now_s - at_s >= _IDLE_MAX_S - 1e-6]
        idle = [slot for slot in free if self._may_be_leased(life, slot)]
        for one in self.waiting.values():
            long_s = now_s - max(one.arrived_s, one.queued_s or now_s)
            if one.map in (None, *MAPS) and long_s >= _IDLE_MAX_S - 1e-6:
                self.oracle.check(
                    not idle, f"{one.request_id} waits for {long_s:.1f} s while slots {idle} idle"
                )

    def _may_be_leased(self, life: Life, slot: int) -> bool:
        status = self.world.status(slot)
        if status is None:
            return False
        server = self.world.yard_of(status.pid)
        is_well = server is not None and server.how is None and not server.is_hung
        return status.state == "READY" and not status.draining and is_well and not self.oracle.meddled[slot]

    # --- 9: a lost server is replaced by its like

    def commanded(self, server: SimServer, party: str, name: str) -> None:
        if name == _SYNCHRONOUS_BY:
            self.synchronous_s[server.pid, party] = self.world.sim_s()

    def _expect_replacement(self, life: Life, lease_id: str) -> None:
        """At once where a free server has the map."""
        lease = self.oracle.leases.get(lease_id)
        if lease is None or not lease.is_replaced or not life.is_settled or self._is_doubtful:
            return
        free = {slot: at_s for slot, at_s in self.ready_s.items() if self._may_be_leased(life, slot)}
        maps = {one.slot: one.map for one in life.fleet.statuses()}
        free = {slot: at_s for slot, at_s in free.items() if maps[slot] == lease.map}
        clock = self.world.clock
        clock.call_at(clock.now_s + _REPLACED_WITHIN_S, lambda: self._check_replaced(life, lease_id, free))

    def _check_replaced(self, life: Life, lease_id: str, free: dict[int, float]) -> None:
        if life is not self.world.life or life.is_dead or not life.is_settled or self._is_doubtful:
            return
        still = [slot for slot, at_s in free.items() if self.ready_s.get(slot) == at_s]
        still = [slot for slot in still if self._may_be_leased(life, slot)]
        is_replaced = lease_id in self.replaced or self.oracle.leases[lease_id].wants_to_leave
        self.oracle.check(is_replaced or not still, f"{lease_id} is lost, and not replaced by slots {still}")

    def _check_settings(self, lost_id: str, successor_id: str) -> None:
        """Those that a probe had the time to see."""
        lost, lease = self.oracle.leases.get(lost_id), self.oracle.leases.get(successor_id)
        if lost is None or lease is None or self._is_doubtful or lost_id in self.forgotten:
            return
        set_s = self.synchronous_s.get((lost.server.pid, lost.party))
        since_s = min(lost.server.well_until_s, self.world.sim_s()) - (set_s or 0.0)
        period_s = max(self.world.config.probe.period_s, self.world.traits.probe_s)
        was_seen = set_s is not None and since_s > period_s + _SEEN_MARGIN_S and not lost.server.was_slow
        server = lease.server
        takes_calls = server.how is None and not server.is_hung and not server.was_slow
        if was_seen and takes_calls and self.world.life is not None and self.world.life.is_settled:
            self.oracle.check(
                server.world.settings.synchronous_mode, f"{successor_id} has not the settings of {lost_id}"
            )

"""The event loop: two listening ports, their connections, and the clock of asynchronous mode."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from itertools import count

from carlad.standin.call_log import CallLog
from carlad.standin.caller import Caller
from carlad.standin.connection import READ, accept_all
from carlad.standin.faults import Faults
from carlad.standin.faults.deeds import Nuisance, crash
from carlad.standin.handlers import OFF_THE_GAME_THREAD
from carlad.standin.setup import Setup
from carlad.standin.simulation import Simulation
from carlad.standin.streams import Streams
from carlad.standin.towns import Town
from carlad.standin.traffic_managers import heal
from carlad.wire import CARLA_VERSION

log = logging.getLogger("carlad.standin")

# While a call waits for its client the loop spins, which costs least time: most need some ten microseconds.
# Who takes longer than so many rounds may lack the core and is waited for asleep: until a socket speaks, or
# in naps, which grow, where only looking tells.
SPINS = 50
NAP_S, NAP_MAX_S = 0.00005, 0.001
WATCH_S = 0.05  # how often faults and missing Traffic Manager steps are looked for
LOADING_BYTES_PER_S = 16e6  # that a slow load fills, as CARLA's fill more: so they are told from a hang


class Server:
    """Serves one simulation until `stop` is called. The sockets are bound, not yet listening."""

    def __init__(
        self,
        town: Town,
        calls: socket.socket,
        streams: socket.socket,
        setup: Setup | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._streams = Streams(streams.getsockname()[1], self._selector)
        setup = setup or Setup()
        self.call_log = CallLog(setup.call_log) if setup.call_log else None
        self.simulation = Simulation(town, self._streams, setup)
        self._faults = faults or Faults()
        self._callers: dict[int, Caller] = {}
        self._parked: dict[Caller, None] = {}  # in the order in which they began to wait
        self._stuck: dict[Caller, None] = {}  # those who have calls that a fault leaves unanswered
        self._loaded_s: float | None = None  # when the map is there that is being loaded
        self._loading: Nuisance | None = None
        self._identities = count(1)
        self._next_tick_s = 0.0
        self._spins = 0
        self._stopping = False
        self._listeners = (calls, streams)
        self._wake_up, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake_up.setblocking(False)
        self._selector.register(self._woken, READ, self._drain_wake_ups)

    def listen(self) -> None:
        """Open both ports. Raises OSError where another server has one of them."""
        calls, streams = self._listeners
        accept_all(streams, self._selector, self._streams.admit)
        accept_all(calls, self._selector, self._admit)
        self._faults.ready(time.monotonic())

    def run(self) -> None:
        """Serve until `stop`."""
        self._next_tick_s = time.monotonic()
        while not self._stopping:
            for key, events in self._selector.select(self._patience_s()):
                key.data(events)
            self._resume()
            self._keep_time()

    def stop(self) -> None:
        """End `run`; may be called by a signal handler."""
        self._stopping = True
        self._wake_up.send(b"\0")

    def close(self) -> None:
        for caller in tuple(self._callers.values()):
            caller.close()
        self._streams.close()
        if self.call_log is not None:
            self.call_log.close()
        for sock in (*self._listeners, self._wake_up, self._woken):
            sock.close()
        self._selector.close()

    # --- what callers tell ---------------------------------------------------------------------------

    def park(self, caller: Caller) -> None:
        """A call of this caller has to wait."""
        self._parked[caller] = None
        self._spins = 0

    def answered(self) -> None:
        """A call was answered: a map that it wanted is loaded now."""
        if self.simulation.episode_is_due and self._loaded_s is None:
            slow = self._faults.first("slow-load")
            self._loaded_s = time.monotonic() + (slow.amount if slow else 0.0)
            self._loading = Nuisance("slow-load", LOADING_BYTES_PER_S) if slow else None
            self._load_if_due()

    def caller_gone(self, caller: Caller) -> None:
        self._callers.pop(caller.identity, None)
        self.simulation.traffic_managers.remove_owner(caller.identity)
        self._parked.pop(caller, None)
        self._stuck.pop(caller, None)

    def holds_back(self, caller: Caller, call: str) -> bool:
        """Whether a fault forbids to answer this call as long as it lasts; a crash does not return."""
        if not self._faults.watched:
            return False
        if call == "load_new_episode" and "crash-on-load" in self._faults:
            crash()
        if call in OFF_THE_GAME_THREAD or not (self._game_hangs() or self._tick_is_stuck(call)):
            return False
        self._stuck[caller] = None
        return True

    # --- the loop's parts ----------------------------------------------------------------------------

    def _admit(self, sock: socket.socket, host: str) -> None:
        identity = next(self._identities)
        self._callers[identity] = Caller(sock, self._selector, host, self, identity)

    def _patience_s(self) -> float | None:
        """How long the loop may wait for a socket."""
        if self._parked:
            asleep_s = self._calm_s() if self._spins > SPINS else 0.0
            return min(asleep_s, WATCH_S) if asleep_s >= NAP_MAX_S else 0.0
        if self.simulation.stands_still(time.monotonic()):
            return WATCH_S
        if not self.simulation.settings.synchronous_mode:
            return max(0.0, self._next_tick_s - time.monotonic())
        return WATCH_S if self.simulation.traffic_managers or self._faults.watched else None

    def _resume(self) -> None:
        if not self._parked:
            return
        for caller in tuple(self._parked):
            if caller.resume():
                self._parked.pop(caller, None)
        self._spins += 1
        if self._spins > SPINS and self._parked and self._calm_s() < NAP_MAX_S:
            time.sleep(min(NAP_S * self._spins / SPINS, NAP_MAX_S))

    def _calm_s(self) -> float:
        """For how long nothing but a socket can end the wait of a parked call."""
        return min(caller.patience_s for caller in self._parked)

    def _keep_time(self) -> None:
        if self._faults.watched:
            self._misbehave()
        now_s = time.monotonic()
        if self.simulation.stands_still(now_s):
            return
        if self.simulation.tell_of_map_change():
            self._next_tick_s = now_s + self.simulation.delta_s
        if self.simulation.settings.synchronous_mode:
            if self.simulation.traffic_managers:
                self._heal()
            # Leaving synchronous mode starts the clock anew: no frame is overdue.
            self._next_tick_s = float("-inf")
            return
        if self._next_tick_s == float("-inf"):
            self._next_tick_s = now_s + self.simulation.delta_s
        if now_s >= self._next_tick_s:
            if not self._game_hangs():
                self.simulation.tick()
            self._next_tick_s = max(self._next_tick_s + self.simulation.delta_s, now_s)

    def _heal(self) -> None:
        now_s = time.monotonic()
        for caller in self._callers.values():
            ports = self.simulation.traffic_managers.ports_of(caller.identity)
            if ports and caller.step.hangs(now_s):
                log.warning("a Traffic Manager missed its wake-up: waking it")
                heal(caller.peer_host, ports)

    def _drain_wake_ups(self, _events: int) -> None:
        self._woken.recv(4096)

    # --- faults on demand ----------------------------------------------------------------------------

    def _misbehave(self) -> None:
        now_s, frame = time.monotonic(), self.simulation.frame
        self._faults.look(now_s, frame)
        self._load_if_due()
        version = self._faults.first("wrong-version")
        self.simulation.version = version.text if version else CARLA_VERSION
        self._streams.muted = self._faults.due("mute-streams-after", now_s, frame)
        if self._faults.strikes("drop-streams-after", now_s, frame):
            self._streams.drop()
        if self._stuck and not self._game_hangs():
            self._release()

    def _load_if_due(self) -> None:
        """Begin the episode that was asked for, once its map is there."""
        if self._loaded_s is not None and time.monotonic() >= self._loaded_s:
            self._loaded_s = None
            if self._loading is not None:
                self._loading.stop()
            self.simulation.begin_episode()

    def _game_hangs(self) -> bool:
        if not self._faults.watched:
            return False
        loads = self._loaded_s is not None
        return loads or self._faults.due("hang-game-after", time.monotonic(), self.simulation.frame)

    def _tick_is_stuck(self, call: str) -> bool:
        return (
            call == "tick_cue"
            and self.simulation.settings.synchronous_mode
            and self._faults.due("stuck-tick-after", time.monotonic(), self.simulation.frame)
        )

    def _release(self) -> None:
        """Have the calls answered that a fault held back; some may be held back again."""
        stuck, self._stuck = self._stuck, {}
        for caller in stuck:
            caller.release()

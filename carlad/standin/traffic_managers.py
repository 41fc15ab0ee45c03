"""The registry of Traffic Managers, and what keeps their clients from hanging.

A Traffic Manager runs in a thread of the client's process. In synchronous mode that thread answers each
tick with `apply_batch`, asks `get_episode_settings` once more and only then goes to sleep until the next
tick. The client of 0.9.16 wakes it without holding the lock: a tick that returns between the thread's check
and its sleep is lost, and `world.tick()` hangs for ever. A server as fast as this one meets that window.

* `Step.settled` is the guard: a tick waits until the thread has asked and had time to fall asleep. Where the
  client's process can be seen `Threads` tells whether it has: one that was suspended on its way, as on a
  loaded machine, takes longer than any time that could be chosen.
* `heal` is the cure for what slips through: the Traffic Manager's own port takes calls, and
  `set_synchronous_mode` notifies the sleeping thread. A thread that only was slow takes one step too many
  then, and is a step ahead from there on; so only who says nothing at all for long is healed, and a tick
  waits for the step of the one before. In asynchronous mode it is never silent.

The end of a step is signalled in the same careless way. There the main thread would have to be suspended
between its check and its sleep for a whole step of the other; from here it would look as if the program did
not want to tick, and nothing is done about it.

In asynchronous mode the thread runs freely and begins each step with `get_episode_settings`. A client that
loads a map drops its episode and makes the new one only when `get_episode_info` has told it about that; its
Traffic Manager reads the episode without looking, and the process ends by SIGSEGV. A `LoadGuard` has the
thread wait for an answer meanwhile.
"""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import dataclass, field

import msgpack
import msgspec

from carlad.standin import peers
from carlad.wire.msgpackrpc import Request

log = logging.getLogger("carlad.standin")

GUARD_S = 0.01  # a thread that has not asked by then will not
GRACE_S = 0.0003  # from its question to its sleep; longer ones were measured to help no further
OVERDUE_S = 1.0  # a step follows its tick within milliseconds, but on a loaded machine
STEPS_MIN = 20  # a tick waits only for who has been seen to follow ticks with steps
AWAKE_MAX_S = 0.25  # a tick waits no longer for a thread that is seen to be awake, ...
IN_VAIN_MAX = 3  # ... and so many in a row
FREE_S = 0.05  # who asked for the settings so shortly ago may run freely
CATCH_S = 0.5  # a free thread asks within one step
LOAD_S = 5.0  # a client has its new episode by then, or will not
_HEAL_TIMEOUT_S = 30.0  # half a heal would be worse than none: the client may be short of CPU time


@dataclass
class Step:
    """How far one connection's Traffic Manager is with the step that follows a tick."""

    steps: int = 0
    _owed: bool = False  # the step of the last tick has not come yet
    _asked_s: float = 0.0  # when it last asked for the settings
    _pending: bool = False  # it has sent its batch, but has not asked for the settings yet
    _overdue_s: float = field(default=float("inf"))  # when the step of the last tick should have come

    def saw(self, call: str, now_s: float) -> None:
        """Note a call that came over this connection."""
        if call == "apply_batch":
            self.steps += 1
            self._owed, self._pending = False, True
            self._overdue_s = float("inf")
        elif call == "get_episode_settings":
            self._pending = False
            self._asked_s = now_s
        if self._overdue_s < float("inf"):
            self._overdue_s = now_s + OVERDUE_S  # it is at work, or runs freely

    def ticked(self, now_s: float) -> None:
        """A tick was answered: the step has to follow."""
        self._owed = self.steps >= STEPS_MIN
        self._overdue_s = now_s + OVERDUE_S

    def settled(self, now_s: float, asked_s: float) -> bool:
        """Whether the tick that was asked for at `asked_s` may be carried out."""
        if self._owed:
            if now_s < asked_s + OVERDUE_S:
                return False
            self._owed, self._overdue_s = False, float("inf")
            self.steps = STEPS_MIN - 1  # it does not follow ticks any more, unless a step shows that it does
        if self._pending:
            return now_s > asked_s + GUARD_S
        return now_s > self._asked_s + GRACE_S

    def patience_s(self, now_s: float, asked_s: float) -> float:
        """For how long nothing but a call over this connection can settle the tick that was asked for."""
        if self._owed:
            return asked_s + OVERDUE_S - now_s
        return asked_s + GUARD_S - now_s if self._pending else 0.0

    def runs_freely(self, now_s: float) -> bool:
        """Whether it may be in asynchronous mode, where it asks all the time."""
        return now_s < self._asked_s + FREE_S

    def hangs(self, now_s: float) -> bool:
        """Whether the step is missing; says so again until it comes.

        A thread that was suspended just before its sleep misses the first heal as it missed the wake-up.
        """
        if now_s < self._overdue_s:
            return False
        self._overdue_s = now_s + OVERDUE_S
        return True


class Threads:
    """Those of one client's Traffic Managers, as far as they can be seen: they begin between its question
    whether a port is taken and the registration of that port.
    """

    def __init__(self) -> None:
        self._process: int | None = None
        self._before: frozenset[int] = frozenset()
        self._threads: frozenset[int] = frozenset()
        self._in_vain = 0  # ticks in a row that waited for them

    def port_asked(self, client: peers.Address, server: peers.Address) -> None:
        """The two ends of its connection: its process is looked for once, which takes milliseconds."""
        self._process = self._process or peers.process_of(client, server)
        self._before = peers.threads_of(self._process) if self._process else frozenset()

    def registered(self) -> None:
        if self._process and self._before:
            self._threads |= peers.threads_of(self._process) - self._before

    def hold_up(self, waited_s: float) -> bool:
        """Whether a tick that has waited for so long waits on: one of them is awake."""
        if self._process is None or peers.are_asleep(self._process, self._threads):
            self._in_vain = 0
            return False
        if waited_s < AWAKE_MAX_S:
            return True
        self._in_vain += 1
        if self._in_vain == IN_VAIN_MAX:  # it computes all the time, and so is none of them
            self._threads = frozenset()
        return False


class LoadGuard:
    """Leaves one client's questions for the settings unanswered from its load of a map until it has the new
    episode: then it asks for the observer's token.
    """

    def __init__(self) -> None:
        self.active = False
        self._caught: list[Request] = []
        self._began_s = 0.0

    def begin(self, now_s: float) -> None:
        self.active, self._began_s = True, now_s

    def is_settled(self, now_s: float) -> bool:
        """Whether the load may be answered: the thread waits, or is not expected to ask."""
        return not self.active or bool(self._caught) or now_s > self._began_s + CATCH_S

    def catches(self, request: Request, now_s: float) -> bool:
        """Whether `request` stays unanswered; where it ends the guard, `released` has to be served next."""
        if request.name == "get_sensor_token" or now_s > self._began_s + LOAD_S:
            self.active = False
        elif request.name == "get_episode_settings":
            self._caught.append(request)
            return True
        return False

    def released(self) -> list[Request]:
        """What was caught and may be answered now, the latest first."""
        if self.active:
            return []
        caught, self._caught = self._caught[::-1], []
        return caught


class TrafficManagers:
    """Who has registered a Traffic Manager, by its port. `owner` is the connection's identity.

    A client advertises an address that it finds by a route to 1.0.0.127 (it means 127.0.0.1, and forgets
    htonl). Where there is no such route, in a container without a network or on a machine that is offline,
    it registers ("", 0). Its port is then the one that it has just asked about, as it always does before.
    """

    def __init__(self) -> None:
        self._managers: dict[int, tuple[str, int]] = {}  # port: advertised host, owner
        self._asked: dict[int, int] = {}  # by owner: the port that it asked about last

    def __bool__(self) -> bool:
        return bool(self._managers)

    def is_running(self, port: int, owner: int) -> bool:
        """Whether somebody has this port; `owner` asks, and may be about to register it."""
        self._asked[owner] = port
        return port in self._managers

    def add(self, port: int, host: str, owner: int) -> bool:
        """False where the port is taken already. Port 0 stands for the one that was asked about."""
        port = port or self._asked.get(owner, 0)
        if port in self._managers:
            return False
        self._managers[port] = (host, owner)
        return True

    def host(self, port: int) -> str | None:
        """The address that the Traffic Manager of this port gave, or None."""
        return self._managers[port][0] if port in self._managers else None

    def remove(self, port: int) -> None:
        self._managers.pop(port, None)

    def remove_owner(self, owner: int) -> None:
        """A connection has gone, and its Traffic Managers with it."""
        self._asked.pop(owner, None)
        for port in self.ports_of(owner):
            self.remove(port)

    def ports_of(self, owner: int) -> list[int]:
        return [port for port, (_host, whose) in self._managers.items() if whose == owner]


def heal(host: str, ports: list[int]) -> None:
    """Wake the Traffic Managers at `host`, in the background: the server must go on meanwhile.

    Nothing is done where the last attempt for them has not been answered yet.
    """
    name = f"heal {host} {ports}"
    if all(thread.name != name for thread in threading.enumerate()):
        threading.Thread(target=_heal, args=(host, ports), name=name, daemon=True).start()


def _heal(host: str, ports: list[int]) -> None:
    for port in ports:
        _wake(host, port)


def _wake(host: str, port: int) -> None:
    try:
        _leave_and_enter_synchronous_mode(host, port)
    except OSError as error:
        log.warning("the Traffic Manager at %s:%d cannot be reached: %s", host, port, error)


def _leave_and_enter_synchronous_mode(host: str, port: int) -> None:
    with socket.create_connection((host, port), _HEAL_TIMEOUT_S) as sock:
        calls = [(0, msgid, "set_synchronous_mode", (msgid == 1,)) for msgid in (0, 1)]
        sock.sendall(b"".join(map(msgspec.msgpack.encode, calls)))
        answers, unpacker = 0, msgpack.Unpacker()
        while answers < len(calls) and (data := sock.recv(4096)):
            unpacker.feed(data)
            answers += sum(1 for _ in unpacker)

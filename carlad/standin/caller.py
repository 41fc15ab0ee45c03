"""One client's connection for calls: requests in, answers out, in order.

A call that has to wait (a tick, for its readers) parks the connection until the event loop resumes it. Its
generator yields for how many seconds nothing but a socket can end the wait, 0 where only looking tells. Some
calls may overtake it: the question for the settings a parked tick, and all that need not wait themselves a
parked load, because traffic_managers.py waits for what a Traffic Manager's thread says meanwhile.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from carlad.standin.connection import Connection
from carlad.standin.dispatch import failed, invoke, succeeded
from carlad.standin.traffic_managers import LoadGuard, Step, Threads
from carlad.wire.errors import WireError
from carlad.wire.msgpackrpc import Request, RequestReader

if TYPE_CHECKING:
    from carlad.standin.server import Server

log = logging.getLogger("carlad.standin")

# A client that sends requests and never reads the answers is cut off here.
ANSWERS_BYTES_MAX = 256 << 20
REQUESTS_MAX = 100_000


class Caller(Connection):
    """`identity` is unique among all callers ever."""

    def __init__(
        self, sock: socket.socket, selector: selectors.BaseSelector, host: str, server: Server, identity: int
    ) -> None:
        super().__init__(sock, selector)
        self.identity = identity
        self.peer_host = host
        self.step = Step()
        self._threads = Threads()
        self._guard = LoadGuard()
        self._server = server
        self._reader = RequestReader()
        self._requests: deque[Request] = deque()
        self._held: list[Request] = []  # that a fault leaves unanswered for now
        self._parked: tuple[Request, Generator[float, None, Any]] | None = None
        self.patience_s = 0.0  # of the parked call: until then only a socket can end its wait
        self._may_be_overtaken = False

    def received(self, data: bytes) -> None:
        try:
            requests = self._reader.receive(data)
        except WireError as error:
            log.warning("a client sent garbage and is cut off: %s", error)
            self.close()
            return
        self._requests.extend(requests)
        if len(self._requests) + len(self._held) > REQUESTS_MAX:
            log.warning("a client sent %d requests without waiting and is cut off", len(self._requests))
            self.close()
            return
        self._serve_or_park()

    def release(self) -> None:
        """Serve what was held back, in its order and before what came later."""
        held, self._held = self._held, []
        self._requests.extendleft(reversed(held))
        self._serve_or_park()

    def resume(self) -> bool:
        """Go on with the parked call and those behind it; False while one has to wait."""
        self._go_on()
        self._serve()
        return self._parked is None

    def step_settled(self) -> Iterator[float]:
        """Wait until this client's Traffic Manager thread sleeps, where it has one."""
        asked_s = time.monotonic()
        self._may_be_overtaken = True
        while self._drives_traffic() and not self.step.settled(now_s := time.monotonic(), asked_s):
            yield self.step.patience_s(now_s, asked_s)
        while self._drives_traffic() and self._threads.hold_up(time.monotonic() - asked_s):
            yield 0.0
        self._may_be_overtaken = False

    def port_asked(self) -> None:
        """This client is about to begin a Traffic Manager, or to look for another's."""
        with suppress(OSError):  # it has gone again
            self._threads.port_asked(self.sock.getpeername(), self.sock.getsockname())

    def registered(self) -> None:
        """It has begun one."""
        self._threads.registered()

    def traffic_caught(self) -> Iterator[float]:
        """Wait until this client's Traffic Manager thread waits for an answer, where it runs freely."""
        now_s, synchronous = time.monotonic(), self._server.simulation.settings.synchronous_mode
        if self._drives_traffic() and (not synchronous or self.step.runs_freely(now_s)):
            self._guard.begin(now_s)
        while not self._guard.is_settled(time.monotonic()):
            yield 0.0

    def ticked(self) -> None:
        """A tick of this client was carried out and is about to be answered."""
        if self._drives_traffic():
            self.step.ticked(time.monotonic())

    def closed(self) -> None:
        self._server.caller_gone(self)

    def _drives_traffic(self) -> bool:
        return bool(self._server.simulation.traffic_managers.ports_of(self.identity))

    def _serve_or_park(self) -> None:
        self._serve()
        if self._parked is not None:
            self._server.park(self)

    def _serve(self) -> None:
        while self._requests and self.open and (self._parked is None or self._overtakes(self._requests[0])):
            if not self._begin(self._requests.popleft()):
                return

    def _overtakes(self, request: Request) -> bool:
        return self._guard.active or (self._may_be_overtaken and request.name == "get_episode_settings")

    def _begin(self, request: Request) -> bool:
        """Carry a call out; False where it has to wait until the parked one is answered."""
        if self._server.holds_back(self, request.name):
            self._held.append(request)
            return True
        if self._guard.active:
            if self._guard.catches(request, time.monotonic()):
                return True
            self._requests.extendleft(self._guard.released())
        if self._server.simulation.traffic_managers:
            self.step.saw(request.name, time.monotonic())
        if self._server.call_log is not None:
            self._server.call_log.write(self.sock, request)
        try:
            result = invoke(self._server.simulation, self, request)
        except Exception as error:
            self._answer(request, failed(request, error))
            return True
        if not isinstance(result, GeneratorType):
            self._answer(request, succeeded(request, result))
        elif self._parked is None:
            self._parked = request, result
            self._go_on()
        else:
            self._requests.appendleft(request)  # its generator has not begun
            return False
        return True

    def _go_on(self) -> None:
        assert self._parked is not None
        request, steps = self._parked
        try:
            self.patience_s = next(steps)
        except StopIteration as finished:
            answer = succeeded(request, finished.value)
        except Exception as error:
            answer = failed(request, error)
        else:
            return
        self._parked = None
        self._answer(request, answer)

    def _answer(self, request: Request, answer: bytes) -> None:
        if request.msgid is not None:
            self.send(answer)
        self._server.answered()
        if len(self.queue) > ANSWERS_BYTES_MAX:
            log.warning("a client does not read its answers and is cut off")
            self.close()

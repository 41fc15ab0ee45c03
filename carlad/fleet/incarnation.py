"""One run of a slot, from a block of ports until the last of its processes has gone: process, probes and
the watch over its resources live and die together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from carlad.errors import ServerError
from carlad.fleet import logs
from carlad.fleet.autopsy import Cause, Verdict, autopsy
from carlad.fleet.backends.interface import Found, Server
from carlad.fleet.course import Course
from carlad.fleet.lifecycle import State
from carlad.fleet.liveness import HungError
from carlad.fleet.ports import LOOPBACK, Ports
from carlad.fleet.probe import UnfitError
from carlad.fleet.records import run_name
from carlad.fleet.resources import watch_usage
from carlad.fleet.situation import Situation
from carlad.fleet.upkeep import Upkeep
from carlad.journal import JournalError

# A crash closes connections before its shim can report it, and is the better reason.
_CRASH_SPEAKS_FIRST_S = 0.3
_WORDS_KEPT = 5  # lines of a lost server's output, for its status


class Incarnation:
    """`upkeep` is there as soon as it is known where the server is to be."""

    def __init__(
        self,
        situation: Situation,
        now_s: float,
        *,
        found: Found | None = None,
        was_ready: bool = False,
    ) -> None:
        """`found`: a server of an earlier daemon, to be taken back."""
        self.course = Course(situation, now_s, was_ready=was_ready)
        self.upkeep: Upkeep | None = None
        self._situation = situation
        self._found = found
        self._server: Server | None = None

    def tree(self) -> tuple[int, ...]:
        """The processes of its server."""
        return self._server.tree() if self._server is not None else ()

    async def run(self) -> None:
        """Once. Returns when nothing of it is left, for whatever reason it ended."""
        course = self.course
        try:
            with course.scope, self._a_block_of_ports() as ports:
                upkeep = Upkeep(self._situation, course, ports, self.tree)
                self.upkeep = upkeep
                course.end_if_unwanted()  # as one that was taken back may be
                async with self._running(ports) as self._server:
                    await self._live(self._server, upkeep, ports)
        except ServerError as error:
            course.fail(str(error))
        finally:
            course.end("the slot stops", failed=False)  # only where nothing else ended it
            nowhere = dict.fromkeys(("pid", "rpc_port", "streaming_port", "traffic_manager_port", "map"))
            self._situation.change(**nowhere)

    @contextmanager
    def _a_block_of_ports(self) -> Iterator[Ports]:
        """Another one than before, or where a server that was taken back listens."""
        situation = self._situation
        backend, before = situation.plan.backend, situation.ports
        if self._found is None or before is None:
            place = backend.place(before, situation.number)
        else:
            place = backend.place_again(before)
        with place as ports:
            situation.ports = ports
            situation.change(
                host=situation.plan.host if ports.host == LOOPBACK else ports.host,
                rpc_port=ports.rpc,
                streaming_port=ports.streaming,
                traffic_manager_port=ports.traffic_manager,
            )
            yield ports

    @asynccontextmanager
    async def _running(self, ports: Ports) -> AsyncIterator[Server]:
        """One that was taken back, or one that is started once the journal knows where."""
        situation, plan = self._situation, self._situation.plan
        folder = plan.runs / run_name(situation.number, situation.status.incarnation)
        if self._found is not None:
            async with plan.backend.adopted(self._found, ports, folder, plan.hurry) as server:
                yield server
            return
        try:
            await situation.keep_ports(ports)
        except JournalError as error:
            raise ServerError(f"cannot start a server: {error}") from error
        async with plan.backend.running(ports, folder, situation.log_path, plan.hurry) as server:
            situation.change(pid=server.pid)
            yield server

    async def _live(self, server: Server, upkeep: Upkeep, ports: Ports) -> None:
        """Watches process and answers side by side; each ends the incarnation, and so both."""
        period_s = self._situation.plan.recycle.period_s
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_process, server, ports)
                nursery.start_soon(self._watch_answers, server, upkeep)
                nursery.start_soon(watch_usage, server.tree, period_s, self.course.weigh)
        finally:
            self.course.end("the slot stops", failed=False)

    async def _watch_answers(self, server: Server, upkeep: Upkeep) -> None:
        try:
            await upkeep.run(server.listener)
        except UnfitError as error:
            self.course.quarantine(str(error), Cause.UNFIT)
        except ServerError as error:
            await trio.sleep(_CRASH_SPEAKS_FIRST_S)
            cause = Cause.HUNG if isinstance(error, HungError) else Cause.UNFIT
            self.course.end(str(error), failed=True, cause=cause)

    async def _watch_process(self, server: Server, ports: Ports) -> None:
        how = await server.ended()
        words = await trio.to_thread.run_sync(logs.last_words, self._situation.log_path)
        verdict = autopsy(how, words, out_of_memory=server.ran_out_of_memory())
        if self._situation.state is State.STARTING:
            how = f"{how} while it started"
            verdict = await _stranger(server, ports) or verdict
        last_words = words[-_WORDS_KEPT:]
        self.course.end(f"{how}: {verdict}", failed=True, cause=verdict.cause, last_words=last_words)


async def _stranger(server: Server, ports: Ports) -> Verdict | None:
    """CARLA does not always say that a port is in use: it crashes (carla-simulator/carla issue 3062)."""
    try:
        await trio.to_thread.run_sync(server.listener, ports)
    except ServerError as stranger:
        return Verdict(Cause.PORT_IN_USE, str(stranger))
    return None

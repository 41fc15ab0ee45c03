"""One server from its start to its end, as a fleet would have it, with a watch in hand."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import trio

import carlad
from carlad.checkup.interview import interview
from carlad.checkup.report import Measure, Report, proposals
from carlad.checkup.transcript import Recorder, Transcript
from carlad.config import PORTS_PER_SLOT, Config
from carlad.errors import ServerError
from carlad.fleet import logs, probe
from carlad.fleet.backends.choice import choose, for_servers
from carlad.fleet.backends.interface import Backend, Launcher, Server
from carlad.fleet.gpu.cards import Cards, NoCardsError
from carlad.fleet.gpu.placement import renders_on
from carlad.fleet.liveness import Ignored, stay_alive
from carlad.fleet.ports import PortRegistry, Ports, can_bind
from carlad.fleet.probe import Checked
from carlad.fleet.processes import name_of
from carlad.fleet.reach import Reach
from carlad.fleet.scrub import baseline_of, scrub
from carlad.fleet.visitors import Visitors
from carlad.rpc import RpcClient, connect, observe_world
from carlad.wire import types as t
from carlad.wire.errors import CallError

Say = Callable[[str], None]

# A crash closes connections before its shim can report it, and is the better reason.
_CRASH_SPEAKS_FIRST_S = 0.5
_COUNTS_S = 2.0  # ticks are counted for so long
_TICKS_MAX = 200
_ANSWERS_MAX_S = 120.0  # all questions together


async def check_up(
    config: Config, environ: Mapping[str, str], say: Say, launch: Launcher | None = None
) -> tuple[Report, Transcript]:
    """`say` is told what is done now; `launch` replaces the configured backend. Nothing is left running.

    Raises ConfigError where nothing can be started.
    """
    with tempfile.TemporaryDirectory(prefix="carlad-doctor-") as folder:
        registry = PortRegistry(*config.fleet.ports)
        # A carlad that starts beside us takes blocks from the beginning, and binds them a moment later.
        registry.go_on_after(config.fleet.ports[1] - 2 * PORTS_PER_SLOT)
        backend = choose(config, environ, registry, folder, launch)
        checkup = Checkup(config, backend, Cards(for_servers(environ)), Path(folder), say)
        await checkup.run()
        return checkup.report(), checkup.transcript()


class Checkup:
    def __init__(self, config: Config, backend: Backend, cards: Cards, folder: Path, say: Say) -> None:
        self._config = config
        self._backend = backend
        self._cards = cards
        self._card: str | None = None
        self._folder = folder
        self._log = folder / "server.log"
        self._say = say
        self._recorder = Recorder()
        self._measures: list[Measure] = []
        self._differences: list[str] = []
        self._failures: list[str] = []
        self._seen: set[int] = set()  # pids of the server, at any time
        self._server = f'backend "{config.fleet.backend}"'

    def report(self) -> Report:
        measures = tuple(self._measures)
        return Report(
            server=self._server,
            card=self._card,
            measures=measures,
            differences=tuple(dict.fromkeys(self._differences)),
            failures=tuple(self._failures),
            proposals=proposals(self._config, measures, psutil.virtual_memory().available),
        )

    def transcript(self) -> Transcript:
        return self._recorder.transcript(carlad.__version__, self._server)

    async def run(self) -> None:
        """From start to end. What the server does wrong is in the report, not raised."""
        began_s = ended_s = trio.current_time()
        try:
            with self._backend.place(None) as ports:
                self._say(f"starts a server on port {ports.rpc}")
                running = self._backend.running(ports, self._folder / "run", self._log, trio.Event())
                async with running as server:
                    with trio.CancelScope() as life:
                        await self._while_it_lives(server, ports, began_s, life)
                    self._say("ends it")
                    ended_s = trio.current_time()
                self._measure("gone after", trio.current_time() - ended_s, "s")
                self._check_that_nothing_is_left(ports)
        except ServerError as error:
            self._failures.append(str(error))

    async def _while_it_lives(
        self, server: Server, ports: Ports, began_s: float, life: trio.CancelScope
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_its_end, server, life)
            try:
                await self._examine(server, ports, began_s)
            except ServerError as error:
                await trio.sleep(_CRASH_SPEAKS_FIRST_S)
                self._failures.append(str(error))
            nursery.cancel_scope.cancel()

    async def _watch_for_its_end(self, server: Server, life: trio.CancelScope) -> None:
        how = await server.ended()
        last_words = " ".join(logs.tail(self._log, 1))[:200]
        self._failures.append(f"the server {how}; its log ends: {last_words}")
        life.cancel()

    async def _examine(self, server: Server, ports: Ports, began_s: float) -> None:
        checked = await probe.check_start(Reach(ports), server.listener, "", self._config.probe)
        self._measure("ready after", trio.current_time() - began_s, "s")
        self._look_at_processes(server)
        self._server += f" on {name_of(checked.pid)}" if checked.pid else ""
        self._say("asks it everything")
        with trio.move_on_after(_ANSWERS_MAX_S) as patience:
            self._differences += await interview(ports, self._recorder)
        if patience.cancelled_caught:
            raise ServerError(f"it has not answered all questions after {_ANSWERS_MAX_S:g} s")
        await self._count_ticks(ports)
        await self._load_maps(ports, checked)
        await self._scrub(server, ports, checked)
        self._look_at_processes(server)
        await self._look_at_cards(server)
        await self._hang(server, ports, checked)

    def _measure(self, name: str, value: float, unit: str = "") -> None:
        self._measures = [one for one in self._measures if one.name != name]
        self._measures.append(Measure(name, round(value, 3), unit))

    def _look_at_processes(self, server: Server) -> None:
        """Of the server's whole tree; the latest look counts, which is the largest as a rule."""
        processes = [psutil.Process(pid) for pid in server.tree() if psutil.pid_exists(pid)]
        if not processes:  # somebody else's
            return
        self._seen.update(process.pid for process in processes)
        self._measure("processes", len(processes))
        self._measure("threads", sum(process.num_threads() for process in processes))
        self._measure("memory", sum(process.memory_info().rss for process in processes), "bytes")

    async def _look_at_cards(self, server: Server) -> None:
        """Where it draws, if it does and NVML can see it."""
        self._say("looks for it on the graphics cards")
        pids = frozenset(server.tree())
        with suppress(NoCardsError):
            if (card := renders_on(await self._cards.devices(), pids, least_bytes=1)) is not None:
                self._card = f"{card.index}, {card.name} at {card.pci}"
                self._measure("GPU memory", card.used_by(pids), "bytes")

    async def _count_ticks(self, ports: Ports) -> None:
        self._say("counts its ticks")
        async with observe_world(ports.host, ports.streaming) as world:
            first, since_s = await world.snapshot(), trio.current_time()
            last = first
            while trio.current_time() - since_s < _COUNTS_S:
                last = await world.snapshot()
            frames = last.frame - first.frame
        self._measure("asynchronous ticks", frames / (trio.current_time() - since_s), "Hz")
        async with _synchronous(ports) as rpc:
            count, since_s = 0, trio.current_time()
            while count < _TICKS_MAX and trio.current_time() - since_s < _COUNTS_S:
                await rpc.call("tick_cue")
                count += 1
            self._measure("synchronous ticks", count / (trio.current_time() - since_s), "Hz")

    async def _load_maps(self, ports: Ports, checked: Checked) -> None:
        others = sorted(checked.maps - {checked.map})
        for name in (*others[:1], checked.map):
            self._say(f"loads {name}")
            since_s = trio.current_time()
            await probe.load_map(Reach(ports), name, self._config.probe.load_max_s)
            longest_s = max(trio.current_time() - since_s, self._measured("map load"))
            self._measure("map load", longest_s, "s")

    def _measured(self, name: str) -> float:
        return next((measure.value for measure in self._measures if measure.name == name), 0.0)

    async def _scrub(self, server: Server, ports: Ports, checked: Checked) -> None:
        self._say("scrubs it")
        reach = Reach(ports)
        baseline = await baseline_of(reach, checked.map)
        async with _synchronous(ports) as rpc:
            rain = msgspec.structs.replace(baseline.weather, precipitation=80.0)
            await rpc.calls(("set_weather_parameters", rain), ("tick_cue",))
        since_s = trio.current_time()
        await scrub(reach, Visitors(reach, server.tree), baseline, self._config.probe.load_max_s)
        self._measure("scrub", trio.current_time() - since_s, "s")

    async def _hang(self, server: Server, ports: Ports, checked: Checked) -> None:
        """The last thing: a stopped server does not come back."""
        if server.pid is None or checked.pid is None:
            return
        self._say("stops its process and waits until the probes see it")
        os.kill(checked.pid, signal.SIGSTOP)
        since_s = trio.current_time()
        try:
            await stay_alive(Reach(ports), server.tree, self._config.probe, Ignored())
        except ServerError:
            self._measure("hang seen after", trio.current_time() - since_s, "s")

    def _check_that_nothing_is_left(self, ports: Ports) -> None:
        left = [pid for pid in self._seen if psutil.pid_exists(pid)]
        if left:
            self._failures.append(f"processes {left} are still there after the server was ended")
        busy = [port for port in (ports.rpc, ports.streaming, ports.secondary) if not can_bind("", port)]
        if self._seen and busy:
            self._failures.append(f"ports {busy} are still taken after the server was ended")


@asynccontextmanager
async def _synchronous(ports: Ports) -> AsyncIterator[RpcClient]:
    """A world that stands still between ticks, until the end of the block. Raises ServerError."""
    try:
        async with connect(ports.host, ports.rpc) as rpc:
            before: t.EpisodeSettings = await rpc.call("get_episode_settings")
            still = msgspec.structs.replace(before, synchronous_mode=True, fixed_delta_seconds=(True, 0.05))
            await rpc.call("set_episode_settings", still)
            try:
                yield rpc
            finally:
                await rpc.call("set_episode_settings", before)
    except CallError as error:
        raise ServerError(f"it refuses to be synchronous: {error}") from error

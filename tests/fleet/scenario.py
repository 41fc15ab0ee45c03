"""A fleet on real processes and what a test may do with it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio

from carlad.config import (
    Config,
    DaemonSection,
    DockerSection,
    FleetSection,
    LogsSection,
    ProbeSection,
    RecycleSection,
    ResourcesSection,
    RestartSection,
)
from carlad.fleet.backends.interface import Launch, Launcher
from carlad.fleet.fleet import Fleet
from carlad.fleet.leftovers import state_directory
from carlad.journal import Journal
from carlad.messages import SlotStatus
from tests.fleet.processes import FAKE_SERVER, REPOSITORY, eventually, pids_with
from tests.ports import free_ports, is_free

# Patient enough for a machine that is busy with other tests.
PROBE = ProbeSection(period_s=0.1, timeout_s=0.5, failures=3, start_max_s=20.0, load_max_s=10.0)
NO_PROBE = ProbeSection(period_s=600.0)
RESTART = RestartSection(backoff_s=0.05, backoff_max_s=0.1, restarts_max=2, period_s=60.0)


class World:
    """A fleet under test: its first port, what it told, and ways to wait for it.

    A state may last for less than it takes a busy machine to come back to the test. So each one of which a
    notice told is kept, and who waits is content with one that has passed since the last wait.
    """

    def __init__(self, config: Config) -> None:
        self.fleet: Fleet
        self.config = config
        self.first_port = config.fleet.ports[0]
        self.notices: list[tuple[str, str | None, str | None]] = []
        self._passed: dict[int, deque[SlotStatus]] = defaultdict(deque)
        self._noted: dict[int, SlotStatus] = {}

    def notify(
        self,
        event: str,
        slot: int | None = None,
        lease_id: str | None = None,
        reason: str | None = None,
        cause: str | None = None,
    ) -> None:
        self.notices.append((event, lease_id, reason))
        for status in self.fleet.statuses():
            if status.slot == slot and status != self._noted.get(slot):
                self._noted[slot] = status
                self._passed[slot].append(status)

    def status(self, slot: int = 0) -> SlotStatus:
        return self.fleet.statuses()[slot]

    async def until(self, condition: Callable[[SlotStatus], object], slot: int = 0) -> SlotStatus:
        """The first status for which it holds, of those since the one that the last wait ended with."""
        while True:
            while self._passed[slot]:
                if condition(status := self._passed[slot].popleft()):
                    return status
            if condition(self.status(slot)):
                return self.status(slot)
            await self.fleet.changes.wait()

    async def ready(self, slot: int = 0, incarnation: int = 1) -> SlotStatus:
        status = await self.until(
            lambda now: (
                (now.state == "READY" and now.incarnation >= incarnation) or now.state == "QUARANTINED"
            ),
            slot,
        )
        assert status.state == "READY", status.reason
        return status

    async def lost(self) -> SlotStatus:
        return await self.until(lambda now: now.state == "STOPPING")

    def reasons(self, event: str) -> list[str | None]:
        return [reason for name, _lease_id, reason in self.notices if name == event]


class Runner:
    """Runs a scenario; afterwards no process, port or run folder is left."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self.environ = environ
        self.limit_s = 30.0

    def __call__(
        self,
        scenario: Callable[[World], Awaitable[None]],
        launch: Launcher | None = None,
        probe: ProbeSection = PROBE,
        restart: RestartSection = RESTART,
        size: int = 1,
        docker: DockerSection = DockerSection(),  # noqa: B008
        recycle: RecycleSection = RecycleSection(),  # noqa: B008
        resources: ResourcesSection = ResourcesSection(),  # noqa: B008
        logs: LogsSection = LogsSection(stamps=False),  # noqa: B008
        before: Callable[[Config, Path], None] = lambda _config, _state_dir: None,
        **fleet: object,
    ) -> None:
        """`before` may run, and kill, an earlier fleet with the same configuration and state directory."""
        ports = free_ports(4 * (size + 3))
        config = Config(
            daemon=DaemonSection(log_dir=str(self._folder / "log")),
            fleet=FleetSection(size=size, ports=(ports[0], ports[-1]), **fleet),
            docker=docker,
            probe=probe,
            restart=restart,
            recycle=recycle,
            resources=resources,
            logs=logs,
        )

        async def bounded(runs: Path, journal: Journal) -> None:
            with trio.fail_after(self.limit_s):
                async with self._running(config, runs, journal, launch) as world:
                    await scenario(world)

        before(config, self._folder / "state")
        with (
            state_directory(self._folder / "state") as runs,
            closing(Journal(self._folder / "state" / "journal.sqlite")) as journal,
        ):
            trio.run(bounded, runs, journal)
            assert list(runs.iterdir()) == []
        # A look at graphics cards that a killed fleet had begun ends by itself, a moment later.
        eventually(lambda: not pids_with(self.environ["CARLAD_TEST"]))
        assert all(is_free(port) for port in range(*config.fleet.ports))

    @asynccontextmanager
    async def _running(
        self, config: Config, runs: Path, journal: Journal, launch: Launcher | None
    ) -> AsyncIterator[World]:
        world = World(config)
        world.fleet = fleet = Fleet(config, runs, journal, world.notify, self.environ, launch)
        await fleet.adopt()
        async with trio.open_nursery() as nursery:
            await nursery.start(fleet.run)
            yield world
            nursery.cancel_scope.cancel()
        assert {status.state for status in fleet.statuses()} == {"STOPPED"}


def fake(environ: dict[str, str], *options: str) -> Launcher:
    """Starts fake servers with these options."""
    return lambda ports: Launch(
        (*FAKE_SERVER, f"-carla-rpc-port={ports.rpc}", *options), environ, str(REPOSITORY)
    )


def first_fake(environ: dict[str, str], option: str) -> Launcher:
    """Starts one fake server with this option, and then ones that behave."""
    options = iter([option])
    return lambda ports: fake(environ, *options)(ports)

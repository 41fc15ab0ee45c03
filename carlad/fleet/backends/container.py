"""Servers in containers: the docker command line behind a shim, and the container behind that.

The shim knows the command line only, and follows the container's output through it. A container outlives a
command line that was killed, so whoever ends an incarnation removes its container too, and what a daemon
left behind is found by its label.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path

import trio

from carlad.config import LogsSection
from carlad.errors import ServerError
from carlad.fleet.backends.docker import LABEL, container_name
from carlad.fleet.backends.interface import Found, Launcher, Server, Serving
from carlad.fleet.backends.local import Local
from carlad.fleet.ports import PortRegistry, Ports, is_served, listener_among
from carlad.fleet.shim import descendants
from carlad.fleet.shim_link import ShimLink
from carlad.log import get_logger
from carlad.runtime import RestartPolicy

log = get_logger(__name__)

_LOOK_AGAIN_S = 0.2  # each look is a process of its own
_REMOVED_MAX_S = 10.0


class Containers:
    """A backend. `owner` is the label of this daemon's containers."""

    shares_fate = True

    def __init__(
        self,
        launch: Launcher,
        registry: PortRegistry,
        limits: LogsSection,
        owner: str,
        environ: dict[str, str],
    ) -> None:
        self._local = Local(launch, registry, limits)
        self._engine = Engine(environ)
        self._owner = owner

    def policy(self, configured: RestartPolicy) -> RestartPolicy:
        return configured

    def place(self, previous: Ports | None, slot: int = 0) -> AbstractContextManager[Ports]:
        return self._local.place(previous, slot)

    def place_again(self, ports: Ports) -> AbstractContextManager[Ports]:
        return self._local.place_again(ports)

    @asynccontextmanager
    async def running(
        self, ports: Ports, folder: Path, log_path: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        await self._engine.remove(container_name(ports))
        async with self._contained(ports, self._local.running(ports, folder, log_path, hurry)) as server:
            yield server

    async def find(self, ports: Ports, folder: Path) -> ShimLink:
        return await self._local.find(ports, folder)

    @asynccontextmanager
    async def adopted(
        self, found: Found, ports: Ports, folder: Path, hurry: trio.Event
    ) -> AsyncIterator[Server]:
        async with self._contained(ports, self._local.adopted(found, ports, folder, hurry)) as server:
            yield server

    @asynccontextmanager
    async def _contained(
        self, ports: Ports, running: AbstractAsyncContextManager[Server]
    ) -> AsyncIterator[Server]:
        """What the command line of `running` started, and nothing of it afterwards."""
        name = container_name(ports)
        try:
            async with running as command, trio.open_nursery() as nursery:
                container = Container(command)
                nursery.start_soon(container.find, self._engine, name)
                yield container
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._engine.remove(name)

    async def clear(self, keep: Collection[Ports]) -> None:
        kept = set(map(container_name, keep))
        for name in set(await self._engine.labelled(f"{LABEL}={self._owner}")) - kept:
            log.info("leftover.found", container=name)
            await self._engine.remove(name)


class Container:
    """A server whose processes are the engine's, not its shim's."""

    def __init__(self, command: Server) -> None:
        self._command = command
        self._init = 0  # its first process, as this machine numbers it; 0 while there is none

    @property
    def pid(self) -> int | None:
        return self._command.pid

    async def ended(self) -> str:
        return await self._command.ended()

    def tree(self) -> tuple[int, ...]:
        return (self._init, *descendants(self._init)) if self._init else ()

    def ran_out_of_memory(self) -> bool:
        return self._command.ran_out_of_memory()

    def listener(self, ports: Ports) -> Serving | None:
        """Inside the container: the engine accepts connections to a published port before the server does.

        Who may not look into the container's processes takes its first one; the engine starts no container
        whose published ports somebody else has.
        """
        if not self._init:
            return None
        if not os.access(f"/proc/{self._init}/fd", os.R_OK):
            return Serving(self._init) if is_served(ports, self._init) else None
        pid = listener_among(self.tree(), ports, netns_of=self._init)
        return Serving(pid) if pid else None

    async def find(self, engine: Engine, name: str) -> None:
        """Returns when the container runs."""
        while not (pid := await engine.first_pid(name)):  # noqa: ASYNC110
            await trio.sleep(_LOOK_AGAIN_S)
        self._init = pid


class Engine:
    """What is asked of the docker command line. Raises ServerError where the engine does not answer."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._docker = shutil.which("docker", path=environ.get("PATH")) or "docker"

    async def first_pid(self, name: str) -> int:
        """0 where there is no such container, or none that runs."""
        said = await self._ask(
            "ps", "--all", "--no-trunc", "--filter=status=running", _named(name), "--format={{.ID}}"
        )
        if not said:
            return 0
        pid = await self._tell("inspect", "--format={{.State.Pid}}", said)
        return int(pid) if pid.isdigit() else 0  # gone meanwhile

    async def labelled(self, label: str) -> list[str]:
        return (await self._ask("ps", "--all", f"--filter=label={label}", "--format={{.Names}}")).split()

    async def remove(self, name: str) -> None:
        """Kills it, where it is there, and returns when it is not any more."""
        with trio.move_on_after(_REMOVED_MAX_S):
            while await self._ask("ps", "--all", "--quiet", _named(name)):
                await self._tell("rm", "--force", "--volumes", name)
            return
        raise ServerError(f"cannot remove container {name}: still there after {_REMOVED_MAX_S:g} s")

    async def _ask(self, *arguments: str) -> str:
        done = await self._run(arguments)
        if done.returncode != 0:
            why = " ".join(done.stderr.decode(errors="replace").split())
            raise ServerError(f"cannot ask docker: {why}")
        return done.stdout.decode(errors="replace").strip()

    async def _tell(self, *arguments: str) -> str:
        """What may fail because the container has just gone."""
        return (await self._run(arguments)).stdout.decode(errors="replace").strip()

    async def _run(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        try:
            return await trio.run_process(
                [self._docker, *arguments],
                env=self._environ,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        except OSError as error:
            raise ServerError(f"cannot run docker: {error}") from error


def _named(name: str) -> str:
    return f"--filter=name=^/?{name}$"

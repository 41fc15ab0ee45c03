"""Servers on this machine: each behind a shim, on a block of ports of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import trio

from carlad.config import LogsSection
from carlad.fleet.backends.interface import Found, Launcher
from carlad.fleet.cgroup import MemoryLimit
from carlad.fleet.ports import PortRegistry, Ports
from carlad.fleet.server import Server, adopted, running
from carlad.fleet.shim_link import ShimLink, find
from carlad.runtime import RestartPolicy


class Local:
    """A backend for whatever can be started as a process."""

    shares_fate = True

    def __init__(
        self,
        launch: Launcher,
        registry: PortRegistry,
        limits: LogsSection,
        memory: MemoryLimit | None = None,
    ) -> None:
        self._launch = launch
        self._limits = limits
        self._memory = memory
        self._registry = registry

    def policy(self, configured: RestartPolicy) -> RestartPolicy:
        return configured

    @contextmanager
    def place(self, previous: Ports | None, slot: int = 0) -> Iterator[Ports]:
        ports = self._registry.take(previous)
        try:
            yield ports
        finally:
            self._registry.give_back(ports)

    @contextmanager
    def place_again(self, ports: Ports) -> Iterator[Ports]:
        self._registry.hold(ports)
        try:
            yield ports
        finally:
            self._registry.give_back(ports)

    async def clear(self, keep: Collection[Ports]) -> None:
        """Every process of an incarnation is found through its run folder, see leftovers.py."""

    def running(
        self, ports: Ports, folder: Path, log_path: Path, hurry: trio.Event
    ) -> AbstractAsyncContextManager[Server]:
        return running(self._launch(ports), folder, log_path, hurry, self._limits, self._memory)

    async def find(self, ports: Ports, folder: Path) -> ShimLink:
        return await find(folder)

    def adopted(
        self, found: Found, ports: Ports, folder: Path, hurry: trio.Event
    ) -> AbstractAsyncContextManager[Server]:
        assert isinstance(found, ShimLink), found
        return adopted(found, folder, hurry)

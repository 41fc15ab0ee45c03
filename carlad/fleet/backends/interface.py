"""What a slot asks of whoever provides its servers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from carlad.fleet.ports import Ports
from carlad.runtime import RestartPolicy


class Launch(msgspec.Struct, frozen=True):
    """One process to start: nothing of the daemon's own environment is added."""

    argv: tuple[str, ...]
    environ: dict[str, str]
    cwd: str


Launcher = Callable[[Ports], Launch]


class Serving(msgspec.Struct, frozen=True):
    """A server listens; `pid` is None where its process cannot be known."""

    pid: int | None


class Server(Protocol):
    """A server that runs, as far as its slot is concerned."""

    @property
    def pid(self) -> int | None:
        """Of the process that was started, where one was; a launcher's, where one forks the real server."""

    async def ended(self) -> str:
        """Waits until the server ends by itself, and says how."""

    def tree(self) -> tuple[int, ...]:
        """The pids of the server and everything below it; empty where they cannot be known."""

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed for lack of memory while it ran: something of its own, where that can
        be told, else anything."""

    def listener(self, ports: Ports) -> Serving | None:
        """Who serves, once calls and streams are served; to be called in a thread.

        Raises ServerError with the pid of a stranger that has one of the block's ports.
        """


class Found(Protocol):
    """A server of an earlier daemon, before a slot takes it back."""

    @property
    def pid(self) -> int | None: ...


class Backend(Protocol):
    @property
    def shares_fate(self) -> bool:
        """Whether what keeps one server from starting keeps others, too: one installation, one machine."""

    def policy(self, configured: RestartPolicy) -> RestartPolicy:
        """How failures are followed by new attempts."""

    def place(self, previous: Ports | None, slot: int = 0) -> AbstractContextManager[Ports]:
        """Where the next incarnation of `slot` is to listen; its own until the end of the block.

        Never `previous`, where the incarnation before it was. Raises ServerError where there is no room.
        """

    def place_again(self, ports: Ports) -> AbstractContextManager[Ports]:
        """`ports`, where a server that is taken back listens already."""

    async def clear(self, keep: Collection[Ports]) -> None:
        """Ends what earlier daemons left running that no run folder tells of, except on `keep`.

        Raises ServerError.
        """

    def running(
        self, ports: Ports, folder: Path, log_path: Path, hurry: trio.Event
    ) -> AbstractAsyncContextManager[Server]:
        """A server on `ports` until the end of the block, when nothing of it is left.

        `folder` is this incarnation's own and removed with it. `hurry` skips the grace between TERM and
        KILL. Raises ServerError where it cannot be started, or where something of it does not die.
        """

    async def find(self, ports: Ports, folder: Path) -> Found:
        """What an earlier daemon started there, if it runs and can be vouched for.

        Raises ServerError with how it ended, or why it cannot be trusted.
        """

    def adopted(
        self, found: Found, ports: Ports, folder: Path, hurry: trio.Event
    ) -> AbstractAsyncContextManager[Server]:
        """As `running`, of a server that was found."""

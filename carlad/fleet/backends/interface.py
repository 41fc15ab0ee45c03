"""What a slot asks of whoever provides its servers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from carlad.fleet.ports import Ports


class Launch(msgspec.Struct, frozen=True):
    """One process to start: nothing of the daemon's own environment is added."""

    argv: tuple[str, ...]
    environ: dict[str, str]
    cwd: str


Launcher = Callable[[Ports], Launch]


class Server(Protocol):
    """A server that runs, as far as its slot is concerned."""

    @property
    def pid(self) -> int:
        """Of the process that was started; a launcher's, where one forks the real server."""

    async def ended(self) -> str:
        """Waits until the server ends by itself, and says how."""

    def tree(self) -> tuple[int, ...]:
        """The pids of the server and everything below it."""

    def listener(self, ports: Ports) -> int | None:
        """The process that serves calls, once calls and streams are served; to be called in a thread.

        Raises ServerError with the pid of a stranger that has one of the block's ports.
        """


class Backend(Protocol):
    def place(self, previous: Ports | None) -> AbstractContextManager[Ports]:
        """Where the next incarnation of a slot is to listen; its own until the end of the block.

        Never `previous`, where the incarnation before it was. Raises ServerError where there is no room.
        """

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

"""One env host: its process, from its start until nothing of it is left, and what the daemon asks it."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from carlad.config import EnvSection, LogsSection, SessionSection
from carlad.errors import CarladError, ServerError
from carlad.fleet import logs
from carlad.fleet.server import Server, adopted, running
from carlad.fleet.shim_link import ShimLink
from carlad.hosts.launch import Abroad, Door, launch
from carlad.hosts.line import HostError, Line, ReplyT, connect
from carlad.messages import Granted
from carlad.session.protocol import Attach, Attached, Construct, Constructed

# A crash closes connections before its shim can report it, and is the better reason.
CRASH_SPEAKS_FIRST_S = 0.3
_OURS = re.compile(r"[0-9a-f]{8}\.(steps|view)")
_SECRETS = "*-*.secret"  # of a session's host, or one that was only looked at
_LOG_LIMITS = LogsSection(file_mib=1.0, files_max=2, stamps=False)  # an environment says little
_LAST_WORDS = 12  # lines of its log: a traceback's end


class Premises(NamedTuple):
    """Where env hosts live: `runs` takes a folder for each while it runs, `sockets` is reached by clients."""

    runs: Path
    sockets: Path
    logs: Path
    environ: Mapping[str, str]


class EnvHost:
    """Its `secret` opens it to a client. Raises HostError where it or its server fails or takes too long."""

    def __init__(
        self,
        process: Server,
        door: Door,
        secret: str,
        log: Path,
        limits: SessionSection,
        hurry: trio.Event,
    ) -> None:
        self.secret = secret
        self.door = door
        self._process = process
        self._log = log
        self._limits = limits
        self._line: Line | None = None
        self.is_made = False
        self._hurry = hurry

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> str:
        """Waits until it ends by itself; how, with its last lines where it never got to serve."""
        how = f"its env host {await self._process.ended()}"
        if self.is_made:
            return how
        lines = await trio.to_thread.run_sync(logs.tail, self._log, _LAST_WORDS)
        return f"{how} while it started; its log ends: {' | '.join(lines[-_LAST_WORDS:])[-1500:]}"

    async def construct(self, config: dict[str, object]) -> Constructed:
        """Raises EnvironmentRefusedError, too."""
        with _within(self._limits.start_max_s, "start and construct the environment"):
            self._line = await connect(self.door.steps, self.secret)
            made = await self._ask(self._line, Construct(config), Constructed)
        self.is_made = True
        return made

    async def construct_or_end(self, config: dict[str, object]) -> Constructed:
        """As `construct`, for who does not watch the host: its end is a HostError."""
        outcome: Constructed | CarladError | None = None

        async def watch() -> None:
            nonlocal outcome
            outcome = HostError(await self.ended())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                outcome = await self.construct(config)
            except CarladError as error:
                outcome = error
            nursery.cancel_scope.cancel()
        if isinstance(outcome, Constructed):
            return outcome
        raise outcome or HostError("its env host ended")

    async def attach(self, granted: Granted) -> None:
        """After it the host is the client's. Raises EnvironmentRefusedError, too."""
        assert self._line is not None, "attach before construct"
        request = Attach(
            host=granted.host,
            rpc_port=granted.rpc_port,
            traffic_manager_port=granted.traffic_manager_port,
            map=granted.map,
        )
        with _within(self._limits.attach_max_s, "connect to its server"):
            await self._ask(self._line, request, Attached)
        await self.hang_up()

    async def _ask(self, line: Line, request: Construct | Attach, answer: type[ReplyT]) -> ReplyT:
        try:
            return await line.ask(request, answer)
        except HostError:
            await trio.sleep(CRASH_SPEAKS_FIRST_S)
            raise

    def hasten(self) -> None:
        """Its end comes without a grace: there is nothing that it could put in order."""
        self._hurry.set()

    async def hang_up(self) -> None:
        """Waits for nothing, and so is not cancelled: that would take the place of what failed before."""
        if self._line is not None:
            with trio.CancelScope(shield=True):
                await self._line.__aexit__(None, None, None)


class Place(NamedTuple):
    """One env host's names. `log` outlives it."""

    name: str
    log: Path
    uid: int
    patience_s: float
    is_shown: bool
    abroad: Abroad | None = None


@asynccontextmanager
async def env_host(
    env: EnvSection, place: Place, premises: Premises, limits: SessionSection
) -> AsyncIterator[EnvHost]:
    """A started host; at the end of the block nothing of it is left. Raises ServerError."""
    folder = premises.runs / place.name
    secret = secrets.token_hex(16)
    door = _door(place, premises)
    secret_file = door.secret_file
    try:
        _remove_sockets(door)
        place.log.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        secret_file.touch(mode=0o600)
        secret_file.write_text(secret)
        hurry = trio.Event()
        launched = launch(env, door, premises.environ)
        async with running(launched, folder, place.log, hurry, _LOG_LIMITS) as process:
            host = EnvHost(process, door, secret, place.log, limits, hurry)
            try:
                yield host
            finally:
                await host.hang_up()
    except OSError as error:
        raise ServerError(f"cannot start an env host: {error}") from error
    finally:
        secret_file.unlink(missing_ok=True)
        _remove_sockets(door)


@asynccontextmanager
async def env_host_again(
    found: ShimLink, secret: str, place: Place, premises: Premises, limits: SessionSection
) -> AsyncIterator[EnvHost]:
    """As `env_host`, of one that an earlier daemon started and its client steps."""
    door, hurry = _door(place, premises), trio.Event()
    try:
        async with adopted(found, premises.runs / place.name, hurry) as process:
            host = EnvHost(process, door, secret, place.log, limits, hurry)
            host.is_made = True
            yield host
    finally:
        door.secret_file.unlink(missing_ok=True)
        _remove_sockets(door)


def _door(place: Place, premises: Premises) -> Door:
    hex_name = place.name.rpartition("-")[2]
    return Door(
        steps=premises.sockets / f"{hex_name}.steps",
        telemetry=premises.sockets / f"{hex_name}.view" if place.is_shown else None,
        name=place.name,
        secret_file=premises.runs.parent / f"{place.name}.secret",
        uid=place.uid,
        patience_s=place.patience_s,
        abroad=place.abroad,
    )


def _remove_sockets(door: Door) -> None:
    door.steps.unlink(missing_ok=True)
    if door.telemetry is not None:
        door.telemetry.unlink(missing_ok=True)


@contextmanager
def _within(seconds: float, what: str) -> Iterator[None]:
    """Raises HostError after so many seconds."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise HostError(f"its env host did not {what} within {seconds:g} s")


def remove_stale_sockets(folder: Path) -> None:
    """Those of env hosts that died with their daemon: nobody listens there any more."""
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.is_socket() and not _answers(path):
            path.unlink(missing_ok=True)


def remove_stale_secrets(runs: Path) -> None:
    """Those of env hosts that died with their daemon before they read them: whoever serves has done so."""
    for path in runs.parent.glob(_SECRETS):
        path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is an answer, too
        return probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED

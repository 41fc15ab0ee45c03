"""The client library: servers on lease, for any Python program.

    with carlad.lease(map="Town03") as server:
        client = carla.Client(server.host, server.port)

A lease is renewed in the background until the `with` block is left. Synchronous; imports neither trio nor
carla. After a fork the child may use a `Client`, but a `Lease` stays its parent's: only the parent renews
and releases it.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import zmq

from carlad import nodes
from carlad.endpoints import client_endpoint, client_endpoints, reached
from carlad.errors import CarladError, LeaseLostError, NoDaemonError, RequestError, WaitedInVainError
from carlad.keeper import Keeper
from carlad.keys import connect
from carlad.link import SILENCE_MAX_S, Link
from carlad.messages import (
    Acquire,
    Changed,
    CloseSession,
    Done,
    Events,
    EventsQuery,
    Granted,
    Holder,
    LogLines,
    LogsQuery,
    Notice,
    OpenSession,
    OperatorRequest,
    Queued,
    RecoverSession,
    Refused,
    Release,
    Released,
    Reload,
    Reloaded,
    Renew,
    Renewed,
    RenewSession,
    ReplacementQuery,
    ReplyBody,
    RequestBody,
    SessionClosed,
    SessionOpened,
    SessionRenewed,
    SessionStatus,
    Spaces,
    SpacesQuery,
    Status,
    StatusQuery,
    Upgrade,
    Vitals,
    VitalsQuery,
    notices_endpoint,
)

AnswerT = TypeVar("AnswerT", bound=ReplyBody)

_CATCH_UP_S = 1.0  # a notice that was published before the subscription arrived is asked for
_VERDICT_MAX_S = 45.0  # of silence, while the daemon asks a successor whether it would start


class Client:
    """One conversation with a daemon; `endpoint` None: CARLAD_ENDPOINT, else the default socket.

    Every method raises NoDaemonError where none answers, and RequestError where it refuses.
    """

    def __init__(self, endpoint: str | None = None, silence_max_s: float = SILENCE_MAX_S) -> None:
        self.endpoint = client_endpoint(endpoint)
        self._link = Link(self.endpoint, silence_max_s)

    def status(self) -> Status:
        shown = self._ask(StatusQuery(), Status)
        return msgspec.structs.replace(shown, sessions=tuple(map(self._found, shown.sessions)))

    def vitals(self) -> Vitals:
        """What each server takes of the machine."""
        return self._ask(VitalsQuery(), Vitals)

    def acquire(
        self,
        map: str | None = None,
        ttl_s: float | None = None,
        wait_s: float = 60.0,
        holder: Holder | None = None,
        on_queued: Callable[[Queued], None] | None = None,
        *,
        priority: int = 0,
        replace: bool = False,
    ) -> Granted:
        """A server that nobody renews but the caller: see `lease` for one that is looked after.

        `map` None: any; `ttl_s` None: the daemon's default; `holder` None: this process. `on_queued` is
        told from time to time how the waiting goes. Raises WaitedInVainError.
        """
        acquire = Acquire(
            holder=holder or this_process(),
            map=map,
            ttl_s=ttl_s,
            wait_s=wait_s,
            priority=priority,
            replace=replace,
        )
        return self._ask(acquire, Granted, on_queued)

    def renew(self, lease_id: str, token: int | None = None, ttl_s: float | None = None) -> Renewed:
        return self._ask(Renew(lease_id=lease_id, token=token, ttl_s=ttl_s), Renewed)

    def replacement(self, lease_id: str, token: int | None = None) -> Granted:
        """What came of a lease that wanted to be replaced: itself while it lives, else its replacement as
        soon as there is one."""
        return self._ask(ReplacementQuery(lease_id=lease_id, token=token), Granted)

    def release(self, lease_id: str, token: int | None = None) -> None:
        self._ask(Release(lease_id=lease_id, token=token), Released)

    def open_session(
        self,
        env: str,
        config: dict[str, Any] | None = None,
        map: str | None = None,
        ttl_s: float | None = None,
        wait_s: float = 60.0,
        on_queued: Callable[[Queued], None] | None = None,
    ) -> SessionOpened:
        """A session that nobody renews but the caller: see `carlad.session` for one that is looked after."""
        asked = OpenSession(
            holder=this_process(), env=env, config=config or {}, map=map, ttl_s=ttl_s, wait_s=wait_s
        )
        return self._reached(self._ask(asked, SessionOpened, on_queued))

    def renew_session(self, session_id: str, key: str) -> SessionRenewed:
        return self._ask(RenewSession(session_id=session_id, key=key), SessionRenewed)

    def recover_session(
        self,
        session_id: str,
        key: str,
        host: int,
        cause: str,
        on_queued: Callable[[Queued], None] | None = None,
    ) -> SessionOpened:
        """Waits until an env host after number `host` serves."""
        asked = RecoverSession(session_id=session_id, key=key, host=host, cause=cause[:2000])
        return self._reached(self._ask(asked, SessionOpened, on_queued))

    def close_session(self, session_id: str, key: str | None = None) -> None:
        self._ask(CloseSession(session_id=session_id, key=key), SessionClosed)

    def spaces(self, env: str, config: dict[str, Any] | None = None) -> Spaces:
        """Of an environment that sessions may open; no server is needed for it."""
        return self._ask(SpacesQuery(env=env, config=config or {}), Spaces)

    def logs(self, slot: int, lines: int = 200, after: str | None = None) -> LogLines:
        """The newest lines of a slot's server, oldest first; or the next ones after the `place` of an
        earlier answer."""
        return self._ask(LogsQuery(slot=slot, lines=lines, after=after), LogLines)

    def events(self, after: int = 0, run: str = "") -> Events:
        """The notices after that number of that run of the daemon which it still has."""
        return self._ask(EventsQuery(after=after, run=run), Events)

    def operate(self, request: OperatorRequest) -> str:
        """Does what an operator wants and returns what that means in words; for `Reload` see `reload`."""
        if isinstance(request, Upgrade) and self._link.silence_max_s < _VERDICT_MAX_S:
            with Client(self.endpoint, _VERDICT_MAX_S) as patient:
                return patient.operate(request)
        return self._ask(request, Done).says

    def reload(self) -> tuple[Changed, ...]:
        """The daemon reads its configuration file again; what that changed, key by key."""
        return self._ask(Reload(), Reloaded).changes

    def watch(self, after: int = 0, run: str = "") -> Iterator[Notice]:
        """The notices after that number of that run, then those to come, for ever and without a gap.

        With `notice` and `run` of a `status` they are what changed since. Of another run than that they are
        all, as after a restart of the daemon.
        """
        with self._subscription() as subscription:
            newest = after
            while True:
                events = self.events(newest, run)
                newest, run = (newest if run in ("", events.run) else 0), events.run
                for notice in events.notices:
                    newest = notice.number
                    yield notice
                while subscription.poll(int(1000 * _CATCH_UP_S)):
                    notice = msgspec.msgpack.decode(subscription.recv_multipart()[-1], type=Notice)
                    if (notice.number, notice.run) != (newest + 1, run):
                        break  # one was missed, or seen already, or the daemon is another
                    newest = notice.number
                    yield notice

    def give_up(self) -> None:
        """From another thread: what is asked now is withdrawn, and whoever asks gets GivenUpError."""
        self._link.give_up()

    def close(self) -> None:
        self._link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reached(self, opened: SessionOpened) -> SessionOpened:
        steps, telemetry = reached(opened.steps, self.endpoint), reached(opened.telemetry, self.endpoint)
        return msgspec.structs.replace(opened, steps=steps, telemetry=telemetry)

    def _found(self, session: SessionStatus) -> SessionStatus:
        if session.remote_telemetry is None:
            return session
        there = reached(session.remote_telemetry, self.endpoint)
        return msgspec.structs.replace(session, remote_telemetry=there)

    def _ask(
        self, body: RequestBody, answer: type[AnswerT], on_queued: Callable[[Queued], None] | None = None
    ) -> AnswerT:
        reply = self._link.ask(body, on_queued)
        if isinstance(reply, answer):
            return reply
        if not isinstance(reply, Refused):
            raise CarladError(f"cannot understand the daemon: it answers {reply}; is it of another version?")
        if reply.code in ("waited-in-vain", "over-quota"):
            raise WaitedInVainError(reply.reason, reply.code)
        raise RequestError(reply.reason, reply.code)

    @contextmanager
    def _subscription(self) -> Iterator[zmq.Socket[bytes]]:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            subscription = context.socket(zmq.SUB)
            subscription.subscribe(b"")
            connect(subscription, notices_endpoint(self.endpoint))
            yield subscription
        finally:
            context.destroy(linger=0)


class Lease:
    """A server that is ours, renewed in the background until `release` or the end of its `with` block.

    When `lost` is set the server is no longer ours, and `lost_reason` says why. With `replace` the daemon
    then gives another one, at once if a spare has the map: `lost` is cleared again and everything here is the
    new server's. `granted` is all of it at one moment.
    """

    def __init__(
        self,
        endpoint: str,
        granted: Granted,
        *,
        replace: bool = False,
        on_lost: Callable[[Lease], None] | None = None,
        on_replaced: Callable[[Lease], None] | None = None,
    ) -> None:
        self.endpoint = endpoint  # of the daemon that granted it
        self._pid = os.getpid()
        self._is_over = False
        self._keeper = Keeper(
            endpoint,
            granted,
            replace=replace,
            on_lost=partial(on_lost, self) if on_lost is not None else None,
            on_replaced=partial(on_replaced, self) if on_replaced is not None else None,
        )

    @property
    def granted(self) -> Granted:
        return self._keeper.granted

    @property
    def lease_id(self) -> str:
        return self.granted.lease_id

    @property
    def token(self) -> int:
        return self.granted.token

    @property
    def slot(self) -> int:
        return self.granted.slot

    @property
    def host(self) -> str:
        return self.granted.host

    @property
    def port(self) -> int:
        """The RPC port: what `carla.Client` takes."""
        return self.granted.rpc_port

    @property
    def rpc_port(self) -> int:
        return self.granted.rpc_port

    @property
    def streaming_port(self) -> int:
        return self.granted.streaming_port

    @property
    def traffic_manager_port(self) -> int:
        return self.granted.traffic_manager_port

    @property
    def map(self) -> str:
        return self.granted.map

    @property
    def ttl_s(self) -> float:
        return self.granted.ttl_s

    @property
    def lost(self) -> threading.Event:
        return self._keeper.lost

    @property
    def lost_reason(self) -> str | None:
        return self._keeper.lost_reason

    def check(self) -> None:
        """Raises LeaseLostError if the server is no longer ours."""
        if self.lost.is_set():
            raise LeaseLostError(f"cannot go on with {self.lease_id}: {self.lost_reason}")

    def recover(self) -> None:
        """Returns when a server is ours, which with `replace` takes until a lost one is replaced.

        Raises LeaseLostError if there is no hope of it. A loss is noticed by the daemon: after an error of
        the simulator's client look at `lost` first.
        """
        self._keeper.settled.wait()
        self.check()

    def release(self) -> None:
        """Gives the server back; idempotent. Without a daemon the lease ends by its time to live."""
        if self._is_over or self._pid != os.getpid():
            return
        self._is_over = True
        replacing = not self._keeper.settled.is_set()
        self._keeper.stop()
        if replacing or not self.lost.is_set():
            with Client(self.endpoint) as client, suppress(NoDaemonError, RequestError):
                client.release(self.lease_id, self.token)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Lease {self.lease_id} of {self.host}:{self.rpc_port} {self.map}>"


def lease(
    map: str | None = None,
    ttl_s: float | None = None,
    wait_s: float = 60.0,
    endpoint: str | None = None,
    on_queued: Callable[[Queued], None] | None = None,
    *,
    priority: int = 0,
    replace: bool = False,
    on_lost: Callable[[Lease], None] | None = None,
    on_replaced: Callable[[Lease], None] | None = None,
) -> Lease:
    """A server, exclusively; use it as a context manager, or call its `release`.

    `map`: one that it runs, loaded for you if needed (None: any). `ttl_s`: for how long it stays ours when
    nobody renews it (None: the daemon's default). `wait_s`: how long to queue; a map's loading comes on top.
    `priority`: 0 to 9, each a head start in the queue. `replace`: another server if this one is lost, see
    `Lease`. `on_lost` and `on_replaced` are called in a thread of their own; renewals wait for them.

    `endpoint`: see `carlad.endpoints`; of several daemons, separated by commas, one that has room.

    Raises NoDaemonError, WaitedInVainError, or RequestError for anything else that the daemon refuses.
    """

    def ask(client: Client, wait_s: float, on_queued: Callable[[Queued], None] | None) -> Granted:
        return client.acquire(map, ttl_s, wait_s, on_queued=on_queued, priority=priority, replace=replace)

    with ExitStack() as stack:
        clients = [stack.enter_context(Client(one)) for one in client_endpoints(endpoint)]
        there, granted = nodes.acquire(clients, map, wait_s, ask, on_queued)
    return Lease(there.endpoint, granted, replace=replace, on_lost=on_lost, on_replaced=on_replaced)


def this_process() -> Holder:
    """Who asks, for the daemon's status."""
    return Holder(
        user=_user()[:128],
        host=(socket.gethostname() or "localhost")[:128],
        program=_program()[:128],
        pid=os.getpid(),
    )


def _program() -> str:
    """The script's name, or the package's for `python -m package`."""
    script = Path(sys.argv[0] if sys.argv else "")
    return (script.parent.name if script.name == "__main__.py" else script.name) or "python"


def _user() -> str:
    try:
        return getpass.getuser() or str(os.getuid())
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())

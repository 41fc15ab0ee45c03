"""The client's end of the step protocol: an environment that is stepped in another process."""

from __future__ import annotations

import os
import socket
from typing import Any

import gymnasium

from carlad.errors import ServerError
from carlad.session import arrays, protocol, spaces, tunnel
from carlad.session.arrays import Array, Arrays
from carlad.session.connection import Connection
from carlad.session.environment import Server
from carlad.session.protocol import (
    Attach,
    Attached,
    Close,
    Construct,
    Constructed,
    Failed,
    FailureKind,
    Held,
    Hello,
    ProtocolError,
    Reply,
    Request,
    Reset,
    ResetDone,
    Share,
    Shared,
    Step,
    Stepped,
    Welcome,
)
from carlad.session.shared import Slots
from carlad.spaces import Space

_CONNECT_MAX_S = 10.0  # a host is between two requests of its client most of the time

StepResult = tuple[Any, float, bool, bool, dict[str, Any]]


class SessionLostError(ServerError):
    """The session is over: its host ended or does not answer, or the host lost its simulator."""


class EnvironmentFailedError(ServerError):
    """The environment raised an error of its own; the session is in an unknown state."""


class Steps:
    """A connection to an env host. Not thread-safe; `close` it.

    The blocking calls raise SessionLostError when the host is gone or silent for `wait_s` seconds,
    EnvironmentFailedError, and ProtocolError, after which alone the session goes on. Who steps many at once
    uses `send_reset` and `send_step`, polls `fileno()` for reading, and calls `receive_now` then.
    """

    def __init__(self, endpoint: str, secret: str = "") -> None:
        """`endpoint` is ipc://PATH or tcp://KEY@HOST:PORT. Raises ConfigError, too, for one that is neither,
        and for a key of this user that cannot be used."""
        self.observation_space: gymnasium.Space[Any] | None = None
        self.action_space: gymnasium.Space[Any] | None = None
        self._observation: Space | None = None
        self._slots: Slots | None = None
        self._copies = False  # whether the arrays of the reply under way must be copied out of their slot
        self._is_local = endpoint.startswith("ipc://")
        try:
            self._connection: Connection[Reply] = Connection(
                _connected(endpoint), protocol.decode_reply, protocol.HEAD_BYTES_MAX
            )
        except OSError as error:
            raise SessionLostError(f"cannot reach the env host at {endpoint}: {error}") from error
        try:
            self._expect(Welcome, Hello(secret), _CONNECT_MAX_S)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self._connection.fileno()

    def construct(self, config: dict[str, Any], wait_s: float) -> None:
        """Construct the environment with `config`; sets both spaces."""
        made = self._expect(Constructed, Construct(config), wait_s)
        self.use(made.observation_space, made.action_space)

    def use(self, observation: Space, action: Space) -> None:
        """Take the spaces of an environment that was constructed by somebody else."""
        self._observation = observation
        self.observation_space, self.action_space = spaces.build(observation), spaces.build(action)

    def attach(self, server: Server, wait_s: float) -> None:
        """Connect the environment to a server."""
        host, rpc_port, traffic_manager_port, map_ = server
        request = Attach(host=host, rpc_port=rpc_port, traffic_manager_port=traffic_manager_port, map=map_)
        self._expect(Attached, request, wait_s)

    def share(self, wait_s: float) -> None:
        """Let large arrays come through shared memory from now on, where the host is on this machine."""
        if not self._is_local:
            return
        self._send(Share(), {})
        try:
            message, descriptor = self._connection.receive_descriptor(wait_s)
        except (OSError, EOFError) as error:
            raise SessionLostError(f"the env host ended: {error}") from error
        if message is not None and isinstance(message[0], Shared) and descriptor is not None:
            self._slots = Slots(descriptor, message[0].slots, message[0].slot_bytes)
        elif descriptor is not None:
            os.close(descriptor)

    def reset(
        self, seed: int | None, wait_s: float, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; returns its first observation and info."""
        self.send_reset(seed, options)
        reply, found = self._reply(wait_s, "reset")
        if not isinstance(reply, ResetDone):
            raise ProtocolError(f"cannot use the answer to Reset: {reply}")
        return self.observation(found), reply.info

    def step(self, action: Any, wait_s: float) -> StepResult:
        """Take an action; returns observation, reward, terminated, truncated, info as Gymnasium does."""
        self.send_step(action)
        reply, found = self._reply(wait_s, "step")
        if not isinstance(reply, Stepped):
            raise ProtocolError(f"cannot use the answer to Step: {reply}")
        return self.observation(found), reply.reward, reply.terminated, reply.truncated, reply.info

    def send_reset(self, seed: int | None, options: dict[str, Any] | None = None) -> None:
        """Send a request without waiting; exactly one reply belongs to it."""
        self._send(Reset(seed, options or {}, self._slot()), {})

    def send_step(self, action: Any) -> None:
        """As `send_reset`."""
        self._send(Step(self._slot()), spaces.to_arrays(action))

    def receive_now(self) -> tuple[Reply, dict[str, Array]] | None:
        """The reply if it is there, or `Held` in advance of it while a viewer has the session stand still.

        Raises SessionLostError if the host ended or lost its server, EnvironmentFailedError, and
        ProtocolError for a refused request.
        """
        return self._receive(0.0)

    def observation(self, found: dict[str, Array]) -> Any:
        """The observation that came as those arrays. Raises ProtocolError if it is not in the space."""
        if self._observation is None:
            raise ProtocolError("cannot read an observation before the environment is constructed")
        return spaces.from_arrays(self._observation, found, "observation")

    def leave(self) -> None:
        """Ask the host to end; not waited for."""
        self._send(Close(), {})

    def close(self) -> None:
        """The connection only. May be called again."""
        self._connection.close()

    def _expect(self, kind: type[Any], request: Request, wait_s: float) -> Any:
        self._send(request, {})
        reply, _ = self._reply(wait_s, type(request).__name__)
        if not isinstance(reply, kind):
            raise ProtocolError(f"cannot use the answer to {type(request).__name__}: {reply}")
        return reply

    def _slot(self) -> int | None:
        if self._slots is None:
            return None
        slot, self._connection.shared, self._copies = self._slots.take()
        return slot

    def _send(self, request: Request, parts: Arrays) -> None:
        headers = [arrays.header(name, part) for name, part in parts.items()]
        head = protocol.encode_head(request, headers)
        try:
            self._connection.send(head, [arrays.raw(part) for part in parts.values()])
        except OSError as error:
            raise SessionLostError(f"the env host ended: {error}") from error

    def _reply(self, wait_s: float, what: str) -> tuple[Reply, dict[str, Array]]:
        while (message := self._receive(wait_s)) is not None:
            if not isinstance(message[0], Held):
                return message
        raise SessionLostError(f"the env host did not answer {what} within {wait_s:g} s")

    def _receive(self, wait_s: float) -> tuple[Reply, dict[str, Array]] | None:
        try:
            message = self._connection.receive(wait_s)
        except (OSError, EOFError) as error:
            raise SessionLostError(f"the env host ended: {error}") from error
        if message is None:
            return None
        reply, found = message
        if isinstance(reply, Held):
            return reply, {}
        self._connection.shared = None
        if isinstance(reply, Failed):
            raise _error(reply)
        return reply, {name: part.copy() for name, part in found.items()} if self._copies else found


def _connected(endpoint: str) -> socket.socket:
    if not endpoint.startswith("ipc://"):
        return tunnel.connected(endpoint, _CONNECT_MAX_S)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_MAX_S)
        connection.connect(endpoint.removeprefix("ipc://"))
    except BaseException:
        connection.close()
        raise
    return connection


def _error(failed: Failed) -> Exception:
    if failed.kind is FailureKind.SIMULATOR_LOST:
        return SessionLostError(f"the simulator does not answer: {failed.reason}")
    if failed.kind is FailureKind.ENVIRONMENT_ERROR:
        return EnvironmentFailedError(f"the environment failed: {failed.reason}")
    return ProtocolError(failed.reason)

"""The client's end of an env session: starts the host, speaks the step protocol, leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import zmq

from carlad.errors import ServerError
from carlad.session import protocol, spaces
from carlad.session.environment import Server
from carlad.session.protocol import (
    Array,
    Attach,
    Attached,
    Close,
    Failed,
    FailureKind,
    ProtocolError,
    Reply,
    Request,
    Reset,
    ResetDone,
    Step,
    Stepped,
)

_CLOSE_GRACE_S = 3.0  # for the environment to put its server in order; then SIGKILL
_RECONNECT_MS = 10  # until the host, which takes about half a second to start, has bound its socket

StepResult = tuple[Any, float, bool, bool, dict[str, Any]]


class SessionLostError(ServerError):
    """The session is over: its host ended or does not answer, or the host lost its simulator."""


class EnvironmentFailedError(ServerError):
    """The environment raised an error of its own; the session is in an unknown state."""


class RemoteEnv:
    """One environment in a host process of its own, which ends with this object or with this process.

    `env` is "MODULE:CLASS". `directory` takes the session's sockets and must not be shared; it stays.
    `log` takes the host's output, which is discarded without one.

    The blocking calls (`attach`, `reset`, `step`) raise SessionLostError when the host is gone or silent for
    `wait_s` seconds, EnvironmentFailedError, and ProtocolError, after which alone the session goes on.
    Who steps many sessions at once uses `send`, polls `socket` and `pidfd` for reading, and calls `receive`
    when either is ready.
    """

    def __init__(self, env: str, directory: Path, name: str = "session", log: Path | None = None) -> None:
        self._endpoint = f"ipc://{directory}/step"
        self.telemetry = f"ipc://{directory}/telemetry"
        self.observation_space: gymnasium.Space[Any] | None = None
        self.action_space: gymnasium.Space[Any] | None = None
        self._observation: protocol.Space | None = None
        self._left_s: float | None = None
        command = [sys.executable, "-m", "carlad.session", "--env", env, "--endpoint", self._endpoint]
        command += ["--telemetry", self.telemetry, "--name", name, "--owner-pid", str(os.getpid())]
        self._process = _start(command, log)
        self.pidfd = os.pidfd_open(self._process.pid)
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self.socket.connect(self._endpoint)

    @property
    def pid(self) -> int:
        """The host process."""
        return self._process.pid

    def attach(self, server: Server, config: dict[str, Any], wait_s: float) -> None:
        """Construct the environment with `config` and connect it; sets both spaces."""
        host, rpc_port, traffic_manager_port, map_ = server
        request = Attach(
            host=host, rpc_port=rpc_port, traffic_manager_port=traffic_manager_port, map=map_, config=config
        )
        reply = self._ask(request, None, wait_s)[0]
        if not isinstance(reply, Attached) or reply.version != protocol.VERSION:
            raise ProtocolError(f"cannot use the answer to Attach: {reply}")
        self._observation = reply.observation_space
        self.observation_space = spaces.build(reply.observation_space)
        self.action_space = spaces.build(reply.action_space)

    def reset(
        self, seed: int | None, wait_s: float, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; returns its first observation and info."""
        reply, arrays = self._ask(Reset(seed, options or {}), None, wait_s)
        if not isinstance(reply, ResetDone):
            raise ProtocolError(f"cannot use the answer to Reset: {reply}")
        return self.observation(arrays), reply.info

    def step(self, action: Any, wait_s: float) -> StepResult:
        """Take an action; returns observation, reward, terminated, truncated, info as Gymnasium does."""
        reply, arrays = self._ask(Step(), spaces.to_arrays(action), wait_s)
        if not isinstance(reply, Stepped):
            raise ProtocolError(f"cannot use the answer to Step: {reply}")
        return self.observation(arrays), reply.reward, reply.terminated, reply.truncated, reply.info

    def send(self, request: Request, arrays: dict[str, Array] | None = None) -> None:
        """Send a request without waiting; exactly one `receive` belongs to it."""
        self.socket.send_multipart(protocol.encode(request, arrays))

    def receive(self) -> tuple[Reply, dict[str, Array]]:
        """The reply that is there.

        Raises SessionLostError if the host ended and left none or if it lost its server,
        EnvironmentFailedError, and ProtocolError for a refused request.
        """
        try:
            frames = self.socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            raise SessionLostError(f"the env host {self.pid} ended: {self._exit()}") from None
        reply, arrays = protocol.decode_reply(frames)
        if isinstance(reply, Failed):
            raise _error(reply)
        return reply, arrays

    def observation(self, arrays: dict[str, Array]) -> Any:
        """The observation that came as `arrays`. Raises ProtocolError if it is not in the space."""
        if self._observation is None:
            raise ProtocolError("cannot read an observation before Attach")
        return spaces.from_arrays(self._observation, arrays)

    def kill(self) -> None:
        """End the host at once, also from another thread; `close` is still due."""
        self._process.kill()

    def leave(self) -> None:
        """Ask the host to end, without waiting; `close` is still due."""
        if self._left_s is None:
            self._left_s = time.monotonic()
            self.send(Close())

    def close(self, kill: bool = False) -> None:
        """End the host and remove its sockets; `kill` does not give it time. May be called again."""
        if self.pidfd < 0:
            return
        if not kill:
            self.leave()
            assert self._left_s is not None
            kill = not _readable(self.pidfd, max(0.0, self._left_s + _CLOSE_GRACE_S - time.monotonic()))
        if kill:
            self._process.kill()
        self._process.wait()
        os.close(self.pidfd)
        self.pidfd = -1
        self._context.destroy(linger=0)
        for endpoint in (self._endpoint, self.telemetry):
            Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _ask(
        self, request: Request, arrays: dict[str, Array] | None, wait_s: float
    ) -> tuple[Reply, dict[str, Array]]:
        self.send(request, arrays)
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.pidfd, zmq.POLLIN)
        if not poller.poll(int(wait_s * 1000)):
            raise SessionLostError(
                f"the env host {self.pid} did not answer {type(request).__name__} in {wait_s:g} s"
            )
        return self.receive()

    def _exit(self) -> str:
        code = self._process.poll()
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _start(command: list[str], log: Path | None) -> subprocess.Popen[bytes]:
    """The host in a session of its own, so that Ctrl-C in a terminal reaches only its owner."""
    with contextlib.ExitStack() as stack:
        output = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab"))
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def _readable(fd: int, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(wait_s * 1000))


def _error(failed: Failed) -> Exception:
    if failed.kind is FailureKind.SIMULATOR_LOST:
        return SessionLostError(f"the simulator does not answer: {failed.reason}")
    if failed.kind is FailureKind.ENVIRONMENT_ERROR:
        return EnvironmentFailedError(f"the environment failed: {failed.reason}")
    return ProtocolError(failed.reason)

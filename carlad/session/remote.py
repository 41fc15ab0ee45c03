"""An env host that is a child of its client: for servers that no daemon knows."""

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

from carlad.session.arrays import Array
from carlad.session.environment import Server
from carlad.session.protocol import ProtocolError, Reply
from carlad.session.steps import EnvironmentFailedError, SessionLostError, StepResult, Steps

__all__ = ["EnvironmentFailedError", "RemoteEnv", "SessionLostError"]

_CLOSE_GRACE_S = 3.0  # for the environment to put its server in order; then SIGKILL
_RETRY_S = 0.01  # until the host, which takes about half a second to start, has bound its socket


class RemoteEnv:
    """One environment in a host process of its own, which ends with this object or with this process.

    `env` is "MODULE:CLASS". `directory` takes the session's sockets and must not be shared; it stays.
    `log` takes the host's output, which is discarded without one.

    The blocking calls (`attach`, `reset`, `step`) raise SessionLostError when the host is gone or silent for
    `wait_s` seconds, EnvironmentFailedError, and ProtocolError, after which alone the session goes on.
    Who steps many sessions at once uses `steps`, and polls its descriptor for reading.
    """

    def __init__(self, env: str, directory: Path, name: str = "session", log: Path | None = None) -> None:
        self._endpoint = f"ipc://{directory}/step"
        self.telemetry = f"ipc://{directory}/telemetry"
        self._left_s: float | None = None
        self._steps: Steps | None = None
        command = [sys.executable, "-m", "carlad.session", "--env", env, "--endpoint", self._endpoint]
        command += ["--telemetry", self.telemetry, "--name", name, "--owner-pid", str(os.getpid())]
        self._process = _start(command, log)
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """The host process."""
        return self._process.pid

    @property
    def steps(self) -> Steps:
        if self._steps is None:
            raise ProtocolError("cannot step before attach")
        return self._steps

    @property
    def observation_space(self) -> gymnasium.Space[Any] | None:
        return self._steps.observation_space if self._steps is not None else None

    @property
    def action_space(self) -> gymnasium.Space[Any] | None:
        return self._steps.action_space if self._steps is not None else None

    def attach(self, server: Server, config: dict[str, Any], wait_s: float) -> None:
        """Construct the environment with `config` and connect it; sets both spaces."""
        deadline_s = time.monotonic() + wait_s
        steps = self._steps = self._steps or self._connect(deadline_s)
        with self._words():
            steps.construct(config, deadline_s - time.monotonic())
            steps.attach(server, max(0.1, deadline_s - time.monotonic()))
            steps.share(max(0.1, deadline_s - time.monotonic()))

    def reset(
        self, seed: int | None, wait_s: float, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; returns its first observation and info."""
        with self._words():
            return self.steps.reset(seed, wait_s, options)

    def step(self, action: Any, wait_s: float) -> StepResult:
        """Take an action; returns observation, reward, terminated, truncated, info as Gymnasium does."""
        with self._words():
            return self.steps.step(action, wait_s)

    def receive_now(self) -> tuple[Reply, dict[str, Array]] | None:
        """The reply to what was sent by `steps`, if it is there."""
        with self._words():
            return self.steps.receive_now()

    def kill(self) -> None:
        """End the host at once, also from another thread; `close` is still due."""
        self._process.kill()

    def ended_by_itself(self) -> str | None:
        """How the host ended, if it did."""
        return f"the env host {self.pid} ended: {self._exit()}" if self._ended(0.1) else None

    def leave(self) -> None:
        """Ask the host to end, without waiting; `close` is still due."""
        if self._left_s is None:
            self._left_s = time.monotonic()
            self._process.terminate()

    def close(self, kill: bool = False) -> None:
        """End the host and remove its sockets; `kill` does not give it time. May be called again."""
        if self._pidfd < 0:
            return
        if not kill:
            self.leave()
            assert self._left_s is not None
            kill = not self._ended(max(0.0, self._left_s + _CLOSE_GRACE_S - time.monotonic()))
        if kill:
            self._process.kill()
        self._process.wait()
        os.close(self._pidfd)
        self._pidfd = -1
        if self._steps is not None:
            self._steps.close()
        for endpoint in (self._endpoint, self.telemetry):
            Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _connect(self, deadline_s: float) -> Steps:
        while True:
            with contextlib.suppress(SessionLostError):
                return Steps(self._endpoint)
            if self._ended(_RETRY_S):
                raise SessionLostError(f"the env host {self.pid} ended: {self._exit()}")
            if time.monotonic() > deadline_s:
                raise SessionLostError(f"the env host {self.pid} did not open its door in time")

    @contextlib.contextmanager
    def _words(self) -> Any:
        """Says how the host ended where it did."""
        try:
            yield
        except SessionLostError as error:
            if self._ended(0.1):
                raise SessionLostError(f"the env host {self.pid} ended: {self._exit()}") from error
            raise

    def _ended(self, within_s: float) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

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

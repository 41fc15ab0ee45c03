"""A session for any Python program: an environment that carlad hosts on a server of its own.

    with carlad.session("route", {"config": {"route_max_m": 80}}) as env:
        observation, info = env.reset(seed=1)
        observation, reward, terminated, truncated, info = env.step(action)

The session is renewed in the background until the `with` block is left. When its env host or its server
is lost, carlad replaces both; the step or reset that met the loss waits for that, and a lost step returns
the last observation, reward 0, `truncated`, and `info["sim_lost"]`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import gymnasium
import msgspec
import numpy as np

from carlad import nodes
from carlad.client import Client
from carlad.endpoints import client_endpoints
from carlad.errors import CarladError, NoDaemonError, RequestError
from carlad.messages import Queued, SessionOpened, Spaces
from carlad.session import spaces
from carlad.session.renewal import Renewal
from carlad.session.steps import EnvironmentFailedError, SessionLostError, StepResult, Steps

REPLY_WITHIN_S = 60.0
_SHARE_WITHIN_S = 10.0
_RETRY_S = 0.1  # while no daemon answers


class SimLost(msgspec.Struct, frozen=True):
    """What `info["sim_lost"]` holds, as a dict. `recovery_s` NaN: there is no replacement yet."""

    cause: str
    server: str
    recovery_s: float = math.nan


class Session:
    """A session that is open, and the connection to the env host that serves it now.

    Blocking and not thread-safe; `close` it. `opened` is what the daemon said last.
    """

    def __init__(self, client: Client, opened: SessionOpened) -> None:
        """Takes over both."""
        self.opened = opened
        self._client = client
        self._renewal = Renewal(client.endpoint, opened.session_id, opened.key, opened.ttl_s)
        self._is_over = False
        try:
            self.steps = self._connect()
        except BaseException:
            self.close()
            raise

    def recover(self, cause: str, on_queued: Callable[[Queued], None] | None = None) -> SessionOpened:
        """Another env host, after this one cannot be used any more; waits until it is there.

        Raises RequestError where the session is over, with the reason, and NoDaemonError.
        """
        self.steps.close()
        connected = False
        while not connected:
            self.opened = self._recovered(cause, on_queued)
            with suppress(CarladError):  # lost again before anybody came
                self.steps = self._connect()
                connected = True
        return self.opened

    def close(self) -> None:
        """Ends the session; without a daemon it ends by its time to live. Idempotent."""
        if self._is_over:
            return
        self._is_over = True
        self._renewal.stop()
        if (steps := getattr(self, "steps", None)) is not None:
            steps.close()
        with suppress(NoDaemonError, RequestError):
            self._client.close_session(self.opened.session_id, self.opened.key)
        self._client.close()

    def _recovered(self, cause: str, on_queued: Callable[[Queued], None] | None) -> SessionOpened:
        """A daemon that is being restarted is waited for, as long as the session lives."""
        opened = self.opened
        while not self._renewal.lost.is_set():
            with suppress(NoDaemonError):
                return self._client.recover_session(
                    opened.session_id, opened.key, opened.host, cause, on_queued
                )
            self._renewal.lost.wait(_RETRY_S)
        raise SessionLostError(f"{opened.session_id} is lost: {self._renewal.lost_reason}")

    def _connect(self) -> Steps:
        steps = Steps(self.opened.steps, self.opened.secret)
        try:
            steps.use(self.opened.observation_space, self.opened.action_space)
            steps.share(_SHARE_WITHIN_S)
        except BaseException:
            steps.close()
            raise
        return steps


class SessionEnv(gymnasium.Env[Any, Any]):
    """A hosted environment. Constructed, it has only asked for its spaces; `reset` opens the session.

    `env`, `config`, `map`, `ttl_s`, `wait_s`, `endpoint`: see `carlad.session`. `reply_within_s`: a step or
    reset that takes longer is a hang, and its host is replaced.
    """

    metadata = {"render_modes": []}

    def __init__(
        self,
        env: str,
        config: dict[str, Any] | None = None,
        map: str | None = None,
        ttl_s: float | None = None,
        wait_s: float = 60.0,
        endpoint: str | None = None,
        reply_within_s: float = REPLY_WITHIN_S,
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = render_mode
        self._terms = env, config or {}, map, ttl_s, wait_s, endpoint
        self._reply_within_s = reply_within_s
        self._session: Session | None = None
        self._last: Any = None
        self._in_episode = False
        found = spaces_of(env, config or {}, endpoint)
        self.observation_space = spaces.build(found.observation_space)
        self.action_space = spaces.build(found.action_space)

    @property
    def opened(self) -> SessionOpened:
        """The session as the daemon sees it. Raises ResetNeeded before the first reset."""
        return self._open().opened

    def open(self) -> None:
        """Take a server now, and not at the first reset. Raises as `carlad.session` does."""
        if self._session is None:
            self._session = open_session(*self._terms)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """A loss on the way is repaired, and the episode begins on the replacement."""
        super().reset(seed=seed)
        self.open()
        session = self._open()
        while (begun := self._begun(session, seed, options)) is None:
            pass
        self._in_episode = True
        self._last, info = begun
        return self._last, info

    def step(self, action: Any) -> StepResult:
        """Raises EnvironmentFailedError for a defect of the environment; `reset` then begins anew."""
        session = self._open()
        if not self._in_episode:
            raise gymnasium.error.ResetNeeded("cannot step outside an episode: call reset() first")
        try:
            result = session.steps.step(fitting(self.action_space, action), self._reply_within_s)
        except SessionLostError as error:
            return self._lost(session, str(error))
        except EnvironmentFailedError as error:
            self._in_episode = False
            self._recover(session, str(error))
            raise
        self._last = result[0]
        self._in_episode = not (result[2] or result[3])
        return result

    def close(self) -> None:
        """Gives everything back. May be called again; a later reset opens another session."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> Session:
        if self._session is None:
            raise gymnasium.error.ResetNeeded("cannot use a session before reset(): it is not open")
        return self._session

    def _begun(self, session: Session, seed: int | None, options: dict[str, Any] | None) -> Any:
        """The first observation and info; None where another env host had to be found instead."""
        try:
            return session.steps.reset(seed, self._reply_within_s, options)
        except SessionLostError as error:
            self._recover(session, str(error))
            return None

    def _recover(self, session: Session, cause: str) -> SessionOpened:
        """A session that is over is given up: the next reset opens another."""
        try:
            return session.recover(cause)
        except CarladError:
            self.close()
            raise

    def _lost(self, session: Session, cause: str) -> StepResult:
        self._in_episode = False
        lost_at_s, server = time.monotonic(), session.opened.server
        opened = self._recover(session, cause)
        lost = SimLost(opened.cause or cause, server, time.monotonic() - lost_at_s)
        return self._last, 0.0, False, True, {"sim_lost": msgspec.to_builtins(lost)}


def session(
    env: str,
    config: dict[str, Any] | None = None,
    map: str | None = None,
    ttl_s: float | None = None,
    wait_s: float = 60.0,
    endpoint: str | None = None,
) -> SessionEnv:
    """An environment on a server of its own; use it as a context manager, or `close` it.

    `env`: a name that the daemon's `session.envs` allows. `config`: the environment's keyword arguments.
    `map`, `ttl_s`, `wait_s`, `endpoint`: as for `carlad.lease`.

    Raises NoDaemonError, WaitedInVainError, or RequestError for anything else that the daemon or the
    environment refuses, in their words.
    """
    opened = SessionEnv(env, config, map, ttl_s, wait_s, endpoint)
    opened.open()
    return opened


def open_session(
    env: str,
    config: dict[str, Any],
    map: str | None,
    ttl_s: float | None,
    wait_s: float,
    endpoint: str | None,
    on_queued: Callable[[Queued], None] | None = None,
) -> Session:
    """Raises as `session` does; `on_queued` as for `carlad.lease`."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(one)) for one in client_endpoints(endpoint)]
        chosen = nodes.choose(clients, map).endpoint
    client = Client(chosen)
    try:
        return Session(client, client.open_session(env, config, map, ttl_s, wait_s, on_queued))
    except BaseException:
        client.close()
        raise


def spaces_of(env: str, config: dict[str, Any], endpoint: str | None) -> Spaces:
    """An environment's spaces, for which it needs no server."""
    with Client(client_endpoints(endpoint)[0]) as client:
        return client.spaces(env, config)


def fitting(space: gymnasium.Space[Any], action: Any) -> Any:
    """An action in the dtype of its space, which policies and Python's own numbers seldom have."""
    if isinstance(space, gymnasium.spaces.Box):
        return np.asarray(action, space.dtype)
    if isinstance(space, gymnasium.spaces.Dict) and isinstance(action, dict):
        return {name: fitting(part, action[name]) for name, part in space.spaces.items() if name in action}
    return np.asarray(action, np.int64)

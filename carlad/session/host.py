"""The env host's work: one environment, one client, one request at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium

from carlad.log import get_logger
from carlad.session import spaces
from carlad.session.arrays import Array
from carlad.session.broadcast import Broadcast
from carlad.session.environment import Attachable, Server
from carlad.session.protocol import (
    Attach,
    Attached,
    Construct,
    Constructed,
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
from carlad.spaces import Space

log = get_logger("carlad.session")

Answer = tuple[Reply, dict[str, Array]]

# What carla 0.9.16's client says in a RuntimeError when the server is at fault and not the caller.
_SIMULATOR_LOST = (
    "time-out of",
    "waiting for the simulator",
    "rpc::timeout",
    "failed to connect",
    "connection",
)


def failure_kind(error: Exception) -> FailureKind:
    """Whose fault an exception out of the environment is: the carla client has only RuntimeError."""
    if isinstance(error, ProtocolError):
        return FailureKind.BAD_REQUEST
    if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SIMULATOR_LOST):
        return FailureKind.SIMULATOR_LOST
    return FailureKind.ENVIRONMENT_ERROR


class Host:
    """Does requests on the environment that `make` constructs, and never raises for what they hold."""

    def __init__(
        self, make: Callable[..., gymnasium.Env[Any, Any]], broadcast: Broadcast | None = None
    ) -> None:
        self._make = make
        self._broadcast = broadcast
        self._env: gymnasium.Env[Any, Any] | None = None
        self._spaces: Constructed | None = None
        self._attached = False
        self._in_episode = False
        self._lost: Failed | None = None

    @property
    def simulator_lost(self) -> bool:
        """Whether the server stopped answering; each call into the client now waits its full time-out."""
        return self._lost is not None

    def answer(self, request: Request, arrays: dict[str, Array]) -> Answer:
        """Do the request. What goes wrong is an answer too."""
        if self._lost is not None:
            return self._lost, {}
        try:
            return self._do(request, arrays)
        except Exception as error:  # whatever a user's environment raises is reported, never fatal here
            return self._failed(error), {}

    def is_held(self) -> bool:
        """Whether a viewer has the session stand still, so that the next step is to wait."""
        return (
            self._broadcast is not None
            and self._env is not None
            and self._lost is None
            and (self._broadcast.is_held(self._env.unwrapped))
        )

    def close(self) -> None:
        """Close the environment, unless its server is gone: then nothing could be put in order there."""
        if self._env is not None and not self.simulator_lost:
            self._env.close()
        if self._broadcast is not None:
            self._broadcast.close()

    def _do(self, request: Request, arrays: dict[str, Array]) -> Answer:
        if isinstance(request, Step):
            return self._step(arrays)
        if isinstance(request, Reset):
            return self._reset(request)
        if isinstance(request, Construct):
            return self._construct(request), {}
        if isinstance(request, Attach):
            return self._attach(request), {}
        raise ProtocolError(f"cannot answer {type(request).__name__}")

    @property
    def observation_space(self) -> Space | None:
        return self._spaces.observation_space if self._spaces is not None else None

    def _construct(self, request: Construct) -> Constructed:
        if self._env is not None:
            raise ProtocolError("cannot construct twice: start another host")
        env = self._make(**request.config)
        self._spaces = Constructed(
            observation_space=spaces.describe(env.observation_space),
            action_space=spaces.describe(env.action_space),
        )
        self._env = env
        return self._spaces

    def _attach(self, request: Attach) -> Attached:
        if self._env is None:
            raise ProtocolError("cannot attach before Construct")
        if self._attached:
            raise ProtocolError("cannot attach twice: start another host")
        server = Server(request.host, request.rpc_port, request.traffic_manager_port, request.map)
        if isinstance(self._env.unwrapped, Attachable):
            self._env.unwrapped.attach(server)
        self._attached = True
        if self._broadcast is not None:
            self._broadcast.attached(self._env.unwrapped)
        return Attached()

    def _reset(self, request: Reset) -> Answer:
        if self._env is None or not self._attached:
            raise ProtocolError("cannot reset before Attach")
        observation, info = self._env.reset(seed=request.seed, options=request.options or None)
        self._in_episode = True
        if self._broadcast is not None:
            self._broadcast.reset(self._env.unwrapped)
        return ResetDone(info), spaces.to_arrays(observation)

    def _step(self, arrays: dict[str, Array]) -> Answer:
        if self._env is None or self._spaces is None or not self._in_episode:
            raise ProtocolError("cannot step outside an episode: send Reset first")
        action = spaces.from_arrays(self._spaces.action_space, arrays, "action")
        observation, reward, terminated, truncated, info = self._env.step(action)
        reply = Stepped(float(reward), bool(terminated), bool(truncated), info)
        self._in_episode = not (reply.terminated or reply.truncated)
        if self._broadcast is not None:
            self._broadcast.stepped(self._env.unwrapped, reply)
        return reply, spaces.to_arrays(observation)

    def _failed(self, error: Exception) -> Failed:
        kind = failure_kind(error)
        failed = Failed(
            kind, f"{type(error).__name__}: {error}" if kind is not FailureKind.BAD_REQUEST else str(error)
        )
        if kind is FailureKind.SIMULATOR_LOST:
            self._lost = failed
            if self._broadcast is not None and self._env is not None:
                self._broadcast.lost(self._env.unwrapped, str(error))
        elif kind is FailureKind.ENVIRONMENT_ERROR:
            log.exception("environment.failed")
        return failed

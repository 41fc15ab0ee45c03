"""Several environment sessions at once, none of which can hold up the others."""

from __future__ import annotations

import enum
import math
import os
import queue
import select
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium

from carlad.errors import WaitedInVainError
from carlad.log import get_logger
from carlad.session.arrays import Array
from carlad.session.protocol import Reply, ResetDone, Stepped
from carlad.session.steps import EnvironmentFailedError, SessionLostError, Steps
from trainer.opening import Opened, Opening, SessionConfig
from trainer.servers import Servers

log = get_logger("carlad.trainer")

_POLL_S = 0.2  # how soon `stop` is looked at
_DEFECTS_MAX = 3  # errors raised by a member's environment since its last finished episode


class Began(NamedTuple):
    """The member's episode began; it waits for `act`."""

    member: int
    observation: Array


class Moved(NamedTuple):
    """The member took a step. It waits for `act`, or is IDLE where the episode ended.

    A lost simulator gives one last step: the last observation again, reward 0, truncated, and
    `info["sim_lost"]` = {"cause": str, "server": "host:port", "recovery_s": float}. It comes once the
    replacement is there.
    """

    member: int
    observation: Array
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


Event = Began | Moved


class Phase(enum.Enum):
    """What a member is doing."""

    OPENING = "opening"  # a server and a session are sought in the background
    IDLE = "idle"  # waits for a reset
    RESETTING = "resetting"
    READY = "ready"  # has shown an observation and waits for an action
    STEPPING = "stepping"


class _Loss(NamedTuple):
    cause: str
    server: str
    at_s: float
    in_episode: bool


@dataclass
class _Member:
    index: int
    directory: Path
    opening: Opening | None = None
    opened: Opened | None = None
    phase: Phase = Phase.OPENING
    observation: Array | None = None
    deadline_s: float = math.inf
    loss: _Loss | None = None
    defects: int = 0
    last_error: str = ""


class SessionVector:
    """`count` environment sessions. One thread drives them by `events`, `reset` and `act`, and closes them.

    A member whose server, host or environment fails gets a new server and session in the background, while
    the others are stepped on. `act` and `reset` do nothing for it.
    """

    def __init__(self, count: int, servers: Servers, config: SessionConfig) -> None:
        self.losses = 0  # of servers and hosts so far, replaced or not yet
        self._servers, self._config = servers, config
        self._reports: queue.SimpleQueue[tuple[int, Opened | Exception]] = queue.SimpleQueue()
        self._news: list[Event] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._poller = select.poll()
        self._poller.register(self._wake, select.POLLIN)
        self._members = [_Member(i, Path(tempfile.mkdtemp(prefix="carlad-session-"))) for i in range(count)]
        for member in self._members:
            self._open(member, None)

    @property
    def telemetry(self) -> list[str]:
        """The members' telemetry endpoints, which stay the same when a session is replaced."""
        return [f"ipc://{member.directory}/telemetry" for member in self._members]

    def phases(self) -> list[Phase]:
        """What each member is doing."""
        return [member.phase for member in self._members]

    def spaces(
        self, wait_s: float, stop: Callable[[], bool]
    ) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]] | None:
        """Observation and action space, as soon as there is a session; None if `stop` said so first.

        Raises what kept all members from getting one: CarladError, ProtocolError or OSError. That no server
        is free is borne for `wait_s`.
        """
        deadline_s = time.monotonic() + wait_s
        while not (sessions := [member.opened.session for member in self._members if member.opened]):
            if stop():
                return None
            if (report := self._next_report(_POLL_S)) is None or isinstance(report, Opened):
                continue
            is_final = not isinstance(report, WaitedInVainError) or time.monotonic() > deadline_s
            if is_final and all(member.last_error for member in self._members):
                raise report
        observation, action = sessions[0].observation_space, sessions[0].action_space
        assert observation is not None
        assert action is not None
        return observation, action

    def events(self, wait_s: float) -> list[Event]:
        """What happened since the last call; waits up to `wait_s` for the first.

        Raises EnvironmentFailedError for an environment that fails again and again, and ProtocolError for an
        action that is none.
        """
        ready = {fd for fd, _ in self._poller.poll(0 if self._news else round(wait_s * 1000))}
        if self._wake in ready:
            os.eventfd_read(self._wake)
        while self._next_report(0.0) is not None:
            pass
        now_s = time.monotonic()
        for member in self._members:
            if member.opened is not None:
                self._look_at(member, member.opened, ready, now_s)
        news, self._news = self._news, []
        return news

    def reset(self, index: int, seed: int) -> None:
        """Begin an episode, also in the middle of one; `Began` comes when it did."""
        member = self._members[index]
        self._request(member, lambda steps: steps.send_reset(seed), Phase.RESETTING)

    def act(self, index: int, action: Array) -> None:
        """Take a step with `action`; `Moved` comes when it is done."""
        self._request(self._members[index], lambda steps: steps.send_step(action), Phase.STEPPING)

    def close(self) -> None:
        """End all sessions, give back all servers, leave nothing behind."""
        for member in self._members:
            if member.opening is not None:
                member.opening.cancel()
            if member.opened is not None:
                member.opened.session.leave()
        for member in self._members:
            if member.opened is not None:
                member.opened.close()
            if member.opening is not None:
                member.opening.join()
        while not self._reports.empty():
            if isinstance(report := self._reports.get()[1], Opened):
                report.close()
        os.close(self._wake)
        for member in self._members:
            shutil.rmtree(member.directory, ignore_errors=True)

    def _request(self, member: _Member, send: Callable[[Steps], None], to: Phase) -> None:
        if member.opened is None:
            return  # lost in the meantime
        assert member.phase in (Phase.IDLE, Phase.READY), f"{to} from {member.phase}"
        try:
            send(member.opened.session.steps)
        except SessionLostError as error:
            self._lose(member, member.opened, str(error))
            return
        member.phase = to
        member.deadline_s = time.monotonic() + self._config.reply_within_s

    def _look_at(self, member: _Member, opened: Opened, ready: set[Any], now_s: float) -> None:
        """Take in the member's reply or the loss of what it stands on."""
        session = opened.session
        try:
            if session.steps.fileno() in ready:
                if (reply := session.receive_now()) is not None:
                    self._reply(member, *reply)
            elif (cause := opened.held.lost()) is not None:
                self._lose(member, opened, cause)
            elif now_s > member.deadline_s:
                self._lose(member, opened, f"no reply within {self._config.reply_within_s:g} s")
        except SessionLostError as error:
            self._lose(member, opened, str(error))
        except EnvironmentFailedError as error:
            self._note_defect(member, error)
            self._lose(member, opened, str(error))

    def _reply(self, member: _Member, reply: Reply, arrays: dict[str, Array]) -> None:
        assert member.opened is not None
        member.deadline_s = math.inf
        member.observation = member.opened.session.steps.observation(arrays)
        if isinstance(reply, ResetDone):
            member.phase = Phase.READY
            self._news.append(Began(member.index, member.observation))
        elif isinstance(reply, Stepped):
            ended = reply.terminated or reply.truncated
            member.phase = Phase.IDLE if ended else Phase.READY
            member.defects = 0 if ended else member.defects
            self._news.append(
                Moved(
                    member.index,
                    member.observation,
                    reply.reward,
                    reply.terminated,
                    reply.truncated,
                    reply.info,
                )
            )

    def _lose(self, member: _Member, opened: Opened, cause: str) -> None:
        """Give up the member's session, and look for another."""
        server = f"{opened.held.server.host}:{opened.held.server.rpc_port}"
        log.warning("session.lost", env=member.index, server=server, cause=cause)
        self.losses += 1
        in_episode = member.phase in (Phase.READY, Phase.STEPPING)
        member.loss = _Loss(cause, server, time.monotonic(), in_episode)
        self._poller.unregister(opened.session.steps)
        self._open(member, opened)

    def _open(self, member: _Member, old: Opened | None) -> None:
        member.phase, member.opened, member.deadline_s = Phase.OPENING, None, math.inf
        member.opening = Opening(
            member.index, self._servers, self._config, member.directory, old, self._report
        )

    def _report(self, index: int, report: Opened | Exception) -> None:
        """Called by the opening's thread."""
        self._reports.put((index, report))
        os.eventfd_write(self._wake, 1)

    def _next_report(self, wait_s: float) -> Opened | Exception | None:
        """Take in the next report of an opening, and return it; None if none comes in time."""
        try:
            index, report = self._reports.get(timeout=wait_s)
        except queue.Empty:
            return None
        self._take(self._members[index], report)
        return report

    def _take(self, member: _Member, report: Opened | Exception) -> None:
        """Take in how the member's opening goes."""
        if isinstance(report, Exception):
            if isinstance(report, EnvironmentFailedError):
                self._note_defect(member, report)
            if str(report) != member.last_error:
                log.warning("session.missing", env=member.index, reason=report)
            member.last_error = str(report)
            return
        assert member.opening is not None
        member.opening.join()
        member.opening, member.opened, member.phase, member.last_error = None, report, Phase.IDLE, ""
        self._poller.register(report.session.steps, select.POLLIN)
        if member.loss is not None:
            self._recovered(member, member.loss, report)

    def _recovered(self, member: _Member, loss: _Loss, opened: Opened) -> None:
        recovery_s = time.monotonic() - loss.at_s
        server = f"{opened.held.server.host}:{opened.held.server.rpc_port}"
        log.info("session.recovered", env=member.index, server=server, recovery_s=recovery_s)
        member.loss = None
        if loss.in_episode:
            assert member.observation is not None
            sim_lost = {"cause": loss.cause, "server": loss.server, "recovery_s": recovery_s}
            self._news.append(
                Moved(member.index, member.observation, 0.0, False, True, {"sim_lost": sim_lost})
            )

    def _note_defect(self, member: _Member, error: EnvironmentFailedError) -> None:
        member.defects += 1
        if member.defects >= _DEFECTS_MAX:
            raise error

"""Several environment sessions at once, none of which can hold up the others."""

from __future__ import annotations

import enum
import math
import os
import queue
import select
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium

from carlad.errors import WaitedInVainError
from carlad.log import get_logger
from carlad.session.arrays import Array
from carlad.session.opening import Opening
from carlad.session.protocol import Held, Reply, ResetDone, Stepped
from carlad.session.sources import Hosted, Source
from carlad.session.steps import EnvironmentFailedError, SessionLostError, Steps

log = get_logger(__name__)

_POLL_S = 0.2  # how soon `stop` is looked at
_HANGS_EVERY_S = 0.05
_DEFECTS_MAX = 3  # errors raised by a member's environment since its last finished episode


class Began(NamedTuple):
    """The member's episode began; it waits for `act`."""

    member: int
    observation: Any
    info: dict[str, Any]


class Moved(NamedTuple):
    """The member took a step. It waits for `act`, or is IDLE where the episode ended.

    A lost simulator gives one last step: the last observation again, reward 0, truncated, and
    `info["sim_lost"]` = {"cause": str, "server": "host:port", "recovery_s": float}. It comes once the
    replacement is there.
    """

    member: int
    observation: Any
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


class Loss(NamedTuple):
    """Of an env host, as its client saw it."""

    cause: str
    server: str
    at_s: float
    in_episode: bool


@dataclass
class _Member:
    index: int
    source: Source
    opening: Opening | None = None
    hosted: Hosted | None = None
    telemetry: str | None = None
    phase: Phase = Phase.OPENING
    observation: Any = None
    deadline_s: float = math.inf
    loss: Loss | None = None
    defects: int = 0
    last_error: str = ""


class Members:
    """One environment session for each source. One thread drives them by `events`, `reset` and `act`, and
    closes them.

    A member whose server, host or environment fails gets a new server and host in the background, while the
    others are stepped on. `act` and `reset` do nothing for it.
    """

    def __init__(self, sources: Sequence[Source], reply_within_s: float) -> None:
        """A step or reset that takes longer than `reply_within_s` is a hang."""
        self.losses = 0  # of servers and hosts so far, replaced or not yet
        self._reply_within_s = reply_within_s
        self._reports: queue.SimpleQueue[tuple[int, Hosted | Exception]] = queue.SimpleQueue()
        self._news: list[Event] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._poller = select.poll()
        self._poller.register(self._wake, select.POLLIN)
        self._by_fd: dict[int, _Member] = {}
        self._looked_s = -math.inf
        self._members = [_Member(index, source) for index, source in enumerate(sources)]
        for member in self._members:
            self._open(member, None)

    @property
    def telemetry(self) -> list[str | None]:
        """The members' telemetry endpoints, as far as they were ever there; they seldom change."""
        return [member.telemetry for member in self._members]

    @property
    def errors(self) -> list[str]:
        """What keeps each member from getting an env host; empty where nothing does."""
        return [member.last_error for member in self._members]

    def loss(self, index: int) -> Loss | None:
        """Of the member that is without an env host now."""
        return self._members[index].loss

    def are_failing(self, indices: Collection[int]) -> bool:
        """Whether each of these is without an env host, and was refused one."""
        return all(self._members[index].last_error for index in indices)

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
        while not (hosted := [member.hosted for member in self._members if member.hosted]):
            if stop():
                return None
            if (report := self._next_report(_POLL_S)) is None or isinstance(report, Hosted):
                continue
            is_final = not isinstance(report, WaitedInVainError) or time.monotonic() > deadline_s
            if is_final and all(member.last_error for member in self._members):
                raise report
        observation, action = hosted[0].steps.observation_space, hosted[0].steps.action_space
        assert observation is not None
        assert action is not None
        return observation, action

    def events(self, wait_s: float) -> list[Event]:
        """What happened since the last call; waits up to `wait_s` for the first.

        Raises EnvironmentFailedError for an environment that fails again and again, and ProtocolError for an
        action that is none.
        """
        ready = self._poller.poll(0 if self._news else round(wait_s * 1000))
        for fd, _ in ready:
            if fd == self._wake:
                os.eventfd_read(self._wake)
                while self._next_report(0.0) is not None:
                    pass
            elif (member := self._by_fd.get(fd)) is not None and member.hosted is not None:
                self._receive(member, member.hosted)
        self._look_for_hangs(time.monotonic())
        news, self._news = self._news, []
        return news

    def reset(self, index: int, seed: int | None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode, also in the middle of one; `Began` comes when it did."""
        member = self._members[index]
        self._request(member, lambda steps: steps.send_reset(seed, options), Phase.RESETTING)

    def act(self, index: int, action: Any) -> None:
        """Take a step with `action`; `Moved` comes when it is done."""
        self._request(self._members[index], lambda steps: steps.send_step(action), Phase.STEPPING)

    def close(self) -> None:
        """End all sessions, give back all servers, leave nothing behind."""
        for member in self._members:
            if member.opening is not None:
                member.opening.cancel()
            if member.hosted is not None:
                member.source.leave()
        for member in self._members:
            if member.opening is not None:
                member.opening.join()
            member.source.close()
        os.close(self._wake)

    def _request(self, member: _Member, send: Callable[[Steps], None], to: Phase) -> None:
        if member.hosted is None:
            return  # lost in the meantime
        assert member.phase in (Phase.IDLE, Phase.READY), f"{to} from {member.phase}"
        try:
            send(member.hosted.steps)
        except SessionLostError as error:
            self._lose(member, member.hosted, str(error))
            return
        member.phase = to
        member.deadline_s = time.monotonic() + self._reply_within_s

    def _receive(self, member: _Member, hosted: Hosted) -> None:
        """Take in the member's reply, or the loss of what it stands on."""
        try:
            if (reply := hosted.steps.receive_now()) is not None:
                self._reply(member, hosted, *reply)
        except SessionLostError as error:
            self._lose(member, hosted, str(error))
        except EnvironmentFailedError as error:
            self._note_defect(member, error)
            self._lose(member, hosted, str(error))

    def _look_for_hangs(self, now_s: float) -> None:
        """Now and then: a look at all members takes longer than a step's reply."""
        if now_s < self._looked_s + _HANGS_EVERY_S:
            return
        self._looked_s = now_s
        for member in self._members:
            if member.hosted is not None and now_s > member.deadline_s:
                self._lose(member, member.hosted, f"no reply within {self._reply_within_s:g} s")

    def _reply(self, member: _Member, hosted: Hosted, reply: Reply, arrays: dict[str, Array]) -> None:
        if isinstance(reply, Held):
            member.deadline_s = time.monotonic() + self._reply_within_s
            return
        member.deadline_s = math.inf
        member.observation = hosted.steps.observation(arrays)
        if isinstance(reply, ResetDone):
            member.phase = Phase.READY
            self._news.append(Began(member.index, member.observation, reply.info))
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

    def _lose(self, member: _Member, hosted: Hosted, cause: str) -> None:
        """Give up the member's env host, and look for another."""
        log.warning("session.lost", env=member.index, server=hosted.server, cause=cause)
        self.losses += 1
        in_episode = member.phase in (Phase.READY, Phase.STEPPING)
        member.loss = Loss(cause, hosted.server, time.monotonic(), in_episode)
        self._poller.unregister(hosted.steps)
        del self._by_fd[hosted.steps.fileno()]
        self._open(member, cause)

    def _open(self, member: _Member, cause: str | None) -> None:
        member.phase, member.hosted, member.deadline_s = Phase.OPENING, None, math.inf
        member.opening = Opening(member.index, member.source, cause, self._report)

    def _report(self, index: int, report: Hosted | Exception) -> None:
        """Called by the opening's thread."""
        self._reports.put((index, report))
        os.eventfd_write(self._wake, 1)

    def _next_report(self, wait_s: float) -> Hosted | Exception | None:
        """Take in the next report of an opening, and return it; None if none comes in time."""
        try:
            index, report = self._reports.get(timeout=wait_s)
        except queue.Empty:
            return None
        self._take(self._members[index], report)
        return report

    def _take(self, member: _Member, report: Hosted | Exception) -> None:
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
        member.opening, member.hosted, member.phase, member.last_error = None, report, Phase.IDLE, ""
        member.telemetry = report.telemetry
        self._poller.register(report.steps, select.POLLIN)
        self._by_fd[report.steps.fileno()] = member
        if member.loss is not None:
            self._recovered(member, member.loss, report)

    def _recovered(self, member: _Member, loss: Loss, hosted: Hosted) -> None:
        recovery_s = time.monotonic() - loss.at_s
        log.info("session.recovered", env=member.index, server=hosted.server, recovery_s=recovery_s)
        member.loss = None
        if loss.in_episode:
            cause = hosted.cause or loss.cause
            sim_lost = {"cause": cause, "server": loss.server, "recovery_s": recovery_s}
            self._news.append(
                Moved(member.index, member.observation, 0.0, False, True, {"sim_lost": sim_lost})
            )

    def _note_defect(self, member: _Member, error: EnvironmentFailedError) -> None:
        member.defects += 1
        if member.defects >= _DEFECTS_MAX:
            raise error

"""Does a server's game thread still answer, and if not, why?

What is asked is the episode's settings: a real server answers `version` from a worker thread while its
game thread hangs. An answer is all that can be asked of a server that somebody holds: one that its holder
has paused, in synchronous mode without a tick, answers and is well. No stream is opened: a subscriber that
stalls can freeze a synchronous world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol, cast

import msgspec
import trio

from carlad.config import ProbeSection
from carlad.errors import ServerError
from carlad.fleet.effort import Effort, Work, effort_of
from carlad.fleet.reach import Reach
from carlad.rpc import RpcClient
from carlad.wire.errors import CallError
from carlad.wire.types import EpisodeSettings

# A tick may wait for ever for what only leaving synchronous mode ends (carla-simulator/carla issue 8407):
# worth a second, but not worth to be done again and again.
REVIVE_MAX_S = 1.0
REVIVALS_MAX = 3


class HungError(ServerError):
    """It does not answer, and nothing that it does explains that."""


class Listener(Protocol):
    async def heard(self, settings: EpisodeSettings | None, after_s: float) -> None:
        """The server has answered, `after_s` after the question. None: it has no episode yet, as while its
        holder loads a map."""

    def revived(self) -> None:
        """It hung, until it was put into asynchronous mode for a moment."""


class Ignored:
    """A listener for who waits for the hang alone."""

    async def heard(self, settings: EpisodeSettings | None, after_s: float) -> None: ...

    def revived(self) -> None: ...


class Heard(Enum):
    """Of a server that is silent now."""

    ANSWER = "before the silence"
    NOTHING = "neither answer nor refusal"
    REFUSAL = "of a connection, which a server that is merely busy takes"


class Silence:
    """Judges a server that does not answer by what its processes do meanwhile. Pure."""

    def __init__(self, config: ProbeSection, now_s: float) -> None:
        self._config = config
        self._since_s = now_s
        self._computes_since_s = now_s
        self._still = 0  # probes in a row during which nothing was done at all

    def goes_on(self, heard: Heard, work: Work, now_s: float) -> str | None:
        """Another probe without an answer, during which `work` was done; what that means, if anything."""
        idle = work is Work.NONE or heard is Heard.REFUSAL
        self._still = self._still + 1 if idle else 0
        if work is not Work.COMPUTES:
            self._computes_since_s = now_s
        config = self._config
        if self._still >= config.failures and heard is Heard.REFUSAL:
            return f"takes no connection: refused {self._still} times in a row"
        if self._still >= config.failures:
            return f"hung: no answer to {self._still} probes in a row, {config.timeout_s:g} s each"
        if now_s - self._computes_since_s >= config.loop_max_s:
            return f"hung in a loop: it computes, loads nothing, and is silent for {config.loop_max_s:g} s"
        if now_s - self._since_s >= config.load_max_s:
            return f"busy without an answer for {config.load_max_s:g} s"
        return None


async def stay_alive(
    reach: Reach, tree: Callable[[], Iterable[int]], config: ProbeSection, listener: Listener
) -> None:
    """Asks for ever. Raises HungError where the server hangs, see `Silence`.

    One that hangs in synchronous mode is taken out of it for a moment first, which may help.
    """
    watch = _Watch(reach, tree, config, listener)
    for _ in range(REVIVALS_MAX):
        why = await watch.until_hung()
        if not await watch.revive():
            raise HungError(why)
        listener.revived()
    raise HungError(await watch.until_hung())


class _Watch:
    def __init__(
        self, reach: Reach, tree: Callable[[], Iterable[int]], config: ProbeSection, listener: Listener
    ) -> None:
        self._reach = reach
        self._tree = tree
        self._config = config
        self._listener = listener
        self._settings: EpisodeSettings | None = None  # as it said last

    async def until_hung(self) -> str:
        """Returns with what is wrong."""
        silence = Silence(self._config, trio.current_time())
        while True:
            asked_at_s, before = trio.current_time(), effort_of(self._tree())
            heard = await self._ask_until_silent()
            now_s = trio.current_time()
            if heard is Heard.ANSWER:
                silence, work = Silence(self._config, now_s), Work.NONE  # most was done before the silence
            else:
                work = self._work_since(before, now_s - asked_at_s)
            if (why := silence.goes_on(heard, work, now_s)) is not None:
                return why

    def _work_since(self, before: Effort, seconds: float) -> Work:
        """Of processes that cannot be seen the best is hoped."""
        pids = tuple(self._tree())
        return effort_of(pids).work_since(before, seconds) if pids else Work.LOADS

    async def revive(self) -> bool:
        """By asynchronous mode, from another connection; the holder's settings are put back then."""
        settings = self._settings
        if settings is None or not settings.synchronous_mode:
            return False
        asynchronous = msgspec.structs.replace(settings, synchronous_mode=False)
        try:
            with trio.move_on_after(REVIVE_MAX_S):
                async with self._reach.rpc() as rpc:
                    await rpc.call("set_episode_settings", asynchronous)
                    await rpc.call("set_episode_settings", settings)
                    return True
        except (CallError, ServerError):
            pass
        return False

    async def _ask_until_silent(self) -> Heard:
        config, heard = self._config, Heard.NOTHING
        try:
            with trio.fail_after(config.timeout_s) as patience:
                async with self._reach.rpc() as rpc:
                    while True:
                        asked_at_s = trio.current_time()
                        settings = await _settings(rpc)
                        after_s = trio.current_time() - asked_at_s
                        heard, patience.deadline = Heard.ANSWER, float("inf")
                        self._settings = settings or self._settings
                        await self._listener.heard(settings, after_s)
                        patience.deadline = trio.current_time() + config.period_s + config.timeout_s
                        await trio.sleep(config.period_s)
        except trio.TooSlowError:
            return heard
        except ServerError:  # refused or closed, which takes no time
            await trio.sleep(config.period_s)
            return Heard.REFUSAL if heard is Heard.NOTHING else heard


async def _settings(rpc: RpcClient) -> EpisodeSettings | None:
    try:
        return cast(EpisodeSettings, await rpc.call("get_episode_settings"))
    except CallError:  # "episode not ready": an answer
        return None

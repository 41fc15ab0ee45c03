"""Is a server what it should be? By raw RPC, never through the `carla` package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
import trio

from carlad.config import ProbeSection
from carlad.errors import ServerError
from carlad.fleet.backends.interface import Serving
from carlad.fleet.ports import Ports
from carlad.fleet.reach import Reach
from carlad.rpc import RpcClient
from carlad.wire import CARLA_VERSION
from carlad.wire.errors import CallError

T = TypeVar("T")

_ALL_LAYERS = 0xFFFF
# How often to look whether a server that starts or loads is there. There is no event for either.
_LOOK_AGAIN_S = 0.05


class UnfitError(ServerError):
    """Another incarnation of the same server would be no better."""


class Checked(msgspec.Struct, frozen=True):
    """What a server said of itself; `map` and `maps` are short names. `pid`: who listens, if it is known."""

    pid: int | None
    map: str
    maps: frozenset[str]


async def check_start(
    reach: Reach, listener: Callable[[Ports], Serving | None], wanted_map: str, config: ProbeSection
) -> Checked:
    """Waits until a server that was just started can be leased, for `config.start_max_s` at most.

    Its ports belong to its own processes, it is CARLA of our version, has `wanted_map` if that is not
    empty, is asynchronous, and its world ticks. `listener` is the server's own, see backends/interface.py.
    Raises ServerError with what is wrong or still missing, UnfitError for another version.
    """
    missing = f"a listener on port {reach.ports.rpc}"
    try:
        with trio.fail_after(config.start_max_s):
            await _until(partial(_is_listening, reach))
            serving = await _until(partial(trio.to_thread.run_sync, listener, reach.ports))
            async with reach.rpc() as rpc:
                missing = "an answer"
                maps = await _check_identity(rpc)
                name = await _with_map(rpc, wanted_map, config.load_max_s)
            missing = "a tick of its world"
            await check_ticks(reach)
    except trio.TooSlowError:
        raise ServerError(
            f"not ready {config.start_max_s:g} s after its start: {missing} is missing"
        ) from None
    return Checked(serving.pid, name, maps | {name})


async def load_map(reach: Reach, name: str, load_max_s: float) -> str:
    """Loads a map and returns its short name once the world ticks in it. Raises ServerError."""
    async with reach.rpc() as rpc:
        loaded = await load(rpc, name, load_max_s)
    await check_ticks(reach)
    return loaded


def short_name(path: str) -> str:
    """`Town01` of `/Game/Carla/Maps/Town01`."""
    return path.rpartition("/")[2]


async def _is_listening(reach: Reach) -> bool | None:
    try:
        async with reach.rpc():
            return True
    except ServerError:
        return None


async def _check_identity(rpc: RpcClient) -> frozenset[str]:
    """The short names of its maps."""
    version = await _ask(rpc, "version")
    if version != CARLA_VERSION:
        raise UnfitError(f"it is CARLA {version}, carlad speaks to {CARLA_VERSION} only")
    if (await _ask(rpc, "get_episode_settings")).synchronous_mode:
        raise ServerError("it started in synchronous mode: it would wait for a client that nobody is yet")
    return frozenset(short_name(name) for name in await _ask(rpc, "get_available_maps"))


async def _with_map(rpc: RpcClient, wanted_map: str, load_max_s: float) -> str:
    name = await map_name(rpc)
    if wanted_map and name != short_name(wanted_map):
        return await load(rpc, wanted_map, load_max_s)
    return name


async def _ask(rpc: RpcClient, name: str) -> Any:
    """As `rpc.call`, but waits while the server has no episode yet."""
    return await _until(partial(_answer, rpc, name))


async def _answer(rpc: RpcClient, name: str) -> Any | None:
    try:
        return await rpc.call(name)
    except CallError:
        return None


async def _until(attempt: Callable[[], Awaitable[T | None]]) -> T:
    """There is no event for what happens inside another process: this polls."""
    while (result := await attempt()) is None:  # noqa: ASYNC110
        await trio.sleep(_LOOK_AGAIN_S)
    return result


async def map_name(rpc: RpcClient) -> str:
    return short_name((await _ask(rpc, "get_map_info")).name)


async def load(rpc: RpcClient, name: str, load_max_s: float) -> str:
    """The call returns at once; the new world is there when the episode has another id."""
    try:
        with trio.fail_after(load_max_s):
            before = (await _ask(rpc, "get_episode_info")).episode_id
            await rpc.call("load_new_episode", name, True, _ALL_LAYERS)
            await _until(partial(_other_episode, rpc, before))
            loaded = await map_name(rpc)
    except trio.TooSlowError:
        raise ServerError(f"cannot load {name}: not done after {load_max_s:g} s") from None
    except CallError as error:
        raise ServerError(f"cannot load {name}: {error}") from error
    if loaded != short_name(name):
        raise ServerError(f"cannot load {name}: the server has {loaded} instead")
    return loaded


async def _other_episode(rpc: RpcClient, before: int) -> int | None:
    now = int((await _ask(rpc, "get_episode_info")).episode_id)
    return None if now == before else now


async def check_ticks(reach: Reach) -> None:
    """Returns when a tick was seen. Raises ServerError."""
    async with reach.world() as world:
        first = (await world.snapshot()).frame
        while (await world.snapshot()).frame == first:
            pass

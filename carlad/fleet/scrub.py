"""Makes a server that was given back what it was when it became READY, without restarting it.

CARLA knows no users: whoever has a connection may command. So a scrub waits until nobody but us is
connected, puts everything back, verifies it by looking, and counts only if nobody came meanwhile. The
world stands in synchronous mode for so long, which makes it quick: a look costs a tick, not a wait for one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec
import trio

from carlad.errors import ServerError
from carlad.fleet.baseline import Baseline, difference, in_order_of_destruction, record
from carlad.fleet.connections import Connection
from carlad.fleet.ports import LOOPBACK, can_bind, describe_listener
from carlad.fleet.probe import load
from carlad.fleet.reach import Reach
from carlad.fleet.visitors import Visitors, one_of
from carlad.rpc import RpcClient, WorldObserver
from carlad.rpc.client import Question
from carlad.wire import types as t
from carlad.wire.commands import ApplyTransform, DestroyActor, encode_command
from carlad.wire.errors import CallError
from carlad.wire.sensors import WorldSnapshot
from carlad.wire.streaming import WORLD_STREAM

MAX_S = 2.0  # what takes longer is quicker replaced
LINGER_MAX_S = 1.0  # for whoever gave the server back to close his connections
# There is no event for what other processes' sockets do.
_LOOK_AGAIN_S = 0.01
# Of looks until destroyed actors have gone: CARLA takes them out of the world a tick later.
_LOOKS_MAX = 10
# A subscription is answered by another thread than the tick: the first tick may come too early for it.
_FIRST_SNAPSHOT_S = 0.1
# Where the official client puts its Traffic Manager if nobody says otherwise, and scripts that count on.
_DEFAULT_TRAFFIC_MANAGERS = tuple(range(8000, 8010))
_TICK_S = 0.001  # so little that physics take one step


class UncleanError(ServerError):
    """The server is well, but it was not possible to make it as it was."""


async def baseline_of(reach: Reach, map: str) -> Baseline:
    """Of a server that was just found to be fit. Raises ServerError."""
    try:
        async with reach.rpc() as rpc:
            async with reach.world() as world:
                snapshot = await world.snapshot()
            return await record(rpc, snapshot, map)
    except CallError as error:
        raise ServerError(f"cannot record what its world is like: {error}") from error


async def scrub(reach: Reach, visitors: Visitors, baseline: Baseline, load_max_s: float) -> Baseline:
    """Returns when the server is as `baseline` says and nobody else is connected.

    A world that the holder loaded is a new one, whose beginning nobody recorded: the map of the baseline
    is loaded anew, for `load_max_s` at most, and the baseline of that world is returned.
    Raises UncleanError, and ServerError where the server does not do what it should.
    """
    linger_until_s = trio.current_time() + LINGER_MAX_S
    try:
        with trio.fail_after(MAX_S) as limit:
            while True:
                await alone(reach, visitors, linger_until_s)
                wanted = baseline
                async with reach.rpc() as rpc, reach.world() as world:
                    if (await rpc.call("get_episode_info")).episode_id != baseline.episode_id:
                        limit.deadline += load_max_s
                        await load(rpc, baseline.map, load_max_s)
                        wanted = await record(rpc, await _first_snapshot(rpc, world), baseline.map)
                    await _restore(rpc, world, reach, wanted)
                came = await visitors.came()
                if not came:  # else `wanted` may be what somebody left in a new world
                    visitors.put_right()
                    return wanted
                if trio.current_time() > linger_until_s:
                    raise UncleanError(await _who_is_there(came))
    except trio.TooSlowError:
        raise UncleanError(f"it took longer than {MAX_S:g} s") from None
    except CallError as error:
        raise UncleanError(f"it refuses: {error}") from error


# --- nobody else is there


async def alone(reach: Reach, visitors: Visitors, until_s: float) -> None:
    """Returns when nobody is connected. Raises UncleanError where somebody is until then."""
    while True:
        there = (await visitors.look()).open
        taken = not can_bind(LOOPBACK, reach.ports.traffic_manager)
        if not (there or taken):
            return
        if trio.current_time() > until_s:
            raise UncleanError(await _who_is_there(there) if there else _who_has(reach.ports.traffic_manager))
        await trio.sleep(_LOOK_AGAIN_S)


async def _who_is_there(found: Collection[Connection]) -> str:
    who, port = await one_of(found)
    return f"{who} is still connected to port {port}"


def _who_has(traffic_manager: int) -> str:
    return f"a Traffic Manager still has port {traffic_manager}: {describe_listener(traffic_manager)}"


# --- everything is put back


async def _restore(rpc: RpcClient, world: WorldObserver, reach: Reach, baseline: Baseline) -> None:
    """Raises UncleanError."""
    await rpc.call("set_episode_settings", _standing_still(baseline.settings))
    found = await _first_snapshot(rpc, world)
    await _put_back(rpc, reach, baseline, found)
    await _verify_world(rpc, world, baseline, found.frame)
    await rpc.call("set_episode_settings", baseline.settings)
    await _verify_values(rpc, reach, baseline)


def _standing_still(settings: t.EpisodeSettings) -> t.EpisodeSettings:
    return msgspec.structs.replace(settings, synchronous_mode=True, fixed_delta_seconds=(True, _TICK_S))


async def _put_back(rpc: RpcClient, reach: Reach, baseline: Baseline, now: WorldSnapshot) -> None:
    """One round for all that is known, so that a server that serves calls once in a tick takes one."""
    found = difference(baseline, now)
    extra = await rpc.call("get_actors_by_id", list(found.extra)) if found.extra else []
    commands: list[t.Wire] = [DestroyActor(actor) for actor in in_order_of_destruction(extra)]
    commands += [ApplyTransform(actor, baseline.poses[actor]) for actor in found.moved]
    await rpc.calls(
        ("stop_recorder",),
        ("stop_replayer", False),
        ("set_replayer_time_factor", 1.0),
        ("set_replayer_ignore_hero", False),
        ("set_replayer_ignore_spectator", True),
        ("apply_batch", [encode_command(command) for command in commands], False),
        ("freeze_all_traffic_lights", False),
        *_retime(baseline, found.retimed),
        ("reset_all_traffic_lights",),
        ("set_weather_parameters", baseline.weather),
        ("set_imui_gravity", baseline.gravity_mps2),
        ("clear_debug_shape",),
        ("clear_debug_string",),
        *(("destroy_traffic_manager", port) for port in _traffic_managers(reach)),
    )


def _retime(baseline: Baseline, lights: Iterable[int]) -> Iterator[Question]:
    for light in lights:
        timing = baseline.lights[light]
        yield "set_traffic_light_green_time", light, timing.green_s
        yield "set_traffic_light_yellow_time", light, timing.yellow_s
        yield "set_traffic_light_red_time", light, timing.red_s


# --- and looked at


async def _first_snapshot(rpc: RpcClient, world: WorldObserver) -> WorldSnapshot:
    await rpc.call("get_sensor_token", WORLD_STREAM)  # as clients do before they subscribe
    await world.subscribe()
    patience_s = _FIRST_SNAPSHOT_S
    while True:
        with trio.move_on_after(patience_s):
            return await _tick(rpc, world, -1)
        patience_s *= 2.0  # a world that is full takes its time


async def _tick(rpc: RpcClient, world: WorldObserver, after: int) -> WorldSnapshot:
    """Of a later frame than `after`. It is read before the answer: the tick waits for its readers."""
    asked = await rpc.ask(("tick_cue",))
    while (snapshot := await world.snapshot()).frame <= after:
        pass
    await rpc.answers(asked)
    return snapshot


def _traffic_managers(reach: Reach) -> tuple[int, ...]:
    return (reach.ports.traffic_manager, *_DEFAULT_TRAFFIC_MANAGERS)


async def _verify_world(rpc: RpcClient, world: WorldObserver, baseline: Baseline, frame: int) -> None:
    """Looks at frames after `frame`. Raises UncleanError."""
    for _ in range(_LOOKS_MAX):
        snapshot = await _tick(rpc, world, frame)
        frame, left = snapshot.frame, str(difference(baseline, snapshot))
        if not left:
            return
    raise UncleanError(left)


async def _verify_values(rpc: RpcClient, reach: Reach, baseline: Baseline) -> None:
    settings, weather, gravity_mps2, *running = await rpc.calls(
        ("get_episode_settings",),
        ("get_weather_parameters",),
        ("get_imui_gravity",),
        *(("is_traffic_manager_running", port) for port in _traffic_managers(reach)),
    )
    for what, now, before in (
        ("settings", settings, baseline.settings),
        ("weather", weather, baseline.weather),
        ("gravity", gravity_mps2, baseline.gravity_mps2),
    ):
        if now != before:
            raise UncleanError(f"its {what} stay {now}")
    if any(running):
        raise UncleanError("it does not forget its Traffic Managers")

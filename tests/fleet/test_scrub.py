"""What holders leave behind on a stand-in, by the official client; and servers that fail while scrubbed."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import msgspec
import pytest
import trio

from carlad.errors import ServerError
from carlad.fleet.baseline import Baseline, difference
from carlad.fleet.ports import Ports
from carlad.fleet.reach import Reach
from carlad.fleet.scrub import UncleanError, baseline_of, scrub
from carlad.fleet.visitors import Visitors
from tests.fleet import holders
from tests.fleet.holders import hold, holding
from tests.fleet.processes import fake_server
from tests.standin.process import standin_process

LOAD_MAX_S = 30.0


class Scrubbed:
    """A server as carlad sees it between two holders."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reach = Reach(Ports(port))
        self.visitors = Visitors(self.reach, lambda: ())

    async def look(self, map: str) -> Baseline:
        with trio.fail_after(10):
            return await baseline_of(self.reach, map)

    async def scrub(self, baseline: Baseline) -> Baseline:
        return await scrub(self.reach, self.visitors, baseline, LOAD_MAX_S)


@pytest.fixture(scope="module")
def server() -> Iterator[Scrubbed]:
    with standin_process("--map", "Town01") as process:
        yield Scrubbed(process.rpc_port)


@pytest.fixture(scope="module")
def baseline(server: Scrubbed) -> Baseline:
    return trio.run(server.look, "Town01")


async def bounded(check: Callable[[], Awaitable[None]]) -> None:
    with trio.fail_after(60):
        await check()


def check_scrub(server: Scrubbed, baseline: Baseline) -> None:
    """After a scrub the server is what it was, in its present episode."""

    async def check() -> None:
        after = await server.scrub(baseline)
        assert after == baseline
        seen = await server.look("Town01")
        assert msgspec.structs.replace(seen, poses={}) == msgspec.structs.replace(baseline, poses={})
        async with server.reach.world() as world:
            assert str(difference(baseline, await world.snapshot())) == ""

    trio.run(bounded, check)


@pytest.mark.parametrize(
    "what",
    [(holders.SETTINGS,), (holders.TRAFFIC,), (holders.RECORDING, holders.FLOOD), (holders.LIGHTS,)],
    ids=["settings", "traffic", "recording-and-actors", "lights"],
)
def test_what_a_holder_left_is_put_back(server: Scrubbed, baseline: Baseline, what: tuple[str, ...]) -> None:
    hold(server.port, *what)
    check_scrub(server, baseline)


@pytest.mark.system
def test_five_hundred_vehicles_are_put_away(server: Scrubbed, baseline: Baseline) -> None:
    hold(server.port, holders.FLOOD, holders.SETTINGS, count=500)
    check_scrub(server, baseline)


def test_the_map_is_loaded_anew_after_a_holder_loaded_another(server: Scrubbed, baseline: Baseline) -> None:
    hold(server.port, holders.OTHER_MAP, holders.SETTINGS)

    async def check() -> None:
        after = await server.scrub(baseline)
        assert after.map == "Town01"
        assert after.episode_id > baseline.episode_id
        seen = await server.look("Town01")
        assert (seen.episode_id, seen.settings, seen.weather) == (
            after.episode_id,
            after.settings,
            after.weather,
        )

    trio.run(bounded, check)


@pytest.mark.parametrize(
    "what", [holders.SETTINGS, holders.RESTLESS, holders.RECONNECTING], ids=["stays", "sends", "reconnects"]
)
def test_a_holder_that_does_not_leave_is_named(what: str) -> None:
    with standin_process() as process, holding(process.rpc_port, what) as holder:
        server = Scrubbed(process.rpc_port)

        async def check() -> None:
            async with server.reach.rpc() as rpc:
                await rpc.call("set_episode_settings", (await rpc.call("get_episode_settings")))
            with pytest.raises(
                UncleanError, match=f"^(process {holder.pid} |127.0.0.1:).* is still connected"
            ):
                await server.scrub(Baseline(1, "", *await settings_of(server), 9.81, {}))

        trio.run(bounded, check)


async def settings_of(server: Scrubbed) -> tuple[object, object]:
    async with server.reach.rpc() as rpc:
        settings, weather = await rpc.calls(("get_episode_settings",), ("get_weather_parameters",))
        return settings, weather


# --- servers that fail in the middle


@pytest.mark.parametrize(
    ("option", "error", "says"),
    [
        ("--refuse=reset_all_traffic_lights", UncleanError, "^it refuses: told to"),
        ("--refuse=tick_cue", UncleanError, "^it refuses: told to"),
        ("--die-at=freeze_all_traffic_lights", ServerError, "the server closed the connection|reset by peer"),
    ],
)
def test_a_server_that_fails_in_the_middle_of_a_scrub_is_not_clean(
    option: str, error: type[Exception], says: str
) -> None:
    check_failure(option, error, says)


@pytest.mark.parametrize("option", ["--hang-at=set_weather_parameters", "--frozen"])
def test_a_scrub_that_takes_too_long_is_given_up(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carlad.fleet.scrub.MAX_S", 2.0)
    check_failure(option, UncleanError, "^it took longer than 2 s")


def check_failure(option: str, error: type[Exception], says: str) -> None:
    with fake_server(option) as (_process, port):
        server = Scrubbed(port)

        async def check() -> None:
            baseline = await server.look("Town01")
            with pytest.raises(error, match=says):
                await server.scrub(baseline)

        trio.run(bounded, check)


def test_a_server_that_stands_still_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carlad.fleet.scrub.MAX_S", 0.5)
    with fake_server() as (process, port):
        server = Scrubbed(port)

        async def check() -> None:
            baseline = await server.look("Town01")
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(UncleanError, match=r"longer than 0\.5 s"):
                await server.scrub(baseline)

        trio.run(bounded, check)


def test_a_traffic_managers_port_that_is_still_taken_is_named(server: Scrubbed) -> None:
    async def check() -> None:
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, trio.aclose_forcefully, server.port + 3, host="127.0.0.1")
            await nursery.start(serve)
            baseline = await server.look("Town01")
            with pytest.raises(UncleanError, match=f"port {server.port + 3}: process {os.getpid()} "):
                await server.scrub(baseline)
            nursery.cancel_scope.cancel()

    trio.run(bounded, check)

"""`make bench NAME=scrub`: a server that was given back, scrubbed against started anew.

A holder leaves a synchronous world, fog, and so many vehicles; what is timed is everything between that
and a server that is checked and nobody else's. The measure is a stand-in's start until it is ready.
"""

from __future__ import annotations

import time
from statistics import median

import trio

from carlad.fleet.baseline import Baseline
from carlad.fleet.ports import Ports
from carlad.fleet.reach import Reach
from carlad.fleet.scrub import baseline_of, scrub
from carlad.fleet.visitors import Visitors
from carlad.rpc import connect
from carlad.wire import types as t
from carlad.wire.commands import SpawnActor, encode_command
from tests.bench.harness import Report
from tests.standin.process import standin_process

STARTS, SCRUBS = 3, 7
VEHICLES = (0, 20, 100)


def main() -> None:
    report = Report("scrub")
    report.add("restart", 1e3 * median(_start_s() for _ in range(STARTS)), "ms")
    with standin_process() as server:
        for vehicles in VEHICLES:
            durations = trio.run(_scrubs_s, Ports(server.rpc_port), vehicles)
            report.add(f"scrub {vehicles} vehicles", 1e3 * median(durations), "ms", against="restart")
    report.write()


def _start_s() -> float:
    started = time.perf_counter()
    with standin_process():
        return time.perf_counter() - started


async def _scrubs_s(ports: Ports, vehicles: int) -> list[float]:
    reach = Reach(ports)
    visitors = Visitors(reach, lambda: ())
    baseline = await baseline_of(reach, "")
    return [await _scrub_s(reach, visitors, baseline, vehicles) for _ in range(SCRUBS)]


async def _scrub_s(reach: Reach, visitors: Visitors, baseline: Baseline, vehicles: int) -> float:
    await _leave(reach.ports, vehicles)
    started = time.perf_counter()
    await scrub(reach, visitors, baseline, load_max_s=60.0)
    return time.perf_counter() - started


async def _leave(ports: Ports, vehicles: int) -> None:
    car = t.ActorDescription(0, "vehicle.tesla.model3", [])
    async with connect(ports.host, ports.rpc) as holder:
        places = (await holder.call("get_map_info")).spawn_points
        spawns = [encode_command(SpawnActor(car, place)) for place in places[:vehicles]]
        await holder.calls(
            ("apply_batch", spawns, False),
            ("set_weather_parameters", t.WeatherParameters(fog_density=50.0)),
            ("set_episode_settings", t.EpisodeSettings(synchronous_mode=True)),
        )


if __name__ == "__main__":
    main()

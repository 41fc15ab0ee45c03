"""The registry of Traffic Managers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carlad.standin.simulation import Simulation

if TYPE_CHECKING:
    from carlad.standin.caller import Caller


def is_traffic_manager_running(sim: Simulation, caller: Caller, port: int) -> bool:
    caller.port_asked()
    return sim.traffic_managers.is_running(port, caller.identity)


def get_traffic_manager_running(sim: Simulation, port: int) -> tuple[str, int]:
    host = sim.traffic_managers.host(port)
    return ("", 0) if host is None else (host, port)


def add_traffic_manager_running(sim: Simulation, caller: Caller, address: tuple[str, int]) -> bool:
    caller.registered()
    host, port = address
    return sim.traffic_managers.add(port, host or caller.peer_host, caller.identity)


def destroy_traffic_manager(sim: Simulation, port: int) -> None:
    sim.traffic_managers.remove(port)

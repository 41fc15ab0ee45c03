"""The client's light manager: street lights, and whether they follow the sun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carlad.standin.simulation import Simulation
from carlad.wire import types as t

if TYPE_CHECKING:
    from carlad.standin.caller import Caller

# The text by which a client calls itself is its server's address, so all clients of a host share it: the
# connection is what tells them apart.


def query_lights_state(sim: Simulation, caller: Caller, client: str) -> list[t.LightState]:
    return sim.street_lights.query(caller.identity)


def update_lights_state(
    sim: Simulation, caller: Caller, client: str, lights: list[t.LightState], discard_client: bool
) -> None:
    sim.street_lights.update(caller.identity, lights, discard_client)


def update_day_night_cycle(sim: Simulation, client: str, active: bool) -> None:
    """While it is active the lights burn at night, from the next change of the weather on."""
    sim.street_lights.follows_the_sun = active

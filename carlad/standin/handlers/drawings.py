"""Debug drawing: seen by RGB cameras, as on the real server."""

from __future__ import annotations

from carlad.standin.simulation import Simulation
from carlad.wire import types as t


def draw_debug_shape(sim: Simulation, shape: t.DebugShape) -> None:
    sim.drawings.add(shape, sim.time_s, sim.delta_s)


def clear_debug_shape(sim: Simulation) -> None:
    sim.drawings.clear()


def clear_debug_string(sim: Simulation) -> None:
    """Texts are on the server's window only, and there is none."""

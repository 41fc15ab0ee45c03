"""Recorder and replayer."""

from __future__ import annotations

import logging

from carlad.standin import recording_text
from carlad.standin.errors import require_finite
from carlad.standin.handlers.actors import check_pose
from carlad.standin.recording import path_of
from carlad.standin.simulation import Simulation
from carlad.wire import types as t
from carlad.wire.errors import CallError

log = logging.getLogger("carlad.standin")


def start_recorder(sim: Simulation, name: str, additional_data: bool) -> str:
    """The file's path; empty where it cannot be written, as CARLA answers. Velocities are always in it."""
    path = path_of(name, sim.recordings)
    try:
        sim.recorder.start(path, sim.town.name)
    except (OSError, ValueError) as error:
        log.warning("cannot record: %s", error)
        return ""
    return str(path)


def stop_recorder(sim: Simulation) -> None:
    sim.recorder.stop()


def show_recorder_file_info(sim: Simulation, name: str, show_all: bool) -> str:
    return recording_text.file_info(path_of(name, sim.recordings), show_all)


def show_recorder_collisions(sim: Simulation, name: str, first: int, second: int) -> str:
    """Categories are the codes of characters."""
    return recording_text.collisions(path_of(name, sim.recordings), _letter(first), _letter(second))


def show_recorder_actors_blocked(
    sim: Simulation, name: str, min_time_s: float, min_distance_cm: float
) -> str:
    return recording_text.blocked(path_of(name, sim.recordings), min_time_s, min_distance_cm)


def replay_file(
    sim: Simulation,
    name: str,
    start_s: float,
    duration_s: float,
    follow_id: int,
    sensors: bool,
    offset: t.Transform,
) -> str:
    require_finite("a time", start_s, duration_s)
    check_pose(offset)
    path = path_of(name, sim.recordings)
    return sim.replayer.start(path, start_s, duration_s, follow_id, sensors, offset)


def stop_replayer(sim: Simulation, keep_actors: bool) -> None:
    sim.replayer.stop(keep_actors)


def set_replayer_time_factor(sim: Simulation, factor: float) -> None:
    require_finite("a time factor", factor)
    sim.replayer.time_factor = max(0.0, factor)


def set_replayer_ignore_hero(sim: Simulation, ignored: bool) -> None:
    sim.replayer.ignore_hero = ignored


def set_replayer_ignore_spectator(sim: Simulation, ignored: bool) -> None:
    sim.replayer.ignore_spectator = ignored


def _letter(code: int) -> str:
    if not 0 <= code < 128:
        raise CallError(f"cannot show collisions of category {code}: use one of o, v, w, t, h and a")
    return chr(code)

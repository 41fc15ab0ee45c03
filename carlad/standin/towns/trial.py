"""Tries CARLA's map library on a text in a process of its own: what is malformed can crash it."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache

_PATIENCE_S = 20.0
_MEMORY_MAX_B = 8 << 30  # a road that is far too long would take all that there is
_TRIAL = """
import resource
import sys
most, limit = int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (most if limit == resource.RLIM_INFINITY else min(most, limit), limit))
import carla
town_map = carla.Map("trial", sys.stdin.buffer.read().decode())
junctions = {}
for begin, end in town_map.get_topology():
    town_map.get_waypoint(begin.transform.location)
    if begin.is_junction:
        junctions[begin.junction_id] = begin.get_junction()
for junction in junctions.values():
    junction.get_waypoints(carla.LaneType.Driving)
for waypoint in town_map.generate_waypoints(2.0):
    waypoint.next(2.0), waypoint.previous(2.0)
    waypoint.get_left_lane(), waypoint.get_right_lane()
town_map.get_all_landmarks()
town_map.get_crosswalks()
"""


@lru_cache(maxsize=2)  # a text is looked at when it is sent and again when it is loaded
def verdict(xodr: str, memory_max_b: int = _MEMORY_MAX_B) -> str | None:
    """None where the library can work with the text, else what became of it.

    `memory_max_b` limits the addresses of the process that tries, in bytes.
    """
    command = [sys.executable, "-I", "-c", _TRIAL, str(memory_max_b)]
    try:
        done = subprocess.run(
            command,
            input=xodr.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return f"CARLA's map library was not done with it within {_PATIENCE_S:.0f} s"
    if done.returncode < 0:
        return f"CARLA's map library crashes on it (signal {-done.returncode})"
    lines = done.stderr.decode(errors="replace").splitlines()
    if lines and lines[-1].startswith("MemoryError"):
        return f"CARLA's map library wants more than {memory_max_b / 2**30:g} GiB for it"
    return lines[-1] if done.returncode and lines else None

"""A ball that is pushed forward until it touches something: what the obstacle sensor feels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.geometry import location_of, rotation_of
from carlad.standin.rendering.scene import Frame
from carlad.wire.types import Transform

_SKIP_M = 1e-3
_IGNORED_MAX = 16  # surfaces of ignored things that a ray may pass
_RINGS = ((0.5, 6), (0.95, 12))  # share of the radius, rays


@dataclass(frozen=True)
class Touch:
    """`actor_id` 0: a part of the town, of kind `tag`; `distance_m` is how far the ball came."""

    distance_m: float
    actor_id: int
    tag: int


def first_touch(
    frame: Frame,
    world_from_ball: Transform,
    radius_m: float,
    reach_m: float,
    ignored: frozenset[int],
    only_actors: bool,
) -> Touch | None:
    """The first thing that a ball meets on its way along its x axis; actors of `ignored` ids are passed."""
    offsets = _disc(radius_m)
    ahead = np.sqrt(np.maximum(radius_m**2 - (offsets**2).sum(axis=1), 0.0))  # of the ball's middle
    turn = rotation_of(world_from_ball)
    rays = np.empty((len(offsets), 6))
    rays[:, :3] = location_of(world_from_ball) + offsets @ turn.T
    rays[:, 3:] = turn[:, 0]
    distance, row = _past(frame, rays, ignored, only_actors)
    travelled = np.maximum(distance - ahead, 0.0)
    first = int(travelled.argmin())
    if not travelled[first] <= reach_m:
        return None
    triangle = int(row[first])
    return Touch(float(travelled[first]), int(frame.object_ids[triangle]), int(frame.tags[triangle]))


def _disc(radius_m: float) -> npt.NDArray[np.float64]:
    """(N, 3), points of the ball's largest section, in its frame"""
    rings = [
        (share * radius_m, 2.0 * math.pi * index / count) for share, count in _RINGS for index in range(count)
    ]
    return np.array([(0.0, 0.0, 0.0), *((0.0, r * math.cos(a), r * math.sin(a)) for r, a in rings)])


def _past(
    frame: Frame, rays: npt.NDArray[np.float64], ignored: frozenset[int], only_actors: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Distance and table row of the first surface of each ray that counts; inf where there is none."""
    passed = np.zeros(len(rays))
    row = np.full(len(rays), frame.sky)
    on = np.arange(len(rays))
    for _ in range(_IGNORED_MAX):
        hits = frame.cast(rays[on].astype(np.float32))
        passed[on] += hits.distance
        row[on] = hits.triangle
        owner = frame.object_ids[hits.triangle]
        skipped = np.isin(owner, list(ignored)) | (only_actors & (owner == 0))
        again = skipped & np.isfinite(hits.distance)
        on, step = on[again], hits.distance[again] + _SKIP_M
        if not len(on):
            return passed, row
        passed[on] += _SKIP_M
        rays[on, :3] += rays[on, 3:] * step[:, None]
    passed[on] = np.inf
    return passed, row

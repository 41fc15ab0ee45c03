"""What lies along one ray, behind the first surface too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.scene import Frame

_SKIP_M = 1e-3
_SURFACES_MAX = 500  # a limit on everything: no sane ray crosses so many


def first_surfaces(
    frame: Frame,
    origin: npt.NDArray[np.float64],
    direction: npt.NDArray[np.float64],
    reach_m: float,
) -> Iterator[tuple[npt.NDArray[np.float64], int]]:
    """Place (3,) and tag of every thing that a ray enters within `reach_m`, nearest first, each thing once.

    `direction` is a unit vector.
    """
    seen, travelled = set(), 0.0
    for _ in range(_SURFACES_MAX):
        ray = np.concatenate((origin + travelled * direction, direction)).astype(np.float32)
        hits = frame.cast(ray[None])
        row, travelled = int(hits.triangle[0]), travelled + float(hits.distance[0])
        if row == frame.sky or not travelled <= reach_m:
            return
        entered = float(frame.normals[row] @ direction) < 0.0
        thing = int(frame.instances[row])
        if entered and thing not in seen:
            seen.add(thing)
            yield origin + travelled * direction, int(frame.tags[row])
        travelled += _SKIP_M

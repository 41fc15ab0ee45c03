"""The compiled functions, loaded when the first vehicle needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from carlad.standin.motion import columns as c


@dataclass(frozen=True)
class Kernels:
    """See model.py and contacts.py."""

    advance: Callable[..., None]
    touching_pairs: Callable[..., Any]
    lights_before: Callable[..., int]


@cache
def load() -> Kernels:
    """The functions, ready to run: from numba's cache, or compiled now, which takes some ten seconds once."""
    from carlad.standin.motion import contacts, model

    state, car = np.zeros((1, c.STATE)), np.ones((1, c.CAR))
    bodies, others = np.zeros((1, contacts.BODY)), np.zeros((0, contacts.BOX))
    model.advance(state, car, 1, 0.01, 1)
    contacts.touching_pairs(state, bodies, 1, others, np.zeros((1, contacts.BOX)))
    contacts.lights_before(state, bodies, 1, np.zeros((0, contacts.STOP_BOX)), np.zeros(1, np.int64))
    return Kernels(model.advance, contacts.touching_pairs, contacts.lights_before)

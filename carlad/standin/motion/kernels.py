"""The functions of model.py and contacts.py, as machine code once that is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from carlad.standin.motion import columns as c
from carlad.standin.motion import contacts, model
from carlad.standin.motion.kernel import compiled_twin
from carlad.standin.records import LIGHT_COLUMNS, VEHICLE_COLUMNS, light_segment, vehicle_segment

_HERE = Path(__file__).parent
_loading = threading.Lock()


@dataclass(frozen=True)
class Kernels:
    """See model.py and contacts.py."""

    advance: Callable[..., None]
    push_apart: Callable[..., Any]
    meet_obstacles: Callable[..., Any]
    publish: Callable[..., None]
    cells_entered: Callable[..., Any]

    @classmethod
    def of(cls, model: ModuleType, contacts: ModuleType) -> Kernels:
        return cls(
            model.advance,
            contacts.push_apart,
            contacts.meet_obstacles,
            contacts.publish,
            contacts.cells_entered,
        )


PLAIN = Kernels.of(model, contacts)
_compiled: Kernels | None = None


def kernels() -> Kernels:
    """Machine code where it is ready, else plain Python, which gives the same bits more slowly."""
    return _compiled or PLAIN


def make_ready() -> None:
    """Get the machine code in the background: half a second from numba's cache, else some ten seconds."""
    if _compiled is None and not _loading.locked():
        threading.Thread(target=load, name="compile", daemon=True).start()


def load() -> None:
    """Get the machine code now, compiled where need be."""
    global _compiled
    with _loading:
        fast = Kernels.of(compiled_twin(model), compiled_twin(contacts))
        _forget_older_code(fast)
        state, car = np.zeros((1, c.STATE)), np.ones((1, c.CAR))
        bodies, others = np.zeros((1, contacts.BODY)), np.zeros((0, contacts.BOX))
        fast.advance(state, car, 1, 0.01, 1)
        fast.push_apart(state, car, bodies, 1, np.zeros((0, contacts.OTHER)))
        none, frame = np.zeros(0, np.int64), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
        fast.meet_obstacles(state, car, bodies, 1, others, frame, np.zeros(2, np.int64), none)
        lights = light_segment().columns(*LIGHT_COLUMNS)
        records = vehicle_segment().columns(*VEHICLE_COLUMNS)
        fast.publish(state, bodies, 1, np.zeros((0, contacts.STOP_BOX)), lights, records, 0.01)
        fast.cells_entered(state, 1, np.ones(3))
        _compiled = fast


def _changed_s(paths: list[Path]) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def _forget_older_code(fast: Kernels) -> None:
    """Numba compares what it keeps with its own source only, but the code depends on columns.py, too."""
    folders = {function.stats.cache_path for function in vars(fast).values()} - {None}  # None: keeps nothing
    for index in (index for folder in folders for index in Path(folder).glob("*.nbi")):
        with suppress(OSError):  # nobody may write there, or another server was quicker
            if _changed_s([index]) <= _changed_s([_HERE / "columns.py"]):
                index.unlink()

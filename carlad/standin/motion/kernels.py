"""The compiled functions, loaded when the first vehicle needs them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from carlad.standin.motion import columns as c

_HERE = Path(__file__).parent
_loading = threading.Lock()


@dataclass(frozen=True)
class Kernels:
    """See model.py and contacts.py."""

    advance: Callable[..., None]
    touching_pairs: Callable[..., Any]
    lights_before: Callable[..., int]


def load() -> Kernels:
    """The functions, ready to run: from numba's cache, or compiled now, which takes some ten seconds once."""
    with _loading:
        return _load()


def load_early() -> None:
    """Begin to load in the background where that takes long; elsewhere the first vehicle can wait for it."""
    if not _are_cached():
        threading.Thread(target=load, name="compile", daemon=True).start()


@cache
def _load() -> Kernels:
    _forget_older_code()
    from carlad.standin.motion import contacts, model

    state, car = np.zeros((1, c.STATE)), np.ones((1, c.CAR))
    bodies, others = np.zeros((1, contacts.BODY)), np.zeros((0, contacts.BOX))
    model.advance(state, car, 1, 0.01, 1)
    contacts.touching_pairs(state, bodies, 1, others, np.zeros((1, contacts.BOX)))
    contacts.lights_before(state, bodies, 1, np.zeros((0, contacts.STOP_BOX)), np.zeros(1, np.int64))
    return Kernels(model.advance, contacts.touching_pairs, contacts.lights_before)


def _are_cached() -> bool:
    """Whether numba has kept code beside the sources that is newer than they are."""
    return all(
        _changed_s([*_HERE.glob(f"__pycache__/{module}.{function}-*.nbi")])
        > _changed_s([_HERE / f"{module}.py", _HERE / "columns.py"])
        for module, function in (("model", "advance"), ("contacts", "touching_pairs"))
    )


def _changed_s(paths: list[Path]) -> float:
    return max((path.stat().st_mtime for path in paths), default=0.0)


def _forget_older_code() -> None:
    """Numba compares what it keeps with its own source only, but the code depends on columns.py, too."""
    for index in _HERE.glob("__pycache__/*.nbi"):
        if index.stat().st_mtime <= _changed_s([_HERE / "columns.py"]):
            with suppress(OSError):  # a folder that nobody may write: its code was made at its install
                index.unlink()

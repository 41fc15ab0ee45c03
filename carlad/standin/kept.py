"""What is worked out of a map once and kept on disk: arrays, beside the code that makes them.

As with numba's machine code there is no other folder: where that one cannot be written, as in the sandbox
of a service, everything is worked out anew by each server. `python -m carlad.standin.compile` fills it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

FOLDER = Path(__file__).parent / "__pycache__"
FILES_MAX = 32  # a few MB each; the oldest go first
_SOURCES = ("*.py", "rendering/*.py", "towns/*.py")  # the code on which arrays depend


def kept(kind: str, of: str, make: Callable[[], Arrays]) -> Arrays:
    """What `make` returns, from disk where the same code kept it; it follows from the text `of` alone."""
    path = FOLDER / f"{kind}-{hashlib.sha256((_code() + of).encode()).hexdigest()[:24]}.npz"
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # not there, or cut off
        made = make()
        _keep(path, made)
        return made


def _keep(path: Path, arrays: Arrays) -> None:
    """As a whole or not at all: several servers may start at once."""
    try:
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            np.savez(part, allow_pickle=False, **arrays)
        os.chmod(part.name, 0o644)  # whoever installed it, everybody may run it
        os.replace(part.name, path)
        for old in sorted(path.parent.glob("*.npz"), key=_changed_ns)[:-FILES_MAX]:
            old.unlink(missing_ok=True)
    except OSError:  # nowhere to keep it: that costs time, nothing else
        return


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # another server was quicker to take it away
        return 0


@lru_cache(maxsize=1)
def _code() -> str:
    """Changes with the code, by what the file system says of its files."""
    here = Path(__file__).parent
    files = sorted(path for pattern in _SOURCES for path in here.glob(pattern))
    return repr([(path.name, (stat := path.stat()).st_mtime_ns, stat.st_size) for path in files])

"""Functions that can be compiled, and their machine code, kept on disk from one process to the next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_compiling = False


def compiled(function: Function) -> Function:
    """Mark a function for `compiled_twin`: as it stands it is plain Python, slow but at once there."""
    return _machine_code(function) if _compiling else function


def compiled_twin(module: ModuleType) -> ModuleType:
    """A second copy of a module, in which marked functions are machine code and compute the same bits."""
    global _compiling
    name = f"{module.__name__}_compiled"
    spec = spec_from_file_location(name, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    twin = sys.modules[name] = module_from_spec(spec)
    _compiling = True
    try:
        spec.loader.exec_module(twin)
    finally:
        _compiling = False
    return twin


def _machine_code(function: Function) -> Function:
    """IEEE arithmetic in the order written. Kept beside the source, else in the user's cache folder; where
    neither can be written, each process compiles for itself.
    """
    import numba

    try:
        made = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write
        made = numba.njit(error_model="numpy")(function)
    return made  # type: ignore[no-any-return]

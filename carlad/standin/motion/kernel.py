"""Compiled functions, kept on disk from one process to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """`function` as machine code: IEEE arithmetic, in the order written, so that results repeat bit by bit.

    The code is kept beside the source, else in the user's cache folder; where neither can be written, each
    process compiles for itself.
    """
    try:
        made = numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no folder that it may write
        made = numba.njit(error_model="numpy")(function)
    return made  # type: ignore[no-any-return]

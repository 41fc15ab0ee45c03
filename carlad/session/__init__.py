"""Env sessions: a Gymnasium environment in a process of its own, and the step messages that drive it.

`python -m carlad.session` is the host, `carlad.session("route")` the client's end. The official carla client
lives in the host, so its aborts, time-outs and Python version stay there.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """`carlad.session(...)` opens a session, although the package has that name too."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from carlad.session import client

        return client.session(*arguments, **named)


sys.modules[__name__].__class__ = _Callable

"""carlad: a pool of CARLA servers that reinforcement learning can rely on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carlad.client import Client, Lease, lease
    from carlad.session.client import session

__version__ = "0.1.0"
__all__ = ["Client", "Lease", "__version__", "lease", "session"]


def __getattr__(name: str) -> Any:
    """`carlad.lease(...)` and its like, without a cost for who does not use them."""
    if name == "session":
        return import_module("carlad.session")  # which can be called
    if name not in {"Client", "Lease", "lease"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from carlad import client

    return getattr(client, name)

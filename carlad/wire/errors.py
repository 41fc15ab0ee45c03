"""What can go wrong on the wire, split by whose fault it is."""

from __future__ import annotations


class WireError(Exception):
    """The peer sent bytes that are not CARLA's protocol. The connection cannot go on."""


class CallError(Exception):
    """A call was understood and answered with an error: the simulator's own words."""

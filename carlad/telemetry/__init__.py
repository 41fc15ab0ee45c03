"""Live frame bundles from a running environment to whoever watches: lossy, and the newest wins.

The environment's side owns a `Publisher`, a viewer owns a `Subscriber`; they meet at a ZeroMQ endpoint
(`ipc://` or `tcp://`). What there is comes in channels, which `carlad.telemetry.bundle` lists; only those
are made and sent that somebody subscribes to.
"""

from carlad.telemetry.bundle import (
    Actor,
    Array,
    Bev,
    Bundle,
    Control,
    Ego,
    Frame,
    Lane,
    Lanes,
    Light,
)
from carlad.telemetry.link import Publisher, Subscriber, TelemetryError
from carlad.telemetry.roads import lanes_of

__all__ = [
    "Actor",
    "Array",
    "Bev",
    "Bundle",
    "Control",
    "Ego",
    "Frame",
    "Lane",
    "Lanes",
    "Light",
    "Publisher",
    "Subscriber",
    "TelemetryError",
    "lanes_of",
]

"""Live frame bundles from a running environment to whoever watches: lossy, and the newest wins.

The environment's side owns a `Publisher`, a viewer owns a `Subscriber`; they meet at a ZeroMQ endpoint
(`ipc://` or `tcp://`). Channels: "bundle" (always there), "map" (the lanes, sent once to each new subscriber;
`lanes_of` reads them from a `carla.Map`), and the names of arrays such as "camera" (uint8 (H, W, 3), RGB).
"""

from carlad.telemetry.bundle import Actor, Array, Bundle, Control, Ego, Lane, Lanes
from carlad.telemetry.link import Publisher, Subscriber, TelemetryError
from carlad.telemetry.roads import lanes_of

__all__ = [
    "Actor",
    "Array",
    "Bundle",
    "Control",
    "Ego",
    "Lane",
    "Lanes",
    "Publisher",
    "Subscriber",
    "TelemetryError",
    "lanes_of",
]

"""What there is to see of one tick, channel by channel, and a map's geometry.

Positions are CARLA's: metres, x forward (east), y right (south), z up, yaw in degrees from x towards y.

| channel | what comes with it |
| --- | --- |
| `bundle` | always: session, episode, tick, frame, times, server, map, note, what viewers may do |
| `ego`, `control`, `actors`, `lights`, `route` | the fields of these names |
| `reward` | `reward_terms`, `episode_return` |
| `scores` | `scores`, `infractions`, `success_rate` |
| `timings` | `timings_ms`, `steps_per_s` |
| `camera`, `camera.NAME` | uint8 (H, W, 3), RGB: cameras that the policy sees |
| `view.NAME` | uint8 (H, W, 3), RGB: a camera for viewers alone, while one watches, if the session allows |
| `lidar` | float32 (N, 4 or 5): x, y, z in the ego vehicle's frame (metres), intensity [0, 1], semantic tag |
| `bev` | uint8 (C, H, W): the policy's bird's-eye masks, 0 to 255, and the field `bev` that explains them |
| `map` | `Lanes`, once to each new viewer and whenever the map changes |
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BUNDLE, MAP = "bundle", "map"
CAMERA, LIDAR, BEV = "camera", "lidar", "bev"
VIEW_PREFIX = "view."
PAUSE = "pause"  # not a channel with content: the session stands still while somebody subscribes it

# The fields of a bundle that come with a channel; the others come always.
FIELDS_OF: Mapping[str, tuple[str, ...]] = {
    "ego": ("ego",),
    "control": ("control",),
    "actors": ("actors",),
    "lights": ("lights",),
    "route": ("route",),
    "reward": ("reward_terms", "episode_return"),
    "scores": ("scores", "infractions", "success_rate"),
    "timings": ("timings_ms", "steps_per_s"),
    BEV: ("bev",),
}
NUMBERS = tuple(name for name in FIELDS_OF if name != BEV)
"""The channels that are cheap: numbers without arrays."""


class Ego(msgspec.Struct, frozen=True, omit_defaults=True):
    """The vehicle that the policy drives: its box's centre in metres, angles in degrees, speed in m/s.

    `lamps` are those that are lit ("low_beam", "brake", "left_blinker", ...); `light` is the colour of the
    traffic light that the vehicle faces, None where it faces none.
    """

    x: float
    y: float
    yaw_deg: float
    speed_mps: float
    half_length_m: float = 2.4
    half_width_m: float = 1.0
    half_height_m: float = 0.75
    z: float = 0.75
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    lamps: list[str] = []
    light: str | None = None


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """The control applied in this tick: steer in [-1, 1], positive to the right; the pedals in [0, 1].

    `gear` is -1 in reverse, 0 in neutral, None where it is not known.
    """

    steer: float
    throttle: float
    brake: float
    reverse: bool = False
    hand_brake: bool = False
    gear: int | None = None


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another actor's box; `kind` is the blueprint's first word ("vehicle", "walker", ...)."""

    id: int
    kind: str
    x: float
    y: float
    yaw_deg: float
    half_length_m: float
    half_width_m: float
    half_height_m: float = 0.75
    z: float = 0.75
    speed_mps: float = 0.0


class Light(msgspec.Struct, frozen=True, omit_defaults=True):
    """A traffic light, where its stop line is; `state` is "red", "yellow", "green" or "off"."""

    x: float
    y: float
    yaw_deg: float
    state: str


class Bev(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to read the masks of channel "bev": the layers' names, the scale, and where the ego vehicle is.

    The vehicle looks up; `ego_row` and `ego_column` are pixels.
    """

    layers: list[str]
    px_per_m: float
    ego_row: float
    ego_column: float


class Bundle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that one tick has to show, arrays aside. Fields may be added later, with defaults; none is renamed.

    `frame` is the simulator's number of the tick, `tick` counts from the episode's start, `server` is
    "host:port", `route` holds the points still ahead, `success_rate` is in [0, 1], and `note` says in words
    what a viewer should know ("server lost, waiting for a replacement"). `sent_ns` is the system clock's time
    of publication. `viewers_may` is what the session allows to viewers: "pause", "view.chase", ...
    """

    version: int = 2
    session: str
    episode: int
    tick: int
    frame: int
    sim_time_s: float
    server: str
    map: str
    sent_ns: int = 0
    note: str | None = None
    viewers_may: list[str] = []
    paused: bool = False
    ego: Ego | None = None
    control: Control | None = None
    actors: list[Actor] = []
    lights: list[Light] = []
    route: list[tuple[float, float]] = []
    reward_terms: dict[str, float] = {}
    episode_return: float = 0.0
    scores: dict[str, float] = {}
    infractions: dict[str, int] = {}
    success_rate: float | None = None
    timings_ms: dict[str, float] = {}
    steps_per_s: float | None = None
    bev: Bev | None = None


class Frame(NamedTuple):
    """One tick: the numbers, and the arrays by their channels."""

    bundle: Bundle
    arrays: dict[str, Array]


class Lane(NamedTuple):
    """One piece of a lane between two boundary polylines that run the same way.

    `left` and `right`: float32 (N, 2), metres, at least two points each. `kind` is OpenDRIVE's lane type
    ("driving", "shoulder", "sidewalk", ...). The marks are "none", "solid" or "broken".
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    kind: str = "driving"
    left_mark: str = "none"
    right_mark: str = "none"


class Lanes(NamedTuple):
    """A map's static geometry."""

    map: str
    lanes: list[Lane]


_DEFAULTS = {field.name: field for field in msgspec.structs.fields(Bundle)}


def only(bundle: Bundle, channels: frozenset[str]) -> Bundle:
    """The bundle without the fields of channels that are not among these."""
    left_out = {
        name: default for name, default in _left_out(channels).items() if getattr(bundle, name) != default
    }
    return msgspec.structs.replace(bundle, **left_out) if left_out else bundle


@lru_cache(maxsize=256)  # each viewer asks for the same ones all the time
def _left_out(channels: frozenset[str]) -> dict[str, Any]:
    """The fields that do not belong to these channels, and what they hold then."""
    return {name: _default(name) for channel in FIELDS_OF.keys() - channels for name in FIELDS_OF[channel]}


def _default(name: str) -> Any:
    field = _DEFAULTS[name]
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()

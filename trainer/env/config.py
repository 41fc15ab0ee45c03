"""What can be set about Route-v0; each default carries its unit and its reason."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from carlad import toml

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
View = Literal["chase", "front", "top"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Pixels = Annotated[int, msgspec.Meta(ge=8, le=2048)]
Nearby = Annotated[float, msgspec.Meta(ge=-100, le=100)]  # from the vehicle's centre
Angle = Annotated[float, msgspec.Meta(ge=-360, le=360)]
Unit = Annotated[float, msgspec.Meta(ge=-1, le=1)]

Key = Literal["state", "bev", "camera", "depth", "semantic", "lidar", "truth"]
End = Literal["collision", "red_light", "stop_sign", "off_road", "deviation", "blocked"]


class BevConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bird's-eye view (trainer.env.bev). 0 takes what the layout's authors used."""

    layout: Literal["carl", "roach"] = "carl"
    size_px: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0  # width and height
    px_per_m: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    behind_px: Count = 0  # rows behind the vehicle's centre


class CameraConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One camera on the vehicle, for the keys camera, depth and semantic."""

    width_px: Pixels = 96
    height_px: Pixels = 96
    fov_deg: Annotated[float, msgspec.Meta(gt=0, lt=180)] = 90.0  # horizontal
    x_m: Nearby = 1.3  # from the vehicle's centre: behind the windscreen
    y_m: Nearby = 0.0
    z_m: Nearby = 1.5
    pitch_deg: Angle = 0.0
    yaw_deg: Angle = 0.0
    depth_max_m: Positive = 60.0  # what is farther away is 255


class LidarConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One LiDAR on the vehicle's roof, one turn a tick."""

    form: Literal["points", "pillars"] = "pillars"
    points: Annotated[int, msgspec.Meta(ge=1, le=200_000)] = 4096  # of the form points: the array's length
    channels: Annotated[int, msgspec.Meta(ge=1, le=128)] = 32
    points_per_tick: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 10_000
    range_m: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 50.0
    upper_fov_deg: Angle = 10.0
    lower_fov_deg: Angle = -30.0
    z_m: Nearby = 2.4
    size_px: Pixels = 128  # of the form pillars: width and height of its grid
    px_per_m: Annotated[float, msgspec.Meta(gt=0, le=100)] = 2.0


class ObserveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which parts the observation has, and how each is made."""

    keys: tuple[Key, ...] = ("state",)
    state: Literal["route", "carl", "roach"] = (
        "route"  # which numbers: trainer.env.state, trainer.env.scalars
    )
    truth_actors: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8  # of the key truth: the nearest so many
    bev: BevConfig = BevConfig()
    camera: CameraConfig = CameraConfig()
    lidar: LidarConfig = LidarConfig()

    def __post_init__(self) -> None:
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise ValueError(f"keys {list(self.keys)}: name each part once, and one at least")


class TrafficConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who else is on the road. Everybody is taken away with the episode."""

    vehicles: Count = 0
    vehicles_per_spawn_point: Share = 0.0  # the same as a density, added to `vehicles`
    walkers: Count = 0
    lights: Literal["green", "cycle"] = "green"  # "green": all lights, and they stay so
    speed_below_limit_pct: tuple[float, float] = (-10.0, 30.0)  # each vehicle's, drawn from this range
    gap_m: NotNegative = 2.5  # between vehicles that stand
    ignore_lights_pct: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    walkers_running: Share = 0.1
    walkers_crossing: Share = 0.1  # may leave the pavement anywhere

    def __post_init__(self) -> None:
        low, high = self.speed_below_limit_pct
        if not -100 <= low <= high < 100:
            raise ValueError(f"speed_below_limit_pct [{low:g}, {high:g}]: write [low, high], -100 to 99")


class WeatherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Drawn anew for each episode: one of the presets, then each ranged parameter. Both empty: left alone."""

    presets: tuple[str, ...] = ()  # names of carla.WeatherParameters, such as ClearNoon
    ranges: dict[str, tuple[float, float]] = {}  # e.g. sun_altitude_angle = [-10, 60]


class RewardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Named terms (trainer.env.reward); `weights` changes those of the preset, 0 switches a term off."""

    preset: Literal["simple", "carl", "roach"] = "simple"
    weights: dict[str, float] = {}


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Route-v0's parameters."""

    map: str = ""  # loaded when another one is running; empty: whichever is
    map_timeout_s: Positive = 60.0  # for loading it
    delta_s: Annotated[float, msgspec.Meta(ge=0.001, le=0.1)] = 0.1  # a tick; CARLA's physics allow no more
    frame_skip: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1  # ticks a step, under the same action
    action_table: tuple[tuple[Unit, Unit], ...] = ()  # (steer, acceleration) by number; empty: continuous
    client_timeout_s: Positive = 10.0  # for each call; a real server loads and warms up for seconds
    vehicle: str = "vehicle.tesla.model3"

    routes: str = ""  # a file of routes (trainer.env.route_files); empty: random ones
    route_min_m: Positive = 60.0  # long enough for a junction
    route_max_m: Positive = 120.0
    lane_changes: Share = 0.0  # chance of one wherever a random route meets an occasion

    ends: tuple[End, ...] = ("collision", "red_light", "off_road", "deviation", "blocked")
    deviation_max_m: Positive = 2.5  # from the route's lane centre: a wheel is in the next lane then
    blocked_after_s: Positive = 5.0  # below blocked_speed_mps all the time, and nothing to wait for
    blocked_speed_mps: Positive = 0.5
    slowest_mps: Positive = 2.0  # an episode is truncated after the time that this average speed takes
    target_speed_mps: Positive = 8.0  # progress beyond it earns nothing, and speeding costs

    viewers_may_pause: bool = False  # a paused session keeps its learner waiting
    viewer_cameras: tuple[View, ...] = ()  # for viewers alone, rendered while one watches: trainer.env.views
    observe: ObserveConfig = ObserveConfig()
    traffic: TrafficConfig = TrafficConfig()
    weather: WeatherConfig = WeatherConfig()
    reward: RewardConfig = RewardConfig()

    @property
    def step_s(self) -> float:
        """Simulated time of a step."""
        return self.delta_s * self.frame_skip

    def __post_init__(self) -> None:
        if self.route_max_m < self.route_min_m:
            raise ValueError(f"route_max_m {self.route_max_m:g} is below route_min_m {self.route_min_m:g}")
        if len(self.action_table) == 1:
            raise ValueError("action_table has one action: write two or more, or none for continuous ones")


def convert(table: dict[str, Any]) -> RouteConfig:
    """The configuration in a parsed table. Raises ValueError naming the key."""
    for problem in toml.problems(table, RouteConfig):
        raise ValueError(f"cannot use the environment's configuration: {problem}")
    try:
        return msgspec.convert(table, RouteConfig)
    except msgspec.ValidationError as error:
        raise ValueError(f"cannot use the environment's configuration: {error}") from error


def changed(config: RouteConfig, changes: dict[str, Any]) -> RouteConfig:
    """The configuration with some keys changed, at any depth. Raises ValueError naming the key."""
    if not isinstance(changes, dict):
        raise ValueError(f"cannot use the environment's configuration: {changes!r} is no table")  # noqa: TRY004
    return convert(_merged(msgspec.to_builtins(config), changes))


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in changes.items():
        inner = merged.get(key)
        open_ended = key in ("weights", "ranges")  # tables whose keys the user names: replaced as a whole
        both = isinstance(inner, dict) and isinstance(value, dict) and not open_ended
        merged[key] = _merged(inner, value) if both and isinstance(inner, dict) else value
    return merged

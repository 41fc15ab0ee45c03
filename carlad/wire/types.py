"""The structs of CARLA 0.9.16 as they travel: each a msgpack array of its fields, in this order.

Sources: LibCarla `carla/rpc/*.h` and `carla/geom/*.h` of 0.9.16 (the MSGPACK_DEFINE_ARRAY lines).
Optional values travel as `[False]` or `[True, value]`, see `NOTHING`. Distances are metres, angles
degrees, frame left-handed (x forward, y right, z up), unless a field says otherwise.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec


class Wire(msgspec.Struct, array_like=True):
    """Base of every struct that travels as a msgpack array."""


# What travels on to other clients keeps to their widths: one number too large ends them in `std::bad_cast`.
UInt8 = Annotated[int, msgspec.Meta(ge=0, le=2**8 - 1)]
UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

# std::optional: `(False,)`, or `(True, value)`.
NOTHING: tuple[bool] = (False,)


class Vector2D(Wire):
    x: float = 0.0
    y: float = 0.0


class Vector3D(Wire):
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0


Location = Vector3D


class Rotation(Wire):
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0


class Transform(Wire):
    location: Location
    rotation: Rotation


class BoundingBox(Wire):
    """Centre, half sizes and rotation; `actor_id` is new in 0.9.16 (0: no actor)."""

    location: Location
    extent: Vector3D
    rotation: Rotation
    actor_id: int = 0


class TokenBox(Wire):
    """A stream token (24 bytes, `streaming.Token`) where the protocol wraps it in a struct."""

    token: bytes


class EpisodeInfo(Wire):
    episode_id: int
    token: TokenBox


class EpisodeSettings(Wire):
    synchronous_mode: bool = False
    no_rendering_mode: bool = False
    fixed_delta_seconds: tuple[bool | float, ...] = NOTHING
    substepping: bool = True
    max_substep_delta_time: float = 0.01
    max_substeps: Int32 = 10
    max_culling_distance: float = 0.0
    deterministic_ragdolls: bool = True
    tile_stream_distance: float = 3000.0
    actor_active_distance: float = 2000.0
    spectator_as_ego: bool = False

    @property
    def fixed_delta_s(self) -> float | None:
        """Seconds per tick, or None for a variable time step."""
        return float(self.fixed_delta_seconds[1]) if len(self.fixed_delta_seconds) > 1 else None


class MapInfo(Wire):
    """`name` reads like `Carla/Maps/Town01`."""

    name: str
    spawn_points: list[Transform]


class AttributeType(IntEnum):
    BOOL = 1
    INT = 2
    FLOAT = 3
    STRING = 4
    RGB_COLOR = 5


class ActorAttribute(Wire):
    """One attribute of a blueprint; every value travels as text, colours as `r,g,b`."""

    id: str
    type: int
    value: str
    recommended_values: list[str]
    is_modifiable: bool
    restrict_to_recommended: bool


class ActorAttributeValue(Wire):
    id: str
    type: UInt8
    value: str


class ActorDefinition(Wire):
    """A blueprint. `tags` is one comma-separated string."""

    uid: int
    id: str
    tags: str
    attributes: list[ActorAttribute]


class ActorDescription(Wire):
    uid: UInt32
    id: str
    attributes: list[ActorAttributeValue]


class Actor(Wire):
    """`parent_id` 0: no parent. `stream_token`: 24 bytes for sensors with a stream, else empty."""

    id: int
    parent_id: int
    description: ActorDescription
    bounding_box: BoundingBox
    semantic_tags: bytes
    stream_token: bytes


class VehicleControl(Wire):
    """throttle and brake in [0, 1], steer in [-1, 1] (right is positive)."""

    throttle: float = 0.0
    steer: float = 0.0
    brake: float = 0.0
    hand_brake: bool = False
    reverse: bool = False
    manual_gear_shift: bool = False
    gear: Int32 = 0


class VehicleAckermannControl(Wire):
    """steer in rad, steer_speed rad/s, speed m/s, acceleration m/s^2, jerk m/s^3."""

    steer: float = 0.0
    steer_speed: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    jerk: float = 0.0


class AckermannControllerSettings(Wire):
    speed_kp: float = 0.15
    speed_ki: float = 0.0
    speed_kd: float = 0.25
    accel_kp: float = 0.01
    accel_ki: float = 0.0
    accel_kd: float = 0.01


class WalkerControl(Wire):
    """Unit direction in the world and speed in m/s."""

    direction: Vector3D
    speed: float = 0.0
    jump: bool = False


class GearPhysicsControl(Wire):
    ratio: float
    down_ratio: float
    up_ratio: float


class WheelPhysicsControl(Wire):
    """`radius` in centimetres, `max_steer_angle` in degrees, `position` in world centimetres."""

    tire_friction: float
    damping_rate: float
    max_steer_angle: float
    radius: float
    max_brake_torque: float
    max_handbrake_torque: float
    lat_stiff_max_load: float
    lat_stiff_value: float
    long_stiff_value: float
    position: Vector3D


class VehiclePhysicsControl(Wire):
    """Wheels in the order front left, front right, back left, back right."""

    torque_curve: list[Vector2D]
    max_rpm: float
    moi: float
    damping_rate_full_throttle: float
    damping_rate_zero_throttle_clutch_engaged: float
    damping_rate_zero_throttle_clutch_disengaged: float
    use_gear_autobox: bool
    gear_switch_time: float
    clutch_strength: float
    final_ratio: float
    forward_gears: list[GearPhysicsControl]
    mass: float
    drag_coefficient: float
    center_of_mass: Location
    steering_curve: list[Vector2D]
    wheels: list[WheelPhysicsControl]
    use_sweep_wheel_collision: bool


class WheelTelemetryData(Wire):
    tire_friction: float = 0.0
    lat_slip: float = 0.0
    long_slip: float = 0.0
    omega: float = 0.0
    tire_load: float = 0.0
    normalized_tire_load: float = 0.0
    torque: float = 0.0
    long_force: float = 0.0
    lat_force: float = 0.0
    normalized_long_force: float = 0.0
    normalized_lat_force: float = 0.0


class VehicleTelemetryData(Wire):
    speed: float
    steer: float
    throttle: float
    brake: float
    engine_rpm: float
    gear: int
    drag: float
    wheels: list[WheelTelemetryData]


class WeatherParameters(Wire):
    """Percentages, except: sun angles in degrees, fog_distance in metres."""

    cloudiness: float = 0.0
    precipitation: float = 0.0
    precipitation_deposits: float = 0.0
    wind_intensity: float = 0.0
    sun_azimuth_angle: float = 0.0
    sun_altitude_angle: float = 0.0
    fog_density: float = 0.0
    fog_distance: float = 0.0
    fog_falloff: float = 0.0
    wetness: float = 0.0
    scattering_intensity: float = 0.0
    mie_scattering_scale: float = 0.0
    rayleigh_scattering_scale: float = 0.0331
    dust_storm: float = 0.0


class VehicleLightState(Wire):
    """Bit flags, see `carla.VehicleLightState`."""

    flags: UInt32


class Color(Wire):
    r: UInt8
    g: UInt8
    b: UInt8


class LightState(Wire):
    """`group`: None 0, Vehicle 1, Street 2, Building 3, Other 4."""

    id: UInt32
    location: Location
    intensity: float
    group: UInt8
    color: Color
    active: bool


class EnvironmentObject(Wire):
    transform: Transform
    bounding_box: BoundingBox
    id: int
    name: str
    type: int


class BoneTransforms(Wire):
    """Where a bone is: in the world, in its actor and in its parent bone."""

    name: str
    world: Transform
    component: Transform
    relative: Transform


class WalkerBones(Wire):
    bones: list[BoneTransforms]


class BonePose(Wire):
    name: str
    pose: Transform


class BonePoses(Wire):
    poses: list[BonePose]


class LabelledPoint(Wire):
    location: Location
    label: int


class DebugShape(Wire):
    """`primitive`: kind and its fields. `life_time` in seconds, negative: for ever."""

    primitive: tuple[int, msgspec.Raw]
    color: Color
    life_time: float
    persistent_lines: bool


class OpendriveGenerationParameters(Wire):
    vertex_distance: float = 2.0
    max_road_length: float = 50.0
    wall_height: float = 1.0
    additional_width: float = 0.6
    smooth_junctions: bool = True
    enable_mesh_visibility: bool = True
    enable_pedestrian_navigation: bool = True


class AttachmentType(IntEnum):
    RIGID = 0
    SPRING_ARM = 1
    SPRING_ARM_GHOST = 2


class TrafficLightState(IntEnum):
    RED = 0
    YELLOW = 1
    GREEN = 2
    OFF = 3
    UNKNOWN = 4


class CityObjectLabel(IntEnum):
    """Semantic tags, as in `carla.CityObjectLabel` of 0.9.16."""

    NONE = 0
    ROADS = 1
    SIDEWALKS = 2
    BUILDINGS = 3
    WALLS = 4
    FENCES = 5
    POLES = 6
    TRAFFIC_LIGHT = 7
    TRAFFIC_SIGNS = 8
    VEGETATION = 9
    TERRAIN = 10
    SKY = 11
    PEDESTRIANS = 12
    RIDER = 13
    CAR = 14
    TRUCK = 15
    BUS = 16
    TRAIN = 17
    MOTORCYCLE = 18
    BICYCLE = 19
    STATIC = 20
    DYNAMIC = 21
    OTHER = 22
    WATER = 23
    ROAD_LINES = 24
    GROUND = 25
    BRIDGE = 26
    RAIL_TRACK = 27
    GUARD_RAIL = 28
    ANY = 255

"""Every RPC of the 0.9.16 client: its arguments, its result and whether the client waits for it.

One table for both ends: the server decodes arguments and encodes results by it, the raw client the
other way round. Names and shapes: methods of LibCarla `carla/client/detail/Client.cpp` (0.9.16).
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

import msgspec

from carlad.wire import types as t
from carlad.wire.errors import WireError
from carlad.wire.msgpackrpc import decode

Id = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Port = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Flag = bool


class Call(msgspec.Struct, frozen=True, dict=True):
    """`waits`: the client waits for the result; otherwise it ignores it, but it must still come."""

    name: str
    arguments: tuple[Any, ...]
    result: Any
    waits: bool

    @cached_property
    def _decoder(self) -> msgspec.msgpack.Decoder[tuple[Any, ...]]:
        return msgspec.msgpack.Decoder(self._arguments_type)

    @cached_property
    def _arguments_type(self) -> Any:
        metadata = tuple[bool]
        return tuple.__class_getitem__((metadata, *self.arguments))

    def decode_arguments(self, raw: bytes | msgspec.Raw) -> tuple[Any, ...]:
        """The arguments without the metadata. Raises WireError where they do not fit."""
        try:
            return self._decoder.decode(raw)[1:]
        except UnicodeDecodeError:
            return tuple(decode(raw, self._arguments_type)[1:])
        except msgspec.DecodeError as error:
            raise WireError(f"{self.name}: {error}") from error


CALLS: dict[str, Call] = {}


def _waits(name: str, *arguments: Any, result: Any) -> None:
    CALLS[name] = Call(name, arguments, result, waits=True)


def _forgets(name: str, *arguments: Any) -> None:
    CALLS[name] = Call(name, arguments, None, waits=False)


# Connection, world, episode
_waits("version", result=str)
_waits("get_available_maps", result=list[str])
_waits("get_episode_info", result=t.EpisodeInfo)
_waits("get_sensor_token", Id, result=t.TokenBox)
_waits("get_episode_settings", result=t.EpisodeSettings)
_waits("set_episode_settings", t.EpisodeSettings, result=int)
_waits("tick_cue", result=int)
_waits("get_map_info", result=t.MapInfo)
_waits("get_map_data", result=str)
_waits("get_required_files", str, result=list[str])
_waits("request_file", str, result=bytes)
_waits("get_navigation_mesh", result=bytes)
_waits("load_new_episode", str, Flag, int, result=None)
_waits("copy_opendrive_to_file", str, t.OpendriveGenerationParameters, result=None)
_waits("load_map_layer", int, result=None)
_waits("unload_map_layer", int, result=None)
_waits("get_spectator", result=t.Actor)
_waits("get_actor_definitions", result=list[t.ActorDefinition])
_waits("get_actors_by_id", list[Id], result=list[t.Actor])
_waits("get_weather_parameters", result=t.WeatherParameters)
_forgets("set_weather_parameters", t.WeatherParameters)
_waits("get_imui_gravity", result=float)
_forgets("set_imui_gravity", float)
_waits("get_names_of_all_objects", result=list[str])
_waits("get_environment_objects", int, result=list[t.EnvironmentObject])
_forgets("enable_environment_objects", list[int], Flag)
_waits("get_all_level_BBs", int, result=list[t.BoundingBox])
_waits("apply_color_texture_to_objects", list[str], int, msgspec.Raw, result=None)
_waits("apply_float_color_texture_to_objects", list[str], int, msgspec.Raw, result=None)
_waits("project_point", t.Location, t.Vector3D, float, result=tuple[bool, t.LabelledPoint])
_waits("cast_ray", t.Location, t.Location, result=list[t.LabelledPoint])
_waits("query_lights_state", str, result=list[t.LightState])
_forgets("update_lights_state", str, list[t.LightState], Flag)
_forgets("update_day_night_cycle", str, Flag)
_forgets("set_annotations_traverse_translucency", Flag)
_forgets("draw_debug_shape", t.DebugShape)
_forgets("clear_debug_shape")
_forgets("clear_debug_string")
_waits("start_recorder", str, Flag, result=str)
_forgets("stop_recorder")
_waits("show_recorder_file_info", str, Flag, result=str)
_waits("show_recorder_collisions", str, int, int, result=str)
_waits("show_recorder_actors_blocked", str, float, float, result=str)
_waits("replay_file", str, float, float, Id, Flag, t.Transform, result=str)
_forgets("stop_replayer", Flag)
_forgets("set_replayer_time_factor", float)
_forgets("set_replayer_ignore_hero", Flag)
_forgets("set_replayer_ignore_spectator", Flag)
_waits("is_traffic_manager_running", Port, result=bool)
_waits("get_traffic_manager_running", Port, result=tuple[str, int])
_waits("add_traffic_manager_running", tuple[str, Port], result=bool)
_forgets("destroy_traffic_manager", Port)

# Actors
_waits("spawn_actor", t.ActorDescription, t.Transform, result=t.Actor)
_waits(
    "spawn_actor_with_parent", t.ActorDescription, t.Transform, Id, int, str, result=t.Actor
)  # attachment type, socket name
_waits("destroy_actor", Id, result=bool)
_waits("get_actor_bounding_box", Id, result=t.BoundingBox)
_forgets("set_actor_location", Id, t.Location)
_forgets("set_actor_transform", Id, t.Transform)
for _name in (
    "set_actor_target_velocity",
    "set_actor_target_angular_velocity",
    "enable_actor_constant_velocity",
    "add_actor_impulse",
    "add_actor_force",
    "add_actor_angular_impulse",
    "add_actor_torque",
):
    _forgets(_name, Id, t.Vector3D)
_forgets("disable_actor_constant_velocity", Id)
_forgets("add_actor_impulse_at_location", Id, t.Vector3D, t.Vector3D)
_forgets("add_actor_force_at_location", Id, t.Vector3D, t.Vector3D)
_waits("set_actor_simulate_physics", Id, Flag, result=None)
_waits("set_actor_collisions", Id, Flag, result=None)
_forgets("set_actor_dead", Id)
_forgets("set_actor_enable_gravity", Id, Flag)
_forgets("set_actor_autopilot", Id, Flag)
for _name in ("get_actor_component_names", "get_actor_bone_names", "get_actor_socket_names"):
    _waits(_name, Id, result=list[str])
for _name in ("get_actor_component_world_transform", "get_actor_component_relative_transform"):
    _waits(_name, Id, str, result=t.Transform)
for _name in (
    "get_actor_bone_world_transforms",
    "get_actor_bone_relative_transforms",
    "get_actor_socket_world_transforms",
    "get_actor_socket_relative_transforms",
    "get_vehicle_bone_world_transforms",
):
    _waits(_name, Id, result=list[t.Transform])
_forgets("apply_control_to_vehicle", Id, t.VehicleControl)
_forgets("apply_control_to_walker", Id, t.WalkerControl)
_forgets("apply_ackermann_control_to_vehicle", Id, t.VehicleAckermannControl)
_waits("get_ackermann_controller_settings", Id, result=t.AckermannControllerSettings)
_forgets("apply_ackermann_controller_settings", Id, t.AckermannControllerSettings)
_waits("get_physics_control", Id, result=t.VehiclePhysicsControl)
_forgets("apply_physics_control", Id, t.VehiclePhysicsControl)
_waits("get_telemetry_data", Id, result=t.VehicleTelemetryData)
_forgets("show_vehicle_debug_telemetry", Id, Flag)
_waits("get_vehicle_light_state", Id, result=t.VehicleLightState)
_forgets("set_vehicle_light_state", Id, t.VehicleLightState)
_waits("get_vehicle_light_states", result=list[tuple[int, int]])
_forgets("open_vehicle_door", Id, int)
_forgets("close_vehicle_door", Id, int)
_forgets("set_wheel_steer_direction", Id, int, float)
_forgets("set_wheel_pitch_angle", Id, int, float)
_waits("get_wheel_steer_angle", Id, int, result=float)
_waits("get_wheel_pitch_angle", Id, int, result=float)
_forgets("enable_carsim", Id, str)
_forgets("use_carsim_road", Id, Flag)
_forgets("enable_chrono_physics", Id, int, float, str, str, str, str)
_forgets("restore_physx_physics", Id)
_waits("get_bones_transform", Id, result=t.WalkerBones)
_forgets("set_bones_transform", Id, t.BonePoses)
_forgets("blend_pose", Id, float)
_forgets("get_pose_from_animation", Id)
_forgets("set_traffic_light_state", Id, int)
for _name in (
    "set_traffic_light_green_time",
    "set_traffic_light_yellow_time",
    "set_traffic_light_red_time",
):
    _forgets(_name, Id, float)
_forgets("freeze_traffic_light", Id, Flag)
_forgets("freeze_all_traffic_lights", Flag)
_forgets("reset_traffic_light_group", Id)
_waits("reset_all_traffic_lights", result=None)
_waits("get_group_traffic_lights", Id, result=list[Id])
_waits("get_light_boxes", Id, result=list[t.BoundingBox])
_waits("get_gbuffer_token", Id, int, result=bytes)
_waits("enable_gbuffers", Id, Flag, result=None)
_waits("are_gbuffers_enabled", Id, result=bool)
_forgets("enable_sensor_for_ros", int)
_forgets("disable_sensor_for_ros", int)
_waits("is_sensor_enabled_for_ros", int, result=bool)
_waits("send", Id, str, result=None)
_forgets("set_ignored_vehicles", Id, list[Id])
# The result of a batch is bare: a list of Response<actor id>, not a Response itself.
_waits("apply_batch", list[msgspec.Raw], Flag, result=list[Any])
BARE = frozenset({"apply_batch"})

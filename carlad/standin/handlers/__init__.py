"""What the server answers: one function for each call, grouped by theme; `coverage.py` says what is missing.

A handler gets the simulation and the call's arguments and returns the result as `wire.calls` types it, or a
generator that yields until the result is there and then returns it. Those in CALLER_HANDLERS also get the
connection that asks. A refusal is a CallError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carlad.standin.handlers import (
    actors,
    batch,
    drawings,
    episode,
    extras,
    files,
    lights,
    recorder,
    skeletons,
    street_lights,
    surroundings,
    traffic,
    vehicles,
)

Handler = Callable[..., Any]


def _named(*handlers: Handler) -> dict[str, Handler]:
    return {handler.__name__: handler for handler in handlers}


HANDLERS: dict[str, Handler] = _named(
    episode.version,
    episode.get_available_maps,
    episode.get_episode_info,
    episode.get_sensor_token,
    episode.get_episode_settings,
    episode.set_episode_settings,
    episode.get_map_info,
    episode.get_map_data,
    episode.copy_opendrive_to_file,
    episode.load_new_episode,
    episode.get_actor_definitions,
    episode.get_weather_parameters,
    episode.set_weather_parameters,
    episode.get_imui_gravity,
    episode.set_imui_gravity,
    surroundings.load_map_layer,
    surroundings.unload_map_layer,
    surroundings.get_names_of_all_objects,
    surroundings.get_environment_objects,
    surroundings.enable_environment_objects,
    surroundings.get_all_level_BBs,
    surroundings.project_point,
    surroundings.cast_ray,
    street_lights.update_day_night_cycle,
    drawings.draw_debug_shape,
    drawings.clear_debug_shape,
    drawings.clear_debug_string,
    recorder.start_recorder,
    recorder.stop_recorder,
    recorder.show_recorder_file_info,
    recorder.show_recorder_collisions,
    recorder.show_recorder_actors_blocked,
    recorder.replay_file,
    recorder.stop_replayer,
    recorder.set_replayer_time_factor,
    recorder.set_replayer_ignore_hero,
    recorder.set_replayer_ignore_spectator,
    skeletons.get_actor_component_names,
    skeletons.get_actor_component_world_transform,
    skeletons.get_actor_component_relative_transform,
    skeletons.get_actor_bone_names,
    skeletons.get_actor_bone_world_transforms,
    skeletons.get_actor_bone_relative_transforms,
    skeletons.get_actor_socket_names,
    skeletons.get_actor_socket_world_transforms,
    skeletons.get_actor_socket_relative_transforms,
    skeletons.get_vehicle_bone_world_transforms,
    skeletons.get_bones_transform,
    skeletons.set_bones_transform,
    skeletons.blend_pose,
    skeletons.get_pose_from_animation,
    extras.get_gbuffer_token,
    extras.are_gbuffers_enabled,
    extras.is_sensor_enabled_for_ros,
    extras.set_annotations_traverse_translucency,
    files.get_required_files,
    files.request_file,
    files.get_navigation_mesh,
    actors.get_spectator,
    actors.get_actors_by_id,
    actors.spawn_actor,
    actors.spawn_actor_with_parent,
    actors.destroy_actor,
    actors.get_actor_bounding_box,
    actors.set_actor_location,
    actors.set_actor_transform,
    actors.set_actor_target_velocity,
    actors.set_actor_target_angular_velocity,
    actors.enable_actor_constant_velocity,
    actors.disable_actor_constant_velocity,
    actors.add_actor_impulse,
    actors.set_actor_simulate_physics,
    actors.set_actor_collisions,
    vehicles.apply_control_to_vehicle,
    vehicles.apply_control_to_walker,
    vehicles.get_vehicle_light_state,
    vehicles.set_vehicle_light_state,
    vehicles.get_vehicle_light_states,
    vehicles.get_wheel_steer_angle,
    vehicles.get_physics_control,
    lights.set_traffic_light_state,
    lights.set_traffic_light_green_time,
    lights.set_traffic_light_yellow_time,
    lights.set_traffic_light_red_time,
    lights.freeze_traffic_light,
    lights.freeze_all_traffic_lights,
    lights.reset_traffic_light_group,
    lights.reset_all_traffic_lights,
    lights.get_group_traffic_lights,
    lights.get_light_boxes,
    traffic.is_traffic_manager_running,
    traffic.get_traffic_manager_running,
    traffic.destroy_traffic_manager,
    batch.apply_batch,
)
CALLER_HANDLERS: dict[str, Handler] = _named(
    episode.tick_cue,
    street_lights.query_lights_state,
    street_lights.update_lights_state,
    traffic.add_traffic_manager_running,
)

# What the real server answers on a worker thread, even while its game thread hangs.
OFF_THE_GAME_THREAD = frozenset({"version", "get_available_maps"})

"""Version, episode, settings, maps, weather."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import msgspec

from carlad.standin import towns
from carlad.standin.errors import require_finite
from carlad.standin.making import definitions
from carlad.standin.motion.kernels import make_ready
from carlad.standin.simulation import Simulation
from carlad.standin.weather import visible
from carlad.wire import types as t
from carlad.wire.errors import CallError
from carlad.wire.streaming import WORLD_STREAM

if TYPE_CHECKING:
    from carlad.standin.caller import Caller

DELTA_MAX_S = 60.0
OPENDRIVE_MAP = "OpenDriveMap"  # the name under which the client loads the text it has sent


def version(sim: Simulation) -> str:
    return sim.version


def get_available_maps(sim: Simulation) -> list[str]:
    return list(towns.available(sim.map_directories))


def get_episode_info(sim: Simulation) -> t.EpisodeInfo:
    return t.EpisodeInfo(sim.episode_id, t.TokenBox(sim.streams.token(WORLD_STREAM)))


def get_sensor_token(sim: Simulation, stream_id: int) -> t.TokenBox:
    if not sim.streams.has(stream_id):
        raise CallError(f"unable to find a stream with id {stream_id}")
    sim.streams.expect(stream_id)
    return t.TokenBox(sim.streams.token(stream_id))


def get_episode_settings(sim: Simulation) -> t.EpisodeSettings:
    return sim.settings


def set_episode_settings(sim: Simulation, settings: t.EpisodeSettings) -> Generator[float, None, int]:
    if (settings.fixed_delta_s or 0.0) > DELTA_MAX_S:
        raise CallError(
            f"cannot use a fixed time step of {settings.fixed_delta_s} s: {DELTA_MAX_S} s at most"
        )
    sim.settings = settings
    yield from sim.streams.drained()
    return sim.frame  # already sent, so the client waits for nothing


def tick_cue(sim: Simulation, caller: Caller) -> Generator[float, None, int]:
    if sim.settings.synchronous_mode:
        yield from caller.step_settled()
        frame = yield from sim.ticked()
        caller.ticked()
        return frame
    return sim.frame + 1


def get_map_info(sim: Simulation) -> t.MapInfo:
    return t.MapInfo(sim.town.name, list(sim.town.spawn_points))


def get_map_data(sim: Simulation) -> str:
    return sim.town.xodr


def copy_opendrive_to_file(sim: Simulation, xodr: str, parameters: t.OpendriveGenerationParameters) -> None:
    """Keep the text; the client asks to load it right afterwards."""
    try:
        towns.from_opendrive(f"Carla/Maps/{OPENDRIVE_MAP}", xodr)
    except towns.OpenDriveError as error:
        raise CallError(f"opendrive could not be correctly parsed: {error}") from error
    sim.drawn_towns[OPENDRIVE_MAP] = xodr


def load_new_episode(
    sim: Simulation, caller: Caller, name: str, reset_settings: bool, layers: int
) -> Generator[float, None, None]:
    plain = name.rpartition("/")[2]
    if not plain:
        town = sim.town
    else:
        try:
            town = sim.town_of(plain)
        except towns.UnknownTownError as error:
            raise CallError(f"Map '{name}' not found") from error
        except (towns.OpenDriveError, OSError) as error:
            raise CallError(f"Map '{name}' cannot be loaded: {error}") from error
    yield from caller.traffic_caught()
    sim.loading = True  # the client closes its streams once it has the answer: nothing may be on its way
    try:
        yield from sim.streams.drained()
    finally:
        sim.loading = False
    sim.change_town(town, reset_settings, layers)


def get_actor_definitions(sim: Simulation) -> list[t.ActorDefinition]:
    make_ready()  # who asks is about to spawn
    return list(definitions().values())


def get_weather_parameters(sim: Simulation) -> t.WeatherParameters:
    return sim.weather


def set_weather_parameters(sim: Simulation, weather: t.WeatherParameters) -> None:
    require_finite("a weather", *msgspec.structs.astuple(weather))
    sim.weather = weather
    sim.street_lights.sun_at(visible(weather).sun_altitude_angle)


def get_imui_gravity(sim: Simulation) -> float:
    return sim.gravity_mps2


def set_imui_gravity(sim: Simulation, gravity_mps2: float) -> None:
    require_finite("a gravity", gravity_mps2)
    sim.gravity_mps2 = gravity_mps2

"""What the weather is at an episode's start, and what is to be seen of the one that is set."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from carlad.wire import types as t

# CARLA's weather at the start of an episode.
WEATHER = t.WeatherParameters(
    cloudiness=5.0,
    wind_intensity=10.0,
    sun_azimuth_angle=-1.0,
    sun_altitude_angle=45.0,
    fog_density=2.0,
    fog_distance=0.75,
    fog_falloff=0.1,
    scattering_intensity=1.0,
    mie_scattering_scale=0.03,
    rayleigh_scattering_scale=0.0331,
)
_MAPS_OWN = -1.0


def visible(weather: t.WeatherParameters) -> t.WeatherParameters:
    """The weather that is drawn. `carla.WeatherParameters.Default` has the map's own, for which its -1 stand
    (CARLA's pull request 1753); in any other weather a sun at -1 degrees is just there.
    """
    if weather.cloudiness != _MAPS_OWN:
        return weather
    own = asdict(WEATHER)
    return replace(
        weather, **{name: own[name] for name, value in asdict(weather).items() if value == _MAPS_OWN}
    )

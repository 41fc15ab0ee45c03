"""What the weather does to colours: sun, sky and haze. Schematic, after no physical model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from carlad.wire.types import WeatherParameters

_DAY_ZENITH, _DAY_HORIZON = np.array((96.0, 152.0, 222.0)), np.array((198.0, 217.0, 234.0))
_DUSK_ZENITH, _DUSK_HORIZON = np.array((84.0, 98.0, 150.0)), np.array((244.0, 186.0, 132.0))
_NIGHT_ZENITH, _NIGHT_HORIZON = np.array((10.0, 13.0, 26.0)), np.array((38.0, 44.0, 62.0))
_DUST = np.array((196.0, 168.0, 124.0))
_NOON_SUN, _DUSK_SUN = np.array((1.0, 0.97, 0.9)), np.array((1.0, 0.74, 0.5))
_AMBIENT = np.array((0.58, 0.61, 0.66))
_NIGHT_AMBIENT = np.array((0.3, 0.31, 0.37))
_CLEAR_VIEW_M = 900.0  # the distance at which clear air hides 63 % of a surface
_HAZE_TOP_M = 100.0  # above the ground
_FOG_VIEW_M = 25.0  # the same at 100 % fog


@dataclass(frozen=True, eq=False)
class Daylight:
    """Colours are RGB: `zenith` and `horizon` in [0, 255], `sun` and `ambient` as factors of a surface's own.

    to_sun: float (3,), unit vector, world frame
    view_m: distance at which haze hides 63 % of a surface's colour
    """

    to_sun: npt.NDArray[np.float64]
    sun: npt.NDArray[np.float64]
    ambient: npt.NDArray[np.float64]
    zenith: npt.NDArray[np.float64]
    horizon: npt.NDArray[np.float64]
    view_m: float


def daylight(weather: WeatherParameters) -> Daylight:
    """Sun angles in degrees (altitude -90: midnight), cloudiness, rain, fog and dust in percent."""
    return _daylight(astuple(weather))


@lru_cache(maxsize=8)
def _daylight(values: tuple[float, ...]) -> Daylight:
    weather = WeatherParameters(*values)
    altitude, azimuth = math.radians(weather.sun_altitude_angle), math.radians(weather.sun_azimuth_angle)
    level = math.cos(altitude)
    to_sun = np.array((level * math.cos(azimuth), level * math.sin(azimuth), math.sin(altitude)))
    day = _ramp(weather.sun_altitude_angle, -8.0, 6.0)
    noon = _ramp(weather.sun_altitude_angle, 4.0, 32.0)
    cloud = _percent(weather.cloudiness)
    zenith = _mix(_NIGHT_ZENITH, _mix(_DUSK_ZENITH, _DAY_ZENITH, noon), day)
    horizon = _mix(_NIGHT_HORIZON, _mix(_DUSK_HORIZON, _DAY_HORIZON, noon), day)
    dust = _percent(weather.dust_storm)
    shine = day * (1.0 - 0.85 * cloud) * (1.0 - 0.6 * dust)
    return Daylight(
        to_sun=to_sun,
        sun=_mix(_DUSK_SUN, _NOON_SUN, noon) * 0.62 * shine,
        ambient=_mix(_NIGHT_AMBIENT, _AMBIENT * (1.0 + 0.3 * cloud), day),
        zenith=_overcast(_mix(zenith, horizon, _percent(weather.fog_density)), cloud, dust),
        horizon=_overcast(horizon, cloud, dust),
        view_m=_view(weather, dust),
    )


def seen_from(light: Daylight, height_m: float) -> Daylight:
    """The same for an eye so high above the lowest ground: haze lies low, and little of it is in the way."""
    if height_m <= _HAZE_TOP_M:
        return light
    return replace(light, view_m=light.view_m * height_m / _HAZE_TOP_M)


def shade(
    color: npt.NDArray[np.uint8], normals: npt.NDArray[np.float32], light: Daylight
) -> npt.NDArray[np.uint32]:
    """Triangles' colours (T, 3) as lit, packed as in `pack`; surfaces that look up get more sky."""
    facing = np.clip(normals @ light.to_sun.astype(np.float32), 0.0, None)[:, None]
    sky = (0.8 + 0.2 * normals[:, 2:3]) * light.ambient
    return pack(color * (sky + facing * light.sun))


def pack(rgb: npt.NDArray[np.number]) -> npt.NDArray[np.uint32]:
    """(..., 3) RGB in [0, 255] to the little-endian words of B, G, R, A = 255; too bright is cut off."""
    red, green, blue = np.moveaxis(np.clip(rgb, 0.0, 255.0).astype(np.uint32), -1, 0)
    packed: npt.NDArray[np.uint32] = blue | green << 8 | red << 16 | np.uint32(0xFF000000)
    return packed


def _view(weather: WeatherParameters, dust: float) -> float:
    """Fog hides most, heavy rain and dust some."""
    density = max(_percent(weather.fog_density), 0.25 * _percent(weather.precipitation), 0.8 * dust)
    thickness = (1.0 - density) / _CLEAR_VIEW_M + density**2 / _FOG_VIEW_M
    return 1.0 / thickness


def _overcast(sky: npt.NDArray[np.float64], cloud: float, dust: float) -> npt.NDArray[np.float64]:
    gray = np.full(3, sky.mean() * 0.92)
    return _mix(_mix(sky, gray, 0.85 * cloud), _DUST * (sky.mean() / 255.0 + 0.2), 0.8 * dust)


def _mix(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], share: float
) -> npt.NDArray[np.float64]:
    return low + (high - low) * share


def _ramp(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _percent(value: float) -> float:
    return min(max(value / 100.0, 0.0), 1.0)

"""What of a town can be known before an episode: its lanes, as a graph and as shapes. Kept for each map."""

from __future__ import annotations

import hashlib
import math
from functools import cached_property
from typing import Any

from carlad.telemetry import Lanes, lanes_of
from trainer.env import raster
from trainer.env.bev import SpeedSign
from trainer.env.layouts import Layout
from trainer.env.raster import Raster
from trainer.env.road_map import RoadMap
from trainer.env.route import Route

_TOWNS_MAX = 4  # kept; more would only be memory

_SPEED_LIMIT = "274"  # OpenDRIVE's type of the sign, after Germany's

_towns: dict[tuple[str, str], Town] = {}


class Town:
    """A map's geometry, made when it is asked for."""

    def __init__(self, carla_map: Any) -> None:
        self.map = carla_map
        self._rasters: dict[float, Raster] = {}

    @cached_property
    def roads(self) -> RoadMap:
        """The lanes as a graph, for planning."""
        return RoadMap(self.map)

    @cached_property
    def lanes(self) -> Lanes:
        """The lanes as shapes, for drawing."""
        return lanes_of(self.map)

    @cached_property
    def speed_signs(self) -> list[SpeedSign]:
        """The signs that set a speed limit."""
        return [_speed_sign(each) for each in self.map.get_all_landmarks_of_type(_SPEED_LIMIT)]

    def raster(self, view: Layout, route: Route) -> Raster:
        """The lanes' picture for a layout: of the whole town, or around the route if that is too large."""
        if view.px_per_m in self._rasters:
            return self._rasters[view.px_per_m]
        whole = raster.region_of(self.lanes)
        if math.prod(whole.pixels(view.px_per_m)) > raster.PIXELS_MAX:
            return raster.draw(self.lanes, raster.around(route.xy, view.reach_m), view.px_per_m)
        self._rasters[view.px_per_m] = raster.draw(self.lanes, whole, view.px_per_m)
        return self._rasters[view.px_per_m]


def town_of(carla_map: Any) -> Town:
    """The town of a carla.Map; the same one for a map that was seen before."""
    key = carla_map.name, hashlib.sha256(carla_map.to_opendrive().encode()).hexdigest()
    if key not in _towns:
        while len(_towns) >= _TOWNS_MAX:
            del _towns[next(iter(_towns))]
        _towns[key] = Town(carla_map)
    return _towns[key]


def _speed_sign(landmark: Any) -> SpeedSign:
    place, yaw_deg = landmark.transform.location, landmark.transform.rotation.yaw
    return SpeedSign(place.x, place.y, math.radians(yaw_deg), landmark.value / 3.6)

"""Street lights: where they stand, which of them burn, and who has to be told.

The light manager of CARLA's client asks for all lights once, and again whenever a snapshot says that an
update is pending. Source: `UCarlaLightSubsystem` of CARLA's Unreal plugin (0.9.16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from math import cos, radians, sin

import carla
import msgspec

from carlad.standin.towns import Town
from carlad.wire import types as t

STREET_GROUP = 2  # carla.LightGroup.Street
MAST_M = 6.0
ARM_M = 1.4  # from the mast towards the road
_SPACING_M = 38.0
_NEAR_M = 1.0  # so exactly the end of a lane is found
_BESIDE_M = 0.9  # from the outermost lane's border to the mast
_WARM_WHITE = (255, 214, 160)
_INTENSITY = 1000.0  # lumen
_NIGHT_DEG = 0.0  # altitude of the sun below which the day-night cycle lights them
_REMINDERS_MAX = 50  # a client that has not asked after so many snapshots is gone
_TOWNS_KEPT = 4


class Mast(msgspec.Struct, frozen=True):
    """One mast: its foot (m, world) and the direction of its arm, which reaches over the road."""

    x: float
    y: float
    z: float
    yaw_deg: float

    @property
    def lamp(self) -> t.Vector3D:
        """Where the light is."""
        yaw = radians(self.yaw_deg)
        return t.Vector3D(self.x + ARM_M * cos(yaw), self.y + ARM_M * sin(yaw), self.z + MAST_M)


class StreetLights:
    """All street lights of an episode. `by_id` holds them as they travel."""

    def __init__(self, town: Town) -> None:
        self.by_id = {
            index: t.LightState(index, mast.lamp, _INTENSITY, STREET_GROUP, t.Color(*_WARM_WHITE), False)
            for index, mast in enumerate(masts_of(town), start=1)
        }
        self.follows_the_sun = True
        self._clients: dict[int, int] = {}  # snapshots since each was told of a change; 0: it knows all

    def update_is_pending(self) -> bool:
        """Whether the next snapshot has to say that a client has not heard of the latest change yet."""
        if not any(self._clients.values()):
            return False
        waited = {client: count + 1 if count else 0 for client, count in self._clients.items()}
        self._clients = {client: count for client, count in waited.items() if count <= _REMINDERS_MAX}
        return any(self._clients.values())

    def query(self, client: int) -> list[t.LightState]:
        """All lights, for a client that then knows them."""
        self._clients[client] = 0
        return list(self.by_id.values())

    def update(self, client: int, lights: Sequence[t.LightState], discard_client: bool) -> None:
        """Change some lights; ids that do not exist are left out.

        The other clients are told, and `client` too unless `discard_client`.
        """
        for light in lights:
            if light.id in self.by_id:
                self.by_id[light.id] = msgspec.structs.replace(light, location=self.by_id[light.id].location)
        self._tell_all_but(client if discard_client else None)

    def sun_at(self, altitude_deg: float) -> None:
        """The sun has moved: the lights burn at night, where they follow it."""
        if not self.follows_the_sun:
            return
        burning = altitude_deg < _NIGHT_DEG
        if any(light.active != burning for light in self.by_id.values()):
            for light in self.by_id.values():
                light.active = burning
            self._tell_all_but(None)

    def burning(self) -> tuple[tuple[int, int, int] | None, ...]:
        """The colour (RGB) of each light in the order of `masts_of`; None for one that is off."""
        return tuple(
            (light.color.r, light.color.g, light.color.b) if light.active and light.intensity > 0 else None
            for light in self.by_id.values()
        )

    def _tell_all_but(self, client: int | None) -> None:
        for other in self._clients:
            if other != client:
                self._clients[other] = 1


def masts_of(town: Town) -> tuple[Mast, ...]:
    """The masts of a town, the same ones for the same map."""
    return _masts(town.xodr, town.map)


@lru_cache(_TOWNS_KEPT)
def _masts(xodr: str, town_map: carla.Map) -> tuple[Mast, ...]:
    return tuple(_beside_roads(town_map))


def _beside_roads(town_map: carla.Map) -> Iterator[Mast]:
    """A row along the right side of every road outside junctions."""
    done: set[tuple[int, int]] = set()
    for first, _last in town_map.get_topology():
        side = (first.road_id, 1 if first.lane_id > 0 else -1)
        if first.is_junction or side in done:
            continue
        done.add(side)
        for waypoint in islice(_along_lane(first), 1, None, 2):
            mast = _beside(_outermost(waypoint))
            if _is_off_the_road(town_map, mast):
                yield mast


def _along_lane(first: carla.Waypoint) -> Iterator[carla.Waypoint]:
    """From `first` to the lane's end, which is there, too. The library's own `next_until_lane_end` crashes on
    lanes that lead nowhere.
    """
    here, step_m = first, _SPACING_M
    yield here
    while (onward := _onward(here, step_m)) is not None:
        yield (here := onward)
    while step_m > _NEAR_M:
        step_m /= 2
        here = _onward(here, step_m) or here
    yield here


def _onward(here: carla.Waypoint, step_m: float) -> carla.Waypoint | None:
    """Farther along the same lane, where it is so long."""
    for there in here.next(step_m):
        is_same = (there.road_id, there.section_id, there.lane_id) == (
            here.road_id,
            here.section_id,
            here.lane_id,
        )
        if is_same and (there.s - here.s) * here.lane_id < 0.0:  # and not its beginning, as on a ring
            return there
    return None


def _outermost(waypoint: carla.Waypoint) -> carla.Waypoint:
    """The last lane to the right that is no pavement, going the same way."""
    while True:
        right = waypoint.get_right_lane()
        if (
            right is None
            or right.lane_type == carla.LaneType.Sidewalk
            or right.lane_id * waypoint.lane_id < 0
        ):
            return waypoint
        waypoint = right


def _beside(waypoint: carla.Waypoint) -> Mast:
    pose = waypoint.transform
    aside = pose.get_right_vector()
    reach = waypoint.lane_width / 2 + _BESIDE_M
    place = pose.location
    return Mast(place.x + reach * aside.x, place.y + reach * aside.y, place.z, pose.rotation.yaw - 90.0)


def _is_off_the_road(town_map: carla.Map, mast: Mast) -> bool:
    place = carla.Location(mast.x, mast.y, mast.z)
    return town_map.get_waypoint(place, False, carla.LaneType.Driving) is None

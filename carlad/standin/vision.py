"""An episode as `rendering` sees it: the town with all actors in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from carlad.standin.rendering.objects import Objects
from carlad.standin.rendering.piercing import first_surfaces
from carlad.standin.rendering.scene import Frame, Scene
from carlad.standin.towns import Town
from carlad.standin.vehicles import Vehicle
from carlad.standin.weather import visible
from carlad.wire import types as t

if TYPE_CHECKING:
    from carlad.standin.actors import Actor
    from carlad.standin.drawings import Stroke
    from carlad.standin.simulation import Simulation
    from carlad.standin.world import World

SCENES_MAX = 3  # towns whose triangles are kept, about 20 MB each
_scenes: OrderedDict[str, Scene] = OrderedDict()  # by their look, the latest last
_EGO_ROLES = ("hero", "ego_vehicle")
_PLAIN = (150, 140, 130)  # colour of walkers and props, whose blueprints state none


class Eyes:
    """An episode's scene and its frame of the present tick, shared by all cameras and LiDARs."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._scene = scene_of(simulation.town)
        self._looks = Looks()
        self._frame: Frame | None = None
        self._frame_number = -1

    @property
    def are_opening(self) -> bool:
        """Whether the scene is still being built: to look now would take up to some seconds."""
        return self._scene.is_warming

    def are_new_to(self, what: str) -> bool:
        """Whether this was not asked of the town before."""
        is_new = what not in self._scene.rehearsed
        self._scene.rehearsed.add(what)
        return is_new

    def will_cast(self) -> None:
        """Somebody will see by rays: import what casts them now, not in a tick."""
        self._scene.begin_to_warm(rays=True)

    @property
    def weather(self) -> t.WeatherParameters:
        return visible(self._simulation.weather)

    @property
    def time_s(self) -> float:
        """Simulated time of the present tick."""
        return self._simulation.time_s

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        """What clients have drawn into the world."""
        return self._simulation.drawings.at(self.time_s)

    def actor(self, actor_id: int) -> Actor | None:
        """Whom a surface belongs to; None for one that is gone since."""
        return self._simulation.world.actors.get(actor_id)

    def egos(self) -> frozenset[int]:
        """Ids of the vehicles that somebody drives for himself, by CARLA's names of their role."""
        return frozenset(
            actor.id
            for actor in self._simulation.world.vehicles.all
            if any(role in actor.values.get("role_name", "") for role in _EGO_ROLES)
        )

    def described(self, actor: Actor) -> t.Actor:
        """An actor as it travels."""
        return self._simulation.described(actor)

    def frame(self) -> Frame:
        """The world as it is in this tick."""
        simulation = self._simulation
        if self._frame is None or self._frame_number != simulation.frame:
            self._frame = self.present()
            self._frame_number = simulation.frame
        return self._frame

    def present(self) -> Frame:
        """The world as it is now, whatever was moved since the tick."""
        simulation = self._simulation
        return self._scene.frame(
            self._looks.objects(simulation.world),
            simulation.world.lights.states.tolist(),
            simulation.street_lights.burning(),
            simulation.surroundings.hidden,
        )


def scene_of(town: Town) -> Scene:
    """The scene of a town, built once for all its episodes: they follow each other quickly in training."""
    scene = _scenes.pop(town.look, None)
    if scene is None:
        scene = Scene(town)
        scene.begin_to_warm(rays=False)  # need not wait for the first tick
    _scenes[town.look] = scene
    while len(_scenes) > SCENES_MAX:
        _scenes.popitem(last=False)
    return scene


def along(
    frame: Frame, start: t.Location, direction: t.Vector3D, distance_m: float | None
) -> Iterator[t.LabelledPoint]:
    """Where a ray enters things, in order; each thing once. Without `distance_m` as far as `direction` is."""
    way = np.array((direction.x, direction.y, direction.z))
    length = float(np.linalg.norm(way))
    if not length:
        return
    reach = length if distance_m is None else distance_m
    for place, tag in first_surfaces(frame, np.array((start.x, start.y, start.z)), way / length, reach):
        yield t.LabelledPoint(t.Vector3D(*place.tolist()), tag)


class Looks:
    """What stays the same of all vehicles, walkers and props while none comes or goes."""

    def __init__(self) -> None:
        self._solids: list[Actor] = []
        self._unposed = Objects.none()

    def objects(self, world: World) -> Objects:
        """All of them as rows of arrays, as they stand now."""
        solids = world.solids
        if not solids:
            return Objects.none()
        if solids != self._solids:
            self._solids, self._unposed = list(solids), _unposed(solids)
        return replace(self._unposed, pose=_poses(world))


def _unposed(solids: Sequence[Actor]) -> Objects:
    boxes = [actor.bounding_box for actor in solids]
    return Objects(
        actor_id=np.array([actor.id for actor in solids], np.uint32),
        tag=np.array([actor.semantic_tag for actor in solids], np.uint8),
        color=np.array([actor.color if isinstance(actor, Vehicle) else _PLAIN for actor in solids], np.uint8),
        pose=np.zeros((len(solids), 6)),
        center=np.array([(box.location.x, box.location.y, box.location.z) for box in boxes]),
        extent=np.array([(box.extent.x, box.extent.y, box.extent.z) for box in boxes]),
    )


def _poses(world: World) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 (N, 6): location and rotation of each solid."""
    n = len(world.vehicles)
    rows = [(actor.pose.location, actor.pose.rotation) for actor in world.solids[n:]]
    others = [(place.x, place.y, place.z, turn.pitch, turn.yaw, turn.roll) for place, turn in rows]
    return np.concatenate([world.vehicles.state[:n, :6], np.array(others).reshape(-1, 6)])

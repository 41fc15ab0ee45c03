"""The actors of one episode, and how they move."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from math import cos, radians, sin, tan

import carla
import numpy as np

from carlad.standin import collisions
from carlad.standin.actors import Actor
from carlad.standin.collisions import Collision
from carlad.standin.errors import NO_PARENT, NOT_FOUND, NOTHING_TO_DESTROY, SPAWN_COLLISION, ActorError
from carlad.standin.geometry import compose
from carlad.standin.making import Maker
from carlad.standin.motion import columns as c
from carlad.standin.motion.contacts import PUSHED_X
from carlad.standin.motion.kernels import kernels
from carlad.standin.obstacles import Obstacles
from carlad.standin.records import Segment
from carlad.standin.surroundings import Surroundings
from carlad.standin.towns import Town
from carlad.standin.traffic_lights import TrafficLight, TrafficLights
from carlad.standin.traffic_signs import TrafficSign, TrafficSigns
from carlad.standin.triggers import FRICTION, FrictionTriggers
from carlad.standin.vehicles import SPEED_LIMIT_KMH, Ground, Vehicle, Vehicles
from carlad.standin.walkers import Walker, WalkerSegment
from carlad.wire import types as t
from carlad.wire.errors import CallError

TOMBSTONES_MAX = 2000
SPECTATOR_POSE = t.Transform(t.Vector3D(0.0, 0.0, 20.0), t.Rotation(-30.0, 0.0, 0.0))
_CELL_M = 4.0  # the ground is looked up once for each square of this size, ...
_LEVEL_M = 3.0  # ... and each level: roads lead over each other
_CELL_SIZE = np.array((_CELL_M, _CELL_M, _LEVEL_M))
_CELL = slice(c.CELL, c.CELLS_END)
_VERGE_M = 5.0  # so far beside a lane the ground slopes with it; farther off it is flat
_CELLS_MAX = 100_000
_NOTHING_FELT = np.empty((0, 4))


class Tombstones:
    """What is still answered about actors that are gone.

    A Traffic Manager asks about the actors of its last snapshot; an error would abort the user's process.
    """

    def __init__(self) -> None:
        self._boxes: OrderedDict[int, t.BoundingBox] = OrderedDict()

    def __contains__(self, actor_id: int) -> bool:
        return actor_id in self._boxes

    def bury(self, actor: Actor) -> None:
        self._boxes[actor.id] = actor.bounding_box
        while len(self._boxes) > TOMBSTONES_MAX:
            self._boxes.popitem(last=False)

    def exhume(self, actor_id: int) -> None:
        """Somebody bears that id again."""
        self._boxes.pop(actor_id, None)

    def bounding_box(self, actor_id: int) -> t.BoundingBox | None:
        return self._boxes.get(actor_id)


class World:
    """All actors of an episode."""

    def __init__(self, town: Town, maker: Maker, tombstones: Tombstones, surroundings: Surroundings) -> None:
        self.town = town
        self.tombstones = tombstones
        self.actors: dict[int, Actor] = {}
        self.vehicles = Vehicles()
        self.lights = TrafficLights(town)
        self._bumped = _NOTHING_FELT  # of actors into each other, in the last step
        self._felt = _NOTHING_FELT  # of obstacles, in the last step
        self._maker = maker
        self._surroundings = surroundings
        self._walkers = WalkerSegment()
        self._others = Segment()
        self._props: list[Actor] = []
        self._triggers = FrictionTriggers()
        self._attached: list[Actor] = []
        self._cell = lru_cache(_CELLS_MAX)(self._cell_at)
        self.spectator = maker.spectator(SPECTATOR_POSE)
        self._admit(self.spectator, SPECTATOR_POSE)
        for index, planned in enumerate(town.lights):
            light = maker.traffic_light(index, planned)
            self.actors[light.id] = light
            self.lights.add(light)
        self.signs = TrafficSigns()
        for planned_sign in town.signs:
            sign = maker.traffic_sign(planned_sign)
            self.actors[sign.id] = sign
            self.signs.add(sign)
        self.lights.reset(self.lights.every_group)

    # --- looking actors up ---------------------------------------------------------------------------

    def actor(self, actor_id: int) -> Actor:
        """Raises ActorError where there is no such actor."""
        if actor_id not in self.actors:
            raise ActorError(NOT_FOUND, actor_id)
        return self.actors[actor_id]

    @property
    def walkers(self) -> Sequence[Walker]:
        return [actor for actor in self._walkers.actors if isinstance(actor, Walker)]

    @property
    def solids(self) -> list[Actor]:
        """Everything that can be run into: vehicles first, in the order of their rows."""
        return [*self.vehicles.all, *self._walkers.actors, *self._props]

    @cached_property
    def obstacles(self) -> Obstacles:
        """Found for the first vehicle: that takes some tenths of a second."""
        return Obstacles(self.town, self.signs.all, self.lights.all)

    def records(self) -> tuple[memoryview, ...]:
        """The records of all actors, as they travel."""
        segments = (
            self.vehicles.records,
            self.lights.records,
            self.signs.records,
            self._walkers,
            self._others,
        )
        return tuple(segment.view() for segment in segments if segment.count)

    # --- coming and going ----------------------------------------------------------------------------

    def spawn(self, description: t.ActorDescription, pose: t.Transform) -> Actor:
        """A new actor at `pose` (world). Raises CallError in CARLA's words where it cannot be."""
        actor = self._maker.make(description, pose, self.vehicles)
        if isinstance(actor, (Vehicle, Walker)) and self._occupied(actor, pose):
            raise CallError(SPAWN_COLLISION)
        self._admit(actor, pose)
        return actor

    def spawn_attached(
        self,
        description: t.ActorDescription,
        pose: t.Transform,
        parent_id: int,
        attachment: int = t.AttachmentType.RIGID,
    ) -> Actor:
        """A new actor that moves with another one, `pose` in the parent's frame."""
        parent = self.actors.get(parent_id)
        if parent is None:
            raise CallError(NO_PARENT)
        actor = self._maker.make(description, compose(parent.pose, pose), self.vehicles)
        self._admit(actor, actor.pose)
        self._hang(actor, parent, pose, attachment)
        return actor

    def respawn(
        self, description: t.ActorDescription, pose: t.Transform, actor_id: int, parent: Actor | None
    ) -> Actor:
        """An actor of a recording: under its id of then where nobody has it, whatever may be in its way.

        `pose` is relative to the parent where there is one. Raises CallError without such a blueprint.
        """
        free_id = 0 if actor_id in self.actors else actor_id
        world_from_actor = pose if parent is None else compose(parent.pose, pose)
        actor = self._maker.make(description, world_from_actor, self.vehicles, free_id)
        self.tombstones.exhume(actor.id)
        self._admit(actor, world_from_actor)
        if parent is not None:
            self._hang(actor, parent, pose, t.AttachmentType.RIGID)
        return actor

    def destroy(self, actor_id: int) -> Actor:
        """Take an actor out; what is attached to it stays where it is. Raises CallError."""
        actor = self.actors.get(actor_id)
        if actor is None or isinstance(actor, TrafficSign) or actor is self.spectator:
            raise CallError(NOTHING_TO_DESTROY)
        del self.actors[actor_id]
        self.tombstones.bury(actor)
        for child in tuple(actor.children):
            child.detach()
        actor.detach()
        self._attached = [other for other in self._attached if other.parent is not None]
        if actor in self._props:
            self._props.remove(actor)
        self._triggers.remove(actor)
        if isinstance(actor, Vehicle):
            self.vehicles.remove(actor)
        else:
            self._segment(actor).remove(actor)
        return actor

    def bury_all(self) -> None:
        """Before the world goes: late questions about its actors still get an answer."""
        for actor in self.actors.values():
            self.tombstones.bury(actor)

    def relocate(self, actor: Actor, pose: t.Transform) -> None:
        """Move an actor; `pose` is relative to the parent where it is attached."""
        if actor.parent is not None:
            actor.hang(pose)
        else:
            actor.move(pose)
        if isinstance(actor, Vehicle):
            self._look_down(actor)
        else:
            self._segment(actor).place(actor)

    def _admit(self, actor: Actor, pose: t.Transform) -> None:
        self.actors[actor.id] = actor
        if isinstance(actor, Vehicle):
            self.vehicles.add(actor, pose, Ground(pose.location.z))
            self._look_down(actor)
            return
        if isinstance(actor, Walker):
            actor.ground = self._ground(pose.location).at(pose.location.x, pose.location.y)
        elif self._maker.is_solid(actor):
            self._props.append(actor)
        elif actor.type_id == FRICTION:
            self._triggers.add(actor)
        segment = self._segment(actor)
        segment.add(actor)
        segment.place(actor)

    def _hang(self, actor: Actor, parent: Actor, parent_from_actor: t.Transform, attachment: int) -> None:
        actor.attach(parent, parent_from_actor, attachment)
        self._attached.append(actor)

    def _segment(self, actor: Actor) -> Segment:
        if isinstance(actor, TrafficLight):
            return self.lights.records
        if isinstance(actor, TrafficSign):
            return self.signs.records
        return self._walkers if isinstance(actor, Walker) else self._others

    def _occupied(self, newcomer: Actor, pose: t.Transform) -> bool:
        box, reach = collisions.box_of(newcomer, pose), collisions.radius_of(newcomer.bounding_box)
        if isinstance(newcomer, Vehicle) and self._obstacles_there().in_the_way(box):
            return True
        for other in self.solids:
            place = other.pose.location
            apart = max(abs(place.x - pose.location.x), abs(place.y - pose.location.y))
            if apart < reach + collisions.radius_of(other.bounding_box) and collisions.touching(
                box, collisions.box_of(other)
            ):
                return True
        return False

    def _road_below(self, place: t.Vector3D) -> carla.Waypoint:
        """The nearest point of the nearest driving lane."""
        return self.town.map.get_waypoint(carla.Location(place.x, place.y, place.z))

    def _ground(self, place: t.Vector3D) -> Ground:
        """The ground at a place: the road there, or a flat country as high as the nearest road."""
        road = self._road_below(place)
        at, turn = road.transform.location, road.transform.rotation
        if max(abs(at.x - place.x), abs(at.y - place.y)) > 0.5 * road.lane_width + _VERGE_M:
            return Ground(at.z)
        slope, yaw = tan(radians(turn.pitch)), radians(turn.yaw)
        along_x, along_y = slope * cos(yaw), slope * sin(yaw)
        return Ground(at.z - along_x * at.x - along_y * at.y, along_x, along_y)

    # --- moving on -----------------------------------------------------------------------------------

    def step(self, delta_s: float, substeps: int) -> None:
        """Move the world on by one tick and bring the records up to date."""
        self.lights.step(delta_s)
        if len(self.vehicles):
            self._triggers.step(self.vehicles)
            self.vehicles.step(delta_s, substeps)
        for walker in self.walkers:
            walker.step(delta_s)
        self._collide()
        for walker in self.walkers:
            walker.publish(delta_s)
            self._walkers.place(walker)
        for actor in self._attached:
            actor.follow(delta_s)
            if not isinstance(actor, Vehicle):
                self._segment(actor).place(actor)
        if len(self.vehicles):
            self.vehicles.publish(self.lights, delta_s)
            self._look_down_anew()

    @property
    def collisions(self) -> list[Collision]:
        """What was felt in the last step; to be asked before anybody comes or goes."""
        return [*self._bumps(), *self._crashes()]

    def _bumps(self) -> Iterator[Collision]:
        """Into each other."""
        if not len(self._bumped):
            return
        solids = self.solids
        for row, other_row, impulse_x, impulse_y in self._bumped.tolist():
            one, other = solids[int(row)], solids[int(other_row)]
            yield Collision(one, other, t.Vector3D(-impulse_x, -impulse_y, 0.0))
            yield Collision(other, one, t.Vector3D(impulse_x, impulse_y, 0.0))

    def _crashes(self) -> Iterator[Collision]:
        """Into obstacles."""
        for row, number, impulse_x, impulse_y in self._felt.tolist():
            vehicle, obstacle = self.vehicles.all[int(row)], self.obstacles.actors[int(number)]
            yield Collision(vehicle, obstacle, t.Vector3D(impulse_x, impulse_y, 0.0))
            yield Collision(obstacle, vehicle, t.Vector3D(-impulse_x, -impulse_y, 0.0))

    def _collide(self) -> None:
        """Push apart what touches."""
        self._collide_with_actors()
        self._felt = _NOTHING_FELT
        if len(self.vehicles):
            self._felt = self._obstacles_there().meet(self.vehicles)

    def _collide_with_actors(self) -> None:
        vehicles, others = self.vehicles, [*self._walkers.actors, *self._props]
        self._bumped = _NOTHING_FELT
        if len(vehicles) + len(others) < 2:
            return
        bodies = collisions.bodies(others)
        self._bumped = kernels().push_apart(
            vehicles.state, vehicles.car, vehicles.bodies, len(vehicles), bodies
        )
        if others and len(self._bumped):
            for number in np.flatnonzero(bodies[:, PUSHED_X:].any(axis=1)).tolist():
                collisions.give_way(others[number], bodies[number])

    def _obstacles_there(self) -> Obstacles:
        self.obstacles.hide(self._surroundings.hidden_obstacles)
        return self.obstacles

    def _look_down_anew(self) -> None:
        """Find the ground below those who have come to another part of it."""
        vehicles = self.vehicles
        for row, *cell in kernels().cells_entered(vehicles.state, len(vehicles), _CELL_SIZE).tolist():
            self._stand(vehicles.all[row], cell)

    def _look_down(self, vehicle: Vehicle) -> None:
        """Find the ground below a vehicle that was put somewhere."""
        cell = np.floor(vehicle.state[:3] / _CELL_SIZE)
        vehicle.state[_CELL] = cell
        self._stand(vehicle, [int(index) for index in cell.tolist()])

    def _stand(self, vehicle: Vehicle, cell: list[int]) -> None:
        ground, limit_kmh = self._cell(*cell)
        vehicle.stand_on(ground)
        self.vehicles.limit_speed(vehicle, limit_kmh)

    def _cell_at(self, column: int, row: int, level: int) -> tuple[Ground, float]:
        """The ground and the speed limit (km/h) around a cell's middle."""
        middle = t.Vector3D((column + 0.5) * _CELL_M, (row + 0.5) * _CELL_M, (level + 0.5) * _LEVEL_M)
        road_id = self._road_below(middle).road_id
        return self._ground(middle), self.town.speed_limits_kmh.get(road_id, SPEED_LIMIT_KMH)

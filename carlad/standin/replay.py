"""Replaying a recording: its actors are made again and led along their recorded ways.

After CarlaReplayer.cpp and CarlaReplayerHelper.cpp (0.9.16): lights and signs are found by their places, all
others are made anew, under the ids that they had where nobody has them now. What is led along meets nobody;
at the end it stays, stands still, and physics take over again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.standin import towns
from carlad.standin.actors import Actor
from carlad.standin.geometry import compose
from carlad.standin.recording import Created, NotARecordingError, Place, Tick, read
from carlad.standin.recording_text import head_text
from carlad.standin.skeletons import between
from carlad.standin.traffic_lights import TrafficLight
from carlad.standin.vehicles import Vehicle
from carlad.standin.walkers import Walker
from carlad.wire import types as t
from carlad.wire.errors import CallError
from carlad.wire.types import Transform

if TYPE_CHECKING:
    from carlad.standin.simulation import Simulation

_SPECTATOR = "spectator"
_SENSORS = "sensor."
_TRAFFIC = "traffic."


class Replayer:
    """Plays one recording at a time. `time_factor` and the two switches hold for all of them."""

    def __init__(self, simulation: Simulation) -> None:
        self.time_factor = 1.0
        self.ignore_hero = False
        self.ignore_spectator = False
        self._simulation = simulation
        self._play: _Play | None = None
        self._after_loading: Callable[[], object] | None = None

    def start(
        self, path: Path, start_s: float, duration_s: float, follow_id: int, sensors: bool, offset: Transform
    ) -> str:
        """Begin to replay; what CARLA says about it. A recording of another map has that one loaded first."""
        self.stop(keep_actors=False)
        said = f"Replaying File: {path}\n"
        try:
            head, ticks = read(path)
        except NotARecordingError as error:
            return said + str(error)
        said += head_text(head)
        simulation = self._simulation
        if head.map != simulation.town.name:
            return said + self._load_first(
                head.map, lambda: self.start(path, start_s, duration_s, follow_id, sensors, offset)
            )
        recorded = list(ticks)
        if not recorded:
            return said
        total_s = recorded[-1].elapsed_s
        begin_s = max(0.0, total_s + start_s) if start_s < 0.0 else start_s
        end_s = min(total_s, begin_s + duration_s) if duration_s > 0.0 else total_s
        self._play = _Play(simulation, self, recorded, begin_s, end_s, follow_id, sensors, offset)
        return said + (
            f"Total time recorded: {total_s:g}\n"
            f"Replaying from {begin_s:g} s - {end_s:g} s ({total_s:g} s) at {self.time_factor:.1f}x\n"
        )

    def stop(self, keep_actors: bool) -> None:
        self._after_loading = None
        if self._play is not None:
            self._play.end(keep_actors)
            self._play = None

    def step(self, delta_s: float) -> None:
        """Move what is replayed on by one tick."""
        if self._play is not None and not self._play.advance(delta_s * self.time_factor):
            self.stop(keep_actors=True)

    def world_changed(self) -> None:
        """A new episode has begun."""
        self._play = None
        begin, self._after_loading = self._after_loading, None
        if begin is not None:
            begin()

    def _load_first(self, map_name: str, begin: Callable[[], object]) -> str:
        plain = map_name.rpartition("/")[2]
        try:
            town = self._simulation.town_of(plain)
        except (towns.UnknownTownError, towns.OpenDriveError, OSError):
            return f"Could not load mapfile {map_name}\n"
        self._simulation.change_town(town, reset_settings=False)
        self._after_loading = begin
        return f"Loading map {map_name}\nReplayer will start after map is loaded...\n"


class _Play:
    """One recording on its way."""

    def __init__(
        self,
        simulation: Simulation,
        replayer: Replayer,
        ticks: list[Tick],
        begin_s: float,
        end_s: float,
        follow_id: int,
        sensors: bool,
        offset: Transform,
    ) -> None:
        self._simulation = simulation
        self._replayer = replayer
        self._ticks = ticks
        self._times = [tick.elapsed_s for tick in ticks]
        self._now_s = begin_s
        self._end_s = end_s
        self._follow_id = follow_id
        self._sensors = sensors
        self._offset = offset
        self._actors: dict[int, Actor] = {}  # by their ids in the recording
        self._made: list[int] = []  # ids of those that were made for the replay
        self._heroes: set[int] = set()
        self._standing = {  # lights and signs by their places
            _spot(actor.pose): actor
            for actor in simulation.world.actors.values()
            if actor.type_id.startswith(_TRAFFIC)
        }
        self._done = 0  # ticks whose comings and goings have happened
        self._show()

    def advance(self, delta_s: float) -> bool:
        """False at the end."""
        self._now_s = min(self._now_s + delta_s, self._end_s)
        self._show()
        return self._now_s < self._end_s

    def end(self, keep_actors: bool) -> None:
        """Give the actors that stay back to physics."""
        world = self._simulation.world
        for actor in self._actors.values():
            if actor.id in world.actors:
                _let_go(actor)
        for actor_id in () if keep_actors else reversed(self._made):
            if actor_id in world.actors:
                self._simulation.destroy(actor_id)

    def _show(self) -> None:
        """Put everything where it was at this time, between two ticks where need be."""
        index = max(0, bisect_right(self._times, self._now_s + 1e-6) - 1)
        for tick in self._ticks[self._done : index + 1]:
            self._come_and_go(tick)
        self._done = max(self._done, index + 1)
        tick, following = self._ticks[index], self._ticks[min(index + 1, len(self._ticks) - 1)]
        span_s = following.elapsed_s - tick.elapsed_s
        share = max(0.0, min(1.0, (self._now_s - tick.elapsed_s) / span_s)) if span_s > 0.0 else 0.0
        later = {place.actor_id: place.pose for place in following.places}
        for place in tick.places:
            self._put(place, between(place.pose, later.get(place.actor_id, place.pose), share))
        self._set_states(tick)
        self._follow()

    def _come_and_go(self, tick: Tick) -> None:
        for created in tick.created:
            actor = self._actor_for(created)
            if actor is not None:
                self._actors[created.actor_id] = actor
                if created.is_hero:
                    self._heroes.add(created.actor_id)
        for actor_id in tick.destroyed:
            actor = self._actors.pop(actor_id, None)
            if actor is not None and actor.id in self._made:
                self._simulation.destroy(actor.id)

    def _actor_for(self, created: Created) -> Actor | None:
        """The light or sign that stands there, else a new actor; None for what is left out."""
        world, type_id = self._simulation.world, created.description.id
        if type_id == _SPECTATOR:
            return world.spectator
        if type_id.startswith(_TRAFFIC):
            return self._standing.get(_spot(created.pose))
        if created.is_hero and self._replayer.ignore_hero:
            return None
        if type_id.startswith(_SENSORS) and not self._sensors:
            return None
        return self._make(created)

    def _make(self, created: Created) -> Actor | None:
        simulation = self._simulation
        parent = self._actors.get(created.parent_id) if created.parent_id else None
        if created.parent_id and parent is None:  # left out itself
            return None
        try:
            made = simulation.world.respawn(created.description, created.pose, created.actor_id, parent)
            made = simulation.spawned(made)
        except CallError:  # a blueprint that this version does not have
            return None
        if isinstance(made, (Vehicle, Walker)):
            made.collides = False
        self._made.append(made.id)
        return made

    def _put(self, place: Place, pose: Transform) -> None:
        actor = self._actors.get(place.actor_id)
        if actor is None or actor.parent is not None or actor.id not in self._simulation.world.actors:
            return
        if actor.type_id == _SPECTATOR and (self._replayer.ignore_spectator or self._follow_id):
            return
        if place.actor_id in self._heroes and self._replayer.ignore_hero:
            return
        if isinstance(actor, Vehicle):
            actor.simulate(False)
        self._simulation.world.relocate(actor, pose)

    def _set_states(self, tick: Tick) -> None:
        world = self._simulation.world
        for light in tick.lights:
            actor = self._actors.get(light.actor_id)
            if isinstance(actor, TrafficLight) and actor.id in world.actors:
                world.lights.set_state(actor, light.state)
        for drive in tick.drives:
            vehicle = self._actors.get(drive.actor_id)
            if isinstance(vehicle, Vehicle) and vehicle.id in world.actors:
                vehicle.lights = drive.lights
                vehicle.obey(drive.control)

    def _follow(self) -> None:
        """The spectator stays behind the actor that is followed."""
        followed = self._actors.get(self._follow_id)
        if followed is None or self._replayer.ignore_spectator:
            return
        upright = t.Transform(followed.pose.location, t.Rotation(0.0, followed.pose.rotation.yaw, 0.0))
        world = self._simulation.world
        world.relocate(world.spectator, compose(upright, self._offset))


def _let_go(actor: Actor) -> None:
    """Have it stand where it is, as anybody's."""
    if isinstance(actor, Vehicle):
        actor.simulate(True)
        actor.obey(t.VehicleControl())
    elif isinstance(actor, Walker):
        actor.obey(t.WalkerControl(t.Vector3D()))
    else:
        return
    actor.move(actor.pose, t.Vector3D())
    actor.collides = True


def _spot(pose: Transform) -> tuple[int, int, int]:
    """Where something stands, in whole centimetres as CARLA compares it."""
    place = pose.location
    return int(100.0 * place.x), int(100.0 * place.y), int(100.0 * place.z)

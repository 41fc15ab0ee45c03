"""The simulator as a whole: clock, settings, weather, and the episode that is running."""

from __future__ import annotations

import time
from collections.abc import Generator
from ctypes import c_float
from math import ceil, inf

from carlad.standin import towns
from carlad.standin.actors import Actor
from carlad.standin.drawings import Drawings
from carlad.standin.errors import INVALID_DESCRIPTION
from carlad.standin.making import Maker
from carlad.standin.recording import Recorder
from carlad.standin.replay import Replayer
from carlad.standin.sensing import Sensing
from carlad.standin.setup import Setup
from carlad.standin.streams import Streams
from carlad.standin.street_lights import StreetLights
from carlad.standin.surroundings import ALL_LAYERS, Surroundings
from carlad.standin.towns import Town
from carlad.standin.traffic_managers import TrafficManagers
from carlad.standin.weather import WEATHER
from carlad.standin.world import Tombstones, World
from carlad.wire import CARLA_VERSION, sensors
from carlad.wire import types as t
from carlad.wire.errors import CallError
from carlad.wire.sensors import SensorType, SimulationState
from carlad.wire.streaming import WORLD_STREAM

# A client that has a map loaded drops its subscription of the world and makes a new one as soon as the call
# is answered. A frame that reaches the old one meanwhile can crash it, so the first frame waits for the new
# one; so long at most, for loaders that observe nothing.
HOLD_S = 1.0
DELTA_S = 0.05  # of a tick where the settings leave it open
SUBSTEPS_MAX = 16  # CARLA allows no more
GRAVITY_MPS2 = 9.81


class Simulation:
    """Time moves by `tick` only. In synchronous mode it is deterministic: same calls, same numbers."""

    def __init__(self, town: Town, streams: Streams, setup: Setup) -> None:
        self.streams = streams
        self.version = CARLA_VERSION
        self.traffic_managers = TrafficManagers()
        self.frame = 0
        self.episode_id = 1
        self.settings = setup.settings
        self.weather = WEATHER
        self.gravity_mps2 = GRAVITY_MPS2
        self.drawn_towns: dict[str, str] = {}  # OpenDRIVE texts that clients sent, by map name
        self.recordings = setup.recordings
        self.map_directories = setup.map_directories
        self.recorder = Recorder()
        self.replayer = Replayer(self)
        self._seed = setup.seed
        self._maker = Maker(streams.new_stream)
        self._tombstones = Tombstones()
        self.loading = False  # a map is about to be loaded: no frame is sent unasked
        self._map_changed = False  # which the next frame tells
        self._held_until_s = 0.0
        self._observers_before = 0
        self._next_town: Town | None = None
        self._next_layers = ALL_LAYERS
        self._begin(town)

    @property
    def delta_s(self) -> float:
        """Simulated seconds of the next tick: as in Unreal a float32, which is added up in a double, so that
        twenty ticks of 0.05 s take 1.0000000149 s.
        """
        fixed = c_float(self.settings.fixed_delta_s or 0.0).value
        return fixed if 0.0 < fixed < inf else c_float(DELTA_S).value

    def _substeps(self, delta_s: float) -> int:
        """Equal parts in which physics compute a tick, as the settings want them."""
        longest_s = self.settings.max_substep_delta_time
        if not self.settings.substepping or not longest_s > 0.0:
            return 1
        return max(1, min(self.settings.max_substeps, SUBSTEPS_MAX, ceil(delta_s / longest_s - 1e-6)))

    def token_of(self, actor: Actor) -> bytes:
        """The stream token of a sensor; empty for all other actors."""
        return self.streams.token(actor.stream_id) if actor.stream_id else b""

    def described(self, actor: Actor) -> t.Actor:
        """An actor as it travels."""
        return actor.wire(self.token_of(actor))

    def spawned(self, actor: Actor) -> Actor:
        """Take note of a new actor; returns it. Raises CallError for a sensor whose attributes are unfit."""
        if actor.stream_id:
            try:
                self.sensing.add(actor)
            except ValueError as error:
                self.world.destroy(actor.id)
                raise CallError(f"{INVALID_DESCRIPTION}: {error}") from error
        return actor

    def destroy(self, actor_id: int) -> None:
        """Take an actor out of the world. Raises CallError where there is none."""
        actor = self.world.destroy(actor_id)
        if actor.stream_id:
            self.sensing.remove(actor)

    def tick(self) -> int:
        """Move on by one frame and send it to all subscribers; returns the frame's number."""
        delta_s = self.delta_s
        self.frame += 1
        self.time_s += delta_s
        self.replayer.step(delta_s)
        self.world.step(delta_s, self._substeps(delta_s))
        self.recorder.record(self.world, delta_s)
        self._publish_world(delta_s)
        self.sensing.publish(self.frame, self.time_s, delta_s)
        return self.frame

    def ticked(self) -> Generator[float, None, int]:
        """Tick as synchronous mode must: with all readers there, and gone on when all have read."""
        yield from self.streams.arrived()
        yield from self.sensing.opened()
        frame = self.tick()
        yield from self.streams.drained()
        return frame

    def town_of(self, name: str) -> Town:
        """A town by its plain name. Raises UnknownTownError, OpenDriveError."""
        if name in self.drawn_towns:
            return towns.from_opendrive(f"Carla/Maps/{name}", self.drawn_towns[name])
        return towns.load(name, self.map_directories)

    def change_town(self, town: Town, reset_settings: bool, layers: int = ALL_LAYERS) -> None:
        """Have a new episode begin in `town`, with these map layers, once the present call is answered."""
        self._next_town = town
        self._next_layers = layers
        if reset_settings:
            self.settings = t.EpisodeSettings()

    @property
    def episode_is_due(self) -> bool:
        return self._next_town is not None

    def begin_episode(self) -> None:
        """Begin the episode that `change_town` announced. The next frame tells of it."""
        assert self._next_town is not None
        observed = self.streams.wanted(WORLD_STREAM)
        self._observers_before = self.streams.observers
        self._held_until_s = time.monotonic() + (HOLD_S if observed else 0.0)
        self.streams.end_sensors()
        self.world.bury_all()
        self.episode_id += 1
        self.weather = WEATHER
        self.recorder.stop()
        self._begin(self._next_town)
        self.replayer.world_changed()
        self.frame += 1
        self._map_changed = True

    def stands_still(self, now_s: float) -> bool:
        """Whether no frame may be sent unasked: a client that loads a map comes back first, see HOLD_S."""
        if self.loading or self.episode_is_due:
            return True
        awaited = self._map_changed and self.streams.observers == self._observers_before
        return awaited and now_s < self._held_until_s

    def tell_of_map_change(self) -> bool:
        """Send the new episode's first frame, unasked, where that was not done yet; whether it was."""
        untold = self._map_changed
        if untold:
            self._publish_world(self.delta_s)
        return untold

    def _begin(self, town: Town) -> None:
        self._next_town = None
        self.time_s = 0.0  # of the episode, as in CARLA
        self.town = town
        self.surroundings = Surroundings(town, self._next_layers)
        self.world = World(town, self._maker, self._tombstones, self.surroundings)
        self.street_lights = StreetLights(town)
        self.drawings = Drawings()
        self.sensing = Sensing(self, self._seed)

    def _publish_world(self, delta_s: float) -> None:
        state = SimulationState.NONE
        if self._map_changed:
            state |= SimulationState.MAP_CHANGE
        if self.street_lights.update_is_pending():
            state |= SimulationState.PENDING_LIGHT_UPDATE
        self._map_changed = False
        if self.streams.wanted(WORLD_STREAM):
            head = sensors.header(SensorType.WORLD_OBSERVER, self.frame, self.time_s, None)
            head += sensors.episode_header(self.episode_id, time.monotonic(), delta_s, state)
            self.streams.publish(WORLD_STREAM, head, *self.world.records())

"""Traffic lights: their cycles, and which vehicle stands before which.

A junction's lights form a group. Its phases take turns: green, yellow, then red for all, then the next
phase. Times are each light's own; those of the first light of a phase rule the phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from carlad.standin.actors import Actor
from carlad.standin.records import light_segment
from carlad.standin.towns import LightGroup, Town
from carlad.standin.towns.lights import TrafficLight as PlannedLight
from carlad.wire import types as t
from carlad.wire.types import TrafficLightState

GREEN_S, YELLOW_S, RED_S = 10.0, 3.0, 2.0  # CARLA's defaults
# A vehicle is at a light while its front is this far before the stop line (negative: beyond it), ...
BOX_AHEAD_M = 8.0
BOX_BEYOND_M = -1.5
BOX_HEADING = 0.7  # ... and heads along the lane: cosine of the angle between them.

_NEXT_STATE = {
    TrafficLightState.GREEN: TrafficLightState.YELLOW,
    TrafficLightState.YELLOW: TrafficLightState.RED,
    TrafficLightState.RED: TrafficLightState.GREEN,
}
_TIME_OF = {
    TrafficLightState.GREEN: "green_time",
    TrafficLightState.YELLOW: "yellow_time",
    TrafficLightState.RED: "red_time",
}

FloatPairs = npt.NDArray[np.float64]
IntColumn = npt.NDArray[np.int64]


class TrafficLight(Actor):
    """One light; `index` is its place in `Town.lights` and among the records."""

    def __init__(self, id: int, index: int, planned: PlannedLight, description: t.ActorDescription) -> None:
        box = t.BoundingBox(t.Vector3D(0.0, 0.0, 2.5), t.Vector3D(0.4, 0.4, 2.5), t.Rotation(), id)
        super().__init__(id, description, planned.pose, box, t.CityObjectLabel.TRAFFIC_LIGHT)
        self.index = index
        self.group = planned.group
        self.sign_id = planned.signal_id


class TrafficLights:
    """All lights of a town. They live as long as the town and are never destroyed."""

    def __init__(self, town: Town) -> None:
        self.records = light_segment()
        self._plan = town.light_groups
        self._group_of = np.array([light.group for light in town.lights], np.int64)
        self._phase = np.zeros(len(self._plan), np.int64)  # which phase is, or was last, green
        self._state = [TrafficLightState.GREEN] * len(self._plan)
        self._elapsed_s = np.zeros(len(self._plan))
        self._running = np.ones(len(self._plan))  # 0 while frozen
        self._ends_s = np.zeros(len(self._plan))
        self._boxes = _StopBoxes(town)

    @property
    def all(self) -> list[TrafficLight]:
        return cast("list[TrafficLight]", self.records.actors)

    @property
    def states(self) -> npt.NDArray[np.uint8]:
        """State of each light, in the order of `Town.lights`."""
        return cast("npt.NDArray[np.uint8]", self.records.records["light_state"][: len(self._group_of)])

    @property
    def ids(self) -> npt.NDArray[np.uint32]:
        """Actor id of each light, in the order of `Town.lights`."""
        return cast("npt.NDArray[np.uint32]", self.records.records["id"][: len(self._group_of)])

    def add(self, light: TrafficLight) -> None:
        """Take in the next light of the town."""
        self.records.add(light)
        self.records.place(light)
        record = self.records.records[light.row]
        record["sign_id"] = light.sign_id.encode()
        record["green_time"], record["yellow_time"], record["red_time"] = GREEN_S, YELLOW_S, RED_S
        record["pole_index"] = light.index

    def group(self, light: TrafficLight) -> list[TrafficLight]:
        """The lights of the same junction, this one included."""
        return [other for other in self.all if other.group == light.group]

    def step(self, delta_s: float) -> None:
        if not self._plan:
            return
        self._elapsed_s += delta_s * self._running
        for group in np.flatnonzero(self._elapsed_s >= self._ends_s).tolist():
            self._advance(group)
        self.records.records["elapsed_time"][: len(self._group_of)] = self._elapsed_s[self._group_of]

    def set_state(self, light: TrafficLight, state: int) -> None:
        """Show a state until the group's next change."""
        self.records.records["light_state"][light.row] = state

    def set_time(self, light: TrafficLight, field: str, seconds: float) -> None:
        """`field` is green_time, yellow_time or red_time."""
        self.records.records[field][light.row] = seconds
        self._begin(light.group)

    def freeze(self, groups: Sequence[int], frozen: bool) -> None:
        """Stop, or go on with, the cycles of some groups."""
        for group in groups:
            self._running[group] = 0.0 if frozen else 1.0
            self.records.records["is_frozen"][self._members(self._plan[group])] = frozen

    @property
    def every_group(self) -> range:
        return range(len(self._plan))

    def reset(self, groups: Sequence[int]) -> None:
        """Begin the cycle of some groups anew: the first phase is green."""
        for group in groups:
            self._phase[group] = 0
            self._show(group, TrafficLightState.GREEN)

    def before(self, front: FloatPairs, heading: FloatPairs) -> IntColumn | None:
        """Which light each vehicle stands before: int64 (N,), index of the light or -1; None: none does.

        `front` is the middle of each front bumper (m, world), `heading` a unit vector; float64 (2, N).
        """
        return self._boxes.before(front, heading)

    def _advance(self, group: int) -> None:
        state = _NEXT_STATE[self._state[group]]
        if state is TrafficLightState.GREEN:
            self._phase[group] = (self._phase[group] + 1) % len(self._plan[group].phases)
        self._show(group, state)

    def _show(self, group: int, state: TrafficLightState) -> None:
        plan, states = self._plan[group], self.records.records["light_state"]
        states[self._members(plan)] = TrafficLightState.RED
        states[list(plan.phases[self._phase[group]])] = state
        self._state[group] = state
        self._elapsed_s[group] = 0.0
        self._begin(group)

    def _begin(self, group: int) -> None:
        first = self._plan[group].phases[self._phase[group]][0]
        self._ends_s[group] = self.records.records[_TIME_OF[self._state[group]]][first]

    @staticmethod
    def _members(group: LightGroup) -> list[int]:
        return [index for phase in group.phases for index in phase]


class _StopBoxes:
    """The boxes before the stop lines. A vehicle is in one while its front is."""

    def __init__(self, town: Town) -> None:
        lines = [(line, index) for index, light in enumerate(town.lights) for line in light.stop_lines]
        yaw = np.radians([line.yaw for line, _index in lines])
        self._light = np.array([index for _line, index in lines], np.int64)
        # Rows: along each lane (L, 2), then across each lane (L, 2).
        self._along = np.column_stack([np.cos(yaw), np.sin(yaw)])
        self._axes = np.concatenate([self._along, np.column_stack([-np.sin(yaw), np.cos(yaw)])])
        corners = np.array([(line.x, line.y) for line, _index in lines] * 2).reshape(-1, 2)
        # Middle and half size of each box on those axes, (2 L, 1).
        self._middle = (self._axes * corners).sum(axis=1, keepdims=True)
        self._middle[: len(lines)] -= 0.5 * (BOX_AHEAD_M + BOX_BEYOND_M)
        widths = [line.width for line, _index in lines]
        self._half = 0.5 * np.array([BOX_AHEAD_M - BOX_BEYOND_M] * len(lines) + widths)[:, None]

    def before(self, front: FloatPairs, heading: FloatPairs) -> IntColumn | None:
        count = len(self._light)
        if not count:
            return None
        within = np.abs(self._axes @ front - self._middle) < self._half
        inside = within[:count] & within[count:]
        if not inside.any():
            return None
        inside &= self._along @ heading > BOX_HEADING
        first = inside.argmax(axis=0)
        return np.where(inside.any(axis=0), self._light[first], -1)

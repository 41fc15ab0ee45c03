"""Traffic lights: their cycles, and which vehicle stands before which.

A junction's lights form a group. Its phases take turns: green, yellow, then red for all, then the next
phase. Times are each light's own; those of the first light of a phase rule the phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import cos, radians, sin
from typing import cast

import numpy as np
import numpy.typing as npt

from carlad.standin.records import LIGHT_COLUMNS, light_segment
from carlad.standin.towns import LightGroup, Town
from carlad.standin.towns.lights import TrafficLight as PlannedLight
from carlad.standin.traffic_signs import TrafficSign
from carlad.wire import types as t
from carlad.wire.types import TrafficLightState

GREEN_S, YELLOW_S, RED_S = 10.0, 3.0, 2.0  # CARLA's defaults
# A vehicle is at a light while its front is this far before the stop line (negative: beyond it).
BOX_AHEAD_M = 8.0
BOX_BEYOND_M = -1.5

_ROUNDING_S = 1e-6  # more than sums of ticks can be off

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


class TrafficLight(TrafficSign):
    """One light; `index` is its place in `Town.lights` and among the records."""

    def __init__(self, id: int, index: int, planned: PlannedLight, description: t.ActorDescription) -> None:
        super().__init__(
            id,
            description,
            planned.signal_id,
            planned.pose,
            planned.stop_lines,
            t.CityObjectLabel.TRAFFIC_LIGHT,
        )
        self.index = index
        self.group = planned.group


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
        self._calm_s = 0.0  # for so long surely no group changes
        self.stop_boxes = _stop_boxes(town)

    @property
    def all(self) -> list[TrafficLight]:
        return cast("list[TrafficLight]", self.records.actors)

    @property
    def states(self) -> npt.NDArray[np.uint8]:
        """State of each light, in the order of `Town.lights`."""
        return self.columns[1][: len(self._group_of)]

    @cached_property
    def columns(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
        """Actor id and state of each light and some rows more: views of the records."""
        ids, states = self.records.columns(*LIGHT_COLUMNS)
        return ids, states

    @cached_property
    def _shown_s(self) -> npt.NDArray[np.float32]:
        """The elapsed time of each light: a view of the records."""
        return cast("npt.NDArray[np.float32]", self.records.records["elapsed_time"][: len(self._group_of)])

    def add(self, light: TrafficLight) -> None:
        """Take in the next light of the town: all of them before the first step."""
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
        self._calm_s -= delta_s
        if self._calm_s < _ROUNDING_S:
            self._change()
        self._shown_s[:] = self._elapsed_s[self._group_of]

    def set_state(self, light: TrafficLight, state: int) -> None:
        """Show a state until the group's next change."""
        self.records.records["light_state"][light.row] = state

    def set_time(self, light: TrafficLight, field: str, seconds: float) -> None:
        """`field` is green_time, yellow_time or red_time."""
        self.records.records[field][light.row] = seconds
        self._begin(light.group)

    def freeze(self, groups: Sequence[int], frozen: bool) -> None:
        """Stop, or go on with, the cycles of some groups."""
        self._calm_s = 0.0
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

    def _change(self) -> None:
        """Go on with the groups whose time is up, and find out when the next one is."""
        for group in np.flatnonzero(self._elapsed_s >= self._ends_s).tolist():
            self._advance(group)
        self._calm_s = float(np.fmin.reduce(self._ends_s - self._elapsed_s))

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
        self._calm_s = 0.0
        self._ends_s[group] = self.records.records[_TIME_OF[self._state[group]]][first]

    @staticmethod
    def _members(group: LightGroup) -> list[int]:
        return [index for phase in group.phases for index in phase]


def _stop_boxes(town: Town) -> npt.NDArray[np.float64]:
    """The boxes before the stop lines, as motion/contacts.py wants to have them: float64 (N, STOP_BOX)."""
    rows = []
    for index, light in enumerate(town.lights):
        for line in light.stop_lines:
            along_x, along_y = cos(radians(line.yaw)), sin(radians(line.yaw))
            middle = line.x * along_x + line.y * along_y - 0.5 * (BOX_AHEAD_M + BOX_BEYOND_M)
            half = 0.5 * (BOX_AHEAD_M - BOX_BEYOND_M)
            across = line.y * along_x - line.x * along_y
            rows.append((along_x, along_y, middle, across, half, 0.5 * line.width, index))
    return np.array(rows, np.float64).reshape(-1, 7)

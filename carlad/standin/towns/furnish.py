"""Adds to an OpenDRIVE text what its junctions lack: traffic lights, signs and crosswalks.

Signals are written as CARLA's own maps have them: 1000001 for lights, with a controller for each approach
so that no streams that cross are green together, 205 (yield), 206 (stop) and 274 (speed limit), crosswalks
as objects with an outline. Kinds of which the text has any already are left as they are.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

import carla

from carlad.standin.towns import crosssection
from carlad.standin.towns.attributes import number, road_id, whole
from carlad.standin.towns.control import Control, Rule, control
from carlad.standin.towns.crossroads import Arm, Junction, junctions
from carlad.standin.towns.speeds import speed_limits_kmh

LIGHT, YIELD, STOP, SPEED_LIMIT = "1000001", "205", "206", "274"

STOP_LINE_M = 5.0  # before the road's end, so that a crosswalk has room beyond it
_CROSSWALK_FROM_STOP_LINE_M = (0.5, 3.5)
_CROSSWALK_ON_PAVEMENT_M = 1.2  # by which it reaches onto the pavement at either end
_CROSSWALK_MAX_M = 60.0
_POST_FROM_KERB_M = 0.8
_SPEED_SIGN_M = 8.0  # after the road's beginning
_SPEED_SIGN_ROAD_MIN_M = 30.0
_SIGN_NAMES = {Rule.STOP: ("Sign_Stop", STOP), Rule.YIELD: ("Sign_Yield", YIELD)}


def furnish(town_map: carla.Map, document: ET.Element, stop_line_m: float = STOP_LINE_M) -> bool:
    """Adds to `document`, of which `town_map` was made; whether there was anything to add."""
    return _Furnisher(town_map, document, stop_line_m).run()


@dataclass(frozen=True)
class _Present:
    """What a map has already."""

    lights: bool
    signs: bool
    speed_signs: bool
    crosswalks: bool

    @staticmethod
    def of(document: ET.Element) -> _Present:
        types = {signal.get("type") for signal in document.iterfind("road/signals/signal")}
        objects = {thing.get("type") for thing in document.iterfind("road/objects/object")}
        return _Present(
            LIGHT in types, bool(types & {YIELD, STOP}), SPEED_LIMIT in types, "crosswalk" in objects
        )

    @property
    def complete(self) -> bool:
        return self.lights and self.signs and self.speed_signs and self.crosswalks


class _Furnisher:
    def __init__(self, town_map: carla.Map, document: ET.Element, stop_line_m: float) -> None:
        self._document = document
        self._present = _Present.of(document)
        self._town_map = town_map
        self._stop_line_m = stop_line_m
        self._roads = {road_id(road): road for road in document.iterfind("road")}
        self._junctions = {whole(place, "id"): place for place in document.iterfind("junction")}
        self._limits = speed_limits_kmh(document)
        self._signal_id = _highest_id(document.iterfind("road/signals/signal"))
        self._controller_id = _highest_id(document.iterfind("controller"))
        self._object_id = _highest_id(document.iterfind("road/objects/object"))
        self._added = 0

    def run(self) -> bool:
        if self._present.complete:
            return False
        ruled = [(junction, control(junction, self._limits)) for junction in junctions(self._town_map)]
        if not self._present.lights:
            for junction, found in ruled:
                if found.rule is Rule.LIGHTS:
                    self._add_lights(junction, found)
        if not self._present.signs:
            for _, found in ruled:
                if found.rule in _SIGN_NAMES:
                    self._add_signs(found)
        if not self._present.speed_signs:
            self._add_speed_signs([junction for junction, _ in ruled])
        if not self._present.crosswalks:
            for junction, found in ruled:
                if found.rule is not Rule.NONE:
                    self._add_crosswalks(junction)
        return self._added > 0

    # --- lights and signs --------------------------------------------------------------------------

    def _add_lights(self, junction: Junction, found: Control) -> None:
        element = self._junctions[junction.id]
        place = list(self._document).index(next(iter(self._junctions.values())))
        for sequence, arm in enumerate(found.arms):
            signal = self._add_signal(arm, "TrafficLight", LIGHT, self._stop_line(arm), dynamic=True)
            self._controller_id = max(self._controller_id + 1, int(signal))
            number = str(self._controller_id)
            controller = ET.Element("controller", name=f"Controller {number}", id=number, sequence="0")
            ET.SubElement(controller, "control", signalId=signal, type="0")
            self._document.insert(place + sequence, controller)
            ET.SubElement(element, "controller", id=number, type="0", sequence=str(sequence))

    def _add_signs(self, found: Control) -> None:
        name, kind = _SIGN_NAMES[found.rule]
        for arm in found.arms:
            self._add_signal(arm, name, kind, self._stop_line(arm))

    def _add_speed_signs(self, all_junctions: Iterable[Junction]) -> None:
        """Where a road begins whose limit differs from that of a road that leads to it."""
        for junction in all_junctions:
            for arm in junction.counter_clockwise():
                sources = {self._limits.get(s.incoming[0]) for s in junction.streams if s.outgoing == arm.key}
                limit = self._limits.get(arm.road_id)
                if limit is not None and sources - {limit} and self._length(arm) >= _SPEED_SIGN_ROAD_MIN_M:
                    self._add_signal(
                        arm, f"Speed_{limit:.0f}", SPEED_LIMIT, _SPEED_SIGN_M, value=limit, leaving=True
                    )

    def _add_signal(
        self,
        arm: Arm,
        name: str,
        kind: str,
        distance_m: float,
        dynamic: bool = False,
        value: float | None = None,
        leaving: bool = False,
    ) -> str:
        """A post `distance_m` from the junction beside the lanes of one direction; the signal's id."""
        self._signal_id += 1
        self._added += 1
        road, s = self._roads[arm.road_id], self._station(arm, distance_m)
        along = arm.at_end != leaving  # whether the traffic that sees it drives along the reference line
        aside = crosssection.kerb(road, s, right=along) + (-_POST_FROM_KERB_M if along else _POST_FROM_KERB_M)
        lanes = sorted(arm.lanes_out if leaving else arm.lanes_in)
        signal = ET.SubElement(
            _child(road, "signals"),
            "signal",
            id=str(self._signal_id),
            name=f"{name} {self._signal_id}" if dynamic else name,
            s=_text(s),
            t=_text(aside),
            zOffset="0.0",
            hOffset="0",
            roll="0",
            pitch="0",
            orientation="+" if along else "-",
            dynamic="yes" if dynamic else "no",
            country="OpenDRIVE",
            type=kind,
            subtype="-1" if value is None else f"{value:.0f}",
            value="-1" if value is None else f"{value:.0f}",
            text="",
            height="0.9",
            width="0.3" if dynamic else "0.8",
        )
        if value is not None:
            signal.set("unit", "km/h")
        ET.SubElement(signal, "validity", fromLane=str(lanes[0]), toLane=str(lanes[-1]))
        return str(self._signal_id)

    # --- crosswalks --------------------------------------------------------------------------------

    def _add_crosswalks(self, junction: Junction) -> None:
        for arm in junction.counter_clockwise():
            road, stop = self._roads[arm.road_id], self._stop_line(arm)
            s = self._station(arm, stop)
            if not all(crosssection.has_pavement(road, s, right) for right in (True, False)):
                continue
            left = crosssection.kerb(road, s, right=False) + _CROSSWALK_ON_PAVEMENT_M
            right = crosssection.kerb(road, s, right=True) - _CROSSWALK_ON_PAVEMENT_M
            if left - right > _CROSSWALK_MAX_M:
                continue
            self._add_crosswalk(road, s, left, right, 1.0 if arm.at_end else -1.0)

    def _add_crosswalk(self, road: ET.Element, s: float, left: float, right: float, onward: float) -> None:
        """`onward`: 1 where the junction lies at the road's end. u points along the road, v to its left.

        CARLA counts t from the lanes' middle and on a slope takes it for a way up or down, but v not
        (`Map::GetAllCrosswalkZones`).
        """
        self._object_id += 1
        self._added += 1
        near, far = (onward * distance for distance in _CROSSWALK_FROM_STOP_LINE_M)
        middle = crosssection.offset(road, s)
        from_right, to_left = right - middle, left - middle
        crosswalk = ET.SubElement(
            _child(road, "objects"),
            "object",
            id=str(self._object_id),
            name="SimpleCrosswalk",
            type="crosswalk",
            s=_text(s),
            t="0.0",
            zOffset="0.0",
            hdg="0.0",
            roll="0.0",
            pitch="0.0",
            orientation="none",
            length=_text(abs(far - near)),
            width=_text(left - right),
        )
        outline = ET.SubElement(crosswalk, "outline")
        outer = ((near, from_right), (near, to_left), (far, to_left), (far, from_right), (near, from_right))
        for u, v in outer:
            ET.SubElement(outline, "cornerLocal", u=_text(u), v=_text(v), z="0.0")

    # --- stations ----------------------------------------------------------------------------------

    def _length(self, arm: Arm) -> float:
        return number(self._roads[arm.road_id], "length")

    def _stop_line(self, arm: Arm) -> float:
        return min(self._stop_line_m, self._length(arm) / 3)

    def _station(self, arm: Arm, distance_m: float) -> float:
        return self._length(arm) - distance_m if arm.at_end else distance_m


def _child(road: ET.Element, tag: str) -> ET.Element:
    found = road.find(tag)
    return ET.SubElement(road, tag) if found is None else found


def _highest_id(elements: Iterable[ET.Element]) -> int:
    return max((whole(element, "id") for element in elements), default=0)


def _text(number: float) -> str:
    return str(round(number, 3))

"""How the traffic of a junction is ruled where its map does not say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from carlad.standin.towns.crossroads import Arm, ArmKey, Junction

_STRAIGHT_ON_DEG = 45.0


class Rule(Enum):
    NONE = "none"
    LIGHTS = "lights"
    STOP = "stop"
    YIELD = "yield"


@dataclass(frozen=True)
class Control:
    """`arms`: those whose traffic meets a light or a sign, counter-clockwise from the east."""

    rule: Rule
    arms: tuple[Arm, ...] = ()


def control(junction: Junction, limits_kmh: Mapping[int, float]) -> Control:
    """Lights where ways straight on cross, or a side street is as important as the main road; else signs.

    A side street is less important where its speed limit (of its road id) is lower and it has one lane.
    Where streams only merge, as at ramps, the arm that comes from the side yields; at roundabouts too.
    """
    entering = [arm for arm in junction.counter_clockwise() if arm.lanes_in]
    crossings = list(junction.crossings())
    if len(entering) < 2:
        return Control(Rule.NONE)
    if any(abs(a.turn) < _STRAIGHT_ON_DEG and abs(b.turn) < _STRAIGHT_ON_DEG for a, b in crossings):
        return Control(Rule.LIGHTS, tuple(entering))
    main = _main_road(junction)
    minor = tuple(arm for arm in entering if arm.key not in main)
    if not crossings:
        merging = _merging(junction)
        yielding = tuple(arm for arm in minor if arm.key in merging)
        return Control(Rule.YIELD, yielding) if yielding else Control(Rule.NONE)
    if not all(arm.two_way for arm in entering):
        return Control(Rule.YIELD, minor)
    limit = max(limits_kmh.get(road_id, 0.0) for road_id, _ in main)
    if any(len(arm.lanes_in) > 1 or limits_kmh.get(arm.road_id, 0.0) >= limit for arm in minor):
        return Control(Rule.LIGHTS, tuple(entering))
    wide = any(len(junction.arms[key].lanes_in) > 1 for key in main)
    return Control(Rule.STOP if wide else Rule.YIELD, minor)


def _main_road(junction: Junction) -> set[ArmKey]:
    """Its two arms: one-way ones, as at roundabouts, then the straightest and widest way counts."""
    lanes: dict[frozenset[ArmKey], int] = defaultdict(int)
    turns: dict[frozenset[ArmKey], float] = {}
    for stream in junction.streams:
        pair = frozenset((stream.incoming, stream.outgoing))
        lanes[pair] += 1
        turns[pair] = min(turns.get(pair, 180.0), abs(stream.turn))

    def rank(pair: frozenset[ArmKey]) -> tuple[bool, bool, int, float, list[ArmKey]]:
        two_way = any(junction.arms[key].two_way for key in pair)
        return two_way, turns[pair] > _STRAIGHT_ON_DEG, -lanes[pair], turns[pair], sorted(pair)

    best = min(rank(pair) for pair in turns)
    return set(best[-1])


def _merging(junction: Junction) -> set[ArmKey]:
    """Arms that lead into a road into which another arm leads too."""
    sources: dict[ArmKey, set[ArmKey]] = defaultdict(set)
    for stream in junction.streams:
        sources[stream.outgoing].add(stream.incoming)
    return {arm for arms in sources.values() if len(arms) > 1 for arm in arms}

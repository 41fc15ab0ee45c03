"""What the recorder's questions answer: CARLA's text about a recording.

Layout after CarlaRecorderQuery.cpp (0.9.16). Places are in centimetres there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import dist
from pathlib import Path

from carlad.standin.recording import Created, Head, NotARecordingError, Tick, read
from carlad.wire import types as t

Lines = Callable[[Iterable[Tick]], Iterator[str]]  # of an answer, from what was recorded

_CM = 100.0
_CATEGORIES = "ovwt"  # other, vehicle, walker, traffic light; 'h' is a hero and 'a' any
_LIGHTS = (
    "Position", "LowBeam", "HighBeam", "Brake", "RightBlinker", "LeftBlinker", "Reverse", "Fog", "Interior",
    "Special1", "Special2",
)  # fmt: skip


def file_info(path: Path, show_all: bool) -> str:
    """Who came and went and who touched whom; with `show_all` every place and state of every frame."""
    return _answer(path, lambda ticks: _info(ticks, show_all))


def collisions(path: Path, first: str, second: str) -> str:
    """Beginnings of collisions between two categories: o, v, w, t, h or a."""
    return _answer(path, lambda ticks: _collisions(ticks, first, second))


def blocked(path: Path, min_time_s: float, min_distance_cm: float) -> str:
    """Who stood for so long without moving so far; the longest first."""
    return _answer(path, lambda ticks: _blocked(ticks, min_time_s, min_distance_cm))


def head_text(head: Head) -> str:
    date = time.strftime("%x %X", time.localtime(head.unix_time_s))
    return f"Version: {head.version}\nMap: {head.map}\nDate: {date}\n\n"


def _answer(path: Path, lines: Lines) -> str:
    try:
        head, ticks = read(path)
    except NotARecordingError as error:
        return str(error)
    watched = _Watched(ticks)
    text = head_text(head) + "".join(f"{line}\n" for line in lines(watched))
    return text + f"\nFrames: {watched.number}\nDuration: {watched.elapsed_s:g} seconds\n"


class _Watched:
    """Passes ticks on and remembers the last one."""

    def __init__(self, ticks: Iterable[Tick]) -> None:
        self._ticks = ticks
        self.number = 0
        self.elapsed_s = 0.0

    def __iter__(self) -> Iterator[Tick]:
        for tick in self._ticks:
            self.number, self.elapsed_s = tick.number, tick.elapsed_s
            yield tick


# --- file info -------------------------------------------------------------------------------------


def _info(ticks: Iterable[Tick], show_all: bool) -> Iterator[str]:
    heroes: set[int] = set()
    for tick in ticks:
        heroes |= {created.actor_id for created in tick.created if created.is_hero}
        lines = [*_events(tick, heroes), *(_states(tick) if show_all else ())]
        if lines or show_all:
            yield f"Frame {tick.number} at {tick.elapsed_s:g} seconds"
        yield from lines


def _events(tick: Tick, heroes: set[int]) -> Iterator[str]:
    for created in tick.created:
        place = _text(created.pose.location)
        yield f" Create {created.actor_id}: {created.description.id} ({created.kind}) at {place}"
        for attribute in created.description.attributes:
            yield f"  {attribute.id} = {attribute.value}"
    for actor_id in tick.destroyed:
        yield f" Destroy {actor_id}"
    for created in tick.created:
        if created.parent_id:
            yield f" Parenting {created.actor_id} with {created.parent_id} (parent)"
    for number, touch in enumerate(tick.touches):
        first, second = (
            f"{actor_id} (hero) " if actor_id in heroes else str(actor_id)
            for actor_id in (touch.first, touch.second)
        )
        yield f" Collision id {number} between {first} with {second}"


def _states(tick: Tick) -> Iterator[str]:
    yield f" Positions: {len(tick.places)}"
    for place in tick.places:
        turn = place.pose.rotation
        rotation = f"({turn.roll:g}, {turn.pitch:g}, {turn.yaw:g})"
        yield f"  Id: {place.actor_id} Location: {_text(place.pose.location)} Rotation: {rotation}"
    yield f" State traffic lights: {len(tick.lights)}"
    for light in tick.lights:
        frozen = int(light.is_frozen)
        yield f"  Id: {light.actor_id} state: {light.state} frozen: {frozen} elapsedTime: {light.elapsed_s:g}"
    yield f" Vehicle animations: {len(tick.drives)}"
    for drive in tick.drives:
        control = drive.control
        yield (
            f"  Id: {drive.actor_id} Steering: {control.steer:g} Throttle: {control.throttle:g}"
            f" Brake: {control.brake:g} Handbrake: {int(control.hand_brake)} Gear: {control.gear}"
        )
    yield f" Walker animations: {len(tick.walks)}"
    for walk in tick.walks:
        yield f"  Id: {walk.actor_id} speed: {walk.speed:g}"
    yield f" Vehicle light animations: {len(tick.drives)}"
    for drive in tick.drives:
        lit = [name for bit, name in enumerate(_LIGHTS) if drive.lights >> bit & 1]
        yield f"  Id: {drive.actor_id} {' '.join(lit) or 'None'}"


def _text(place: t.Vector3D) -> str:
    return f"({place.x * _CM:g}, {place.y * _CM:g}, {place.z * _CM:g})"


# --- collisions ------------------------------------------------------------------------------------


def _collisions(ticks: Iterable[Tick], first: str, second: str) -> Iterator[str]:
    yield f"{'Time':>8} {'Types':>6} {'Id':>6} {'Actor 1':<35} {'Id':>6} {'Actor 2':<35}"
    known: dict[int, Created] = {}
    before: set[tuple[int, int]] = set()
    for tick in ticks:
        known |= {created.actor_id: created for created in tick.created}
        now = set()
        for a, b in ((touch.first, touch.second) for touch in tick.touches):
            if a not in known or b not in known:
                continue
            one, two = known[a], known[b]
            if not (_is(one, first) and _is(two, second)):
                one, two = two, one
            if not (_is(one, first) and _is(two, second)):
                continue
            now.add((a, b))
            if (a, b) not in before:
                yield (
                    f"{tick.elapsed_s:>8.0f}   {_category(one)} {_category(two)}  "
                    f"{one.actor_id:>6} {one.description.id:<35} {two.actor_id:>6} {two.description.id:<35}"
                )
        before = now


def _category(actor: Created) -> str:
    return _CATEGORIES[actor.kind]


def _is(actor: Created, category: str) -> bool:
    return category in ("a", _category(actor)) or (category == "h" and actor.is_hero)


# --- blocked actors --------------------------------------------------------------------------------


@dataclass
class _Stand:
    """Since when and how long an actor has been where it is."""

    name: str
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    since_s: float = 0.0
    for_s: float = 0.0


def _blocked(ticks: Iterable[Tick], min_time_s: float, min_distance_cm: float) -> Iterator[str]:
    yield f"{'Time':>8} {'Id':>6} {'Actor':<35} {'Duration':>10}"
    stands: dict[int, _Stand] = {}
    found: list[tuple[float, str]] = []

    def close(actor_id: int, stand: _Stand) -> None:
        if stand.for_s >= min_time_s:
            line = f"{stand.since_s:>8.0f} {actor_id:>6} {stand.name:<35} {stand.for_s:>10.0f}"
            found.append((stand.for_s, line))

    for tick in ticks:
        stands |= {created.actor_id: _Stand(created.description.id) for created in tick.created}
        for place in tick.places:
            stand, at = stands.setdefault(place.actor_id, _Stand("")), place.pose.location
            here = (at.x * _CM, at.y * _CM, at.z * _CM)
            if dist(stand.place, here) < min_distance_cm:
                stand.since_s = stand.since_s if stand.for_s else tick.elapsed_s
                stand.for_s += tick.duration_s
            else:
                close(place.actor_id, stand)
                stand.place, stand.for_s = here, 0.0
    for actor_id, stand in stands.items():
        close(actor_id, stand)
    yield from (line for _for_s, line in sorted(found, key=lambda item: -item[0]))

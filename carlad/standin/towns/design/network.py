"""A town's streets as they are drawn: crossings, and streets between them with their cross-sections.

Metres and degrees in OpenDRIVE's frame: x east, y north. Traffic drives on the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from carlad.standin.towns.design.curves import Point

_EDGE_OF_ONE_WAY_M = 1.0  # shoulder on the left of a one-way street that has one on its right


@dataclass(frozen=True)
class Strip:
    """One lane of a cross-section. `tapered`: its width is 0 at the street's ends."""

    kind: str
    width_m: float
    tapered: bool = False


@dataclass(frozen=True)
class Street:
    """A cross-section: `forward` and `backward` are driving lanes along and against its course.

    Widths are each strip's own. The median lies half on either side of the reference line. It is one lane,
    the innermost on the left: programs go from lane to lane until they find one to drive on, and would go to
    and fro between two medians for ever.
    """

    forward: int = 1
    backward: int = 1
    speed_kmh: int = 50
    kind: str = "town"  # OpenDRIVE's road type
    lane_m: float = 3.5
    median_m: float = 0.0
    shoulder_m: float = 0.0
    parking_m: float = 0.0
    sidewalk_m: float = 2.5
    ramp: bool = False  # joins other streets on their right

    def side(self, lanes: int) -> tuple[Strip, ...]:
        """The strips on the side with that many driving lanes, from the median outwards."""
        return tuple(strip for strip in self._strips(lanes) if strip.width_m > 0)

    def half_width_m(self, lanes: int) -> float:
        """From the reference line to the kerb."""
        paved = sum(s.width_m for s in self.side(lanes) if s.kind not in ("sidewalk", "parking"))
        return self.median_m / 2 + paved

    def inner_border_m(self, k: int) -> float:
        """From the reference line to the left border of the k-th driving lane (0: innermost)."""
        return self.median_m / 2 + k * self.lane_m

    def _strips(self, lanes: int) -> Iterator[Strip]:
        if lanes == 0:
            yield Strip("shoulder", min(self.shoulder_m, _EDGE_OF_ONE_WAY_M))
            return
        for _ in range(lanes):
            yield Strip("driving", self.lane_m)
        yield Strip("parking", self.parking_m, tapered=True)
        yield Strip("shoulder", self.shoulder_m)
        yield Strip("sidewalk", self.sidewalk_m)


@dataclass(frozen=True)
class Crossing:
    """Where streets meet. At an interchange ramps leave and join a road that goes straight on."""

    x: float
    y: float
    z: float = 0.0
    interchange: bool = False


@dataclass(frozen=True)
class Link:
    """A street from one crossing to another, by index; corners at `via` are rounded with `radius_m`.

    `heights`: (share of the way, metres) between the crossings' own heights, joined smoothly.
    """

    start: int
    end: int
    street: Street
    via: tuple[Point, ...] = ()
    radius_m: float = 40.0
    heights: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Network:
    """`stop_line_m`: how far before a road's end traffic stops for lights and signs."""

    name: str
    crossings: tuple[Crossing, ...]
    links: tuple[Link, ...]
    latitude_deg: float = 49.0
    longitude_deg: float = 8.4
    stop_line_m: float = 5.0

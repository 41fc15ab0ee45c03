"""Small OpenDRIVE maps, written by hand, and what tests ask about meshes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable

import carla

from carlad.standin.navigation.build import patches
from carlad.standin.navigation.check import TileContent
from carlad.standin.navigation.mesh import Mesh, joined
from carlad.standin.navigation.patchwork import Area

LANE_M, PAVEMENT_M, INSET_M = 3.5, 2.5, 0.3
SIDEWALK, CROSSWALK, ROAD = 1, 2, 3


def document(*roads: str) -> str:
    header = '<header revMajor="1" revMinor="4" north="0" south="0" east="0" west="0"/>'
    return f'<?xml version="1.0"?><OpenDRIVE>{header}{"".join(roads)}</OpenDRIVE>'


def street(
    road_id: int, *geometry: str, length: float, height: str = "0 0 0 0", objects: str = "", lanes: str = ""
) -> str:
    """A two-way street with pavements; `height` is the cubic of its elevation, coefficients from a to d."""
    a, b, c, d = height.split()
    left, right = lanes.split("|") if lanes else (_side("left", 1), _side("right", -1))
    return f"""
    <road name="" length="{length}" id="{road_id}" junction="-1">
      <planView>{"".join(geometry)}</planView>
      <elevationProfile><elevation s="0" a="{a}" b="{b}" c="{c}" d="{d}"/></elevationProfile>
      <lanes><laneSection s="0">{left}
        <center><lane id="0" type="none" level="false"/></center>{right}
      </laneSection></lanes>
      <objects>{objects}</objects>
    </road>"""


def line(x: float, y: float, heading: float, length: float, s: float = 0.0) -> str:
    return f'<geometry s="{s}" x="{x}" y="{y}" hdg="{heading}" length="{length}"><line/></geometry>'


def arc(x: float, y: float, heading: float, length: float, radius: float, s: float = 0.0) -> str:
    shape = f'<arc curvature="{1.0 / radius}"/>'
    return f'<geometry s="{s}" x="{x}" y="{y}" hdg="{heading}" length="{length}">{shape}</geometry>'


def crosswalk(s: float, half_length: float, half_width: float = 1.5) -> str:
    """Across the road at `s`, `half_length` to either side of the reference line."""
    u, v = half_width, half_length
    corners = ((u, v), (u, -v), (-u, -v), (-u, v), (u, v))
    outline = "".join(f'<cornerLocal u="{u}" v="{v}" z="0"/>' for u, v in corners)
    return (
        f'<object id="{int(s)}" name="crosswalk" type="crosswalk" s="{s}" t="0" zOffset="0" hdg="0" roll="0" '
        f'pitch="0" orientation="none"><outline>{outline}</outline></object>'
    )


def _side(name: str, sign: int) -> str:
    kinds = (("driving", LANE_M), ("sidewalk", PAVEMENT_M))
    lanes = [
        f'<lane id="{sign * k}" type="{kind}" level="false">'
        f'<width sOffset="0" a="{width}" b="0" c="0" d="0"/></lane>'
        for k, (kind, width) in enumerate(kinds, 1)
    ]
    return f"<{name}>{''.join(lanes[::-1] if sign > 0 else lanes)}</{name}>"


def without(xodr: str, lanes_in_junctions: str = "", objects: str = "") -> str:
    """A map without the lanes of a type inside junctions, or without the objects of a type."""
    root = ET.fromstring(xodr.encode())
    for road in root.iterfind("road"):
        if road.get("junction", "-1") != "-1":
            _remove(road.findall("lanes/laneSection/*"), "lane", lanes_in_junctions)
        _remove(road.findall("objects"), "object", objects)
    return ET.tostring(root, encoding="unicode")


def _remove(parents: Iterable[ET.Element], tag: str, kind: str) -> None:
    for parent in parents:
        for element in parent.findall(tag):
            if element.get("type") == kind:
                parent.remove(element)


def mesh_of(xodr: str) -> Mesh:
    found = patches(carla.Map("test", xodr), xodr)
    return joined((patch.polygon, patch.area) for patch in found.patches)


def area_m2(mesh: Mesh, kind: Area) -> float:
    return sum(
        abs(_shoelace([mesh.vertices[v] for v in corners]))
        for corners, own in zip(mesh.polygons, mesh.areas, strict=True)
        if own is kind
    )


def _shoelace(corners: list[tuple[float, float, float]]) -> float:
    closed = [*corners[1:], corners[0]]
    return 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, closed, strict=True))


def islands(mesh: Mesh, *kinds: Area) -> list[set[int]]:
    """Polygons of the given areas that hang together, the largest island first."""
    left = {i for i, kind in enumerate(mesh.areas) if kind in kinds}
    found = []
    while left:
        reached, edge = set(), [min(left)]
        while edge:
            polygon = edge.pop()
            if polygon in left:
                left.discard(polygon)
                reached.add(polygon)
                edge += [beyond for beyond in mesh.neighbours[polygon] if beyond is not None]
        found.append(reached)
    return sorted(found, key=len, reverse=True)


class Ground:
    """Which area of a file a place is on."""

    def __init__(self, tiles: list[TileContent]) -> None:
        self._cells = defaultdict(list)
        for tile in tiles:
            for corners, area in zip(tile.polygons, tile.areas, strict=True):
                polygon = [tile.vertices[corner] for corner in corners]
                x, _, y = zip(*polygon, strict=True)
                for column in range(math.floor(min(x) / 10), math.floor(max(x) / 10) + 1):
                    for row in range(math.floor(min(y) / 10), math.floor(max(y) / 10) + 1):
                        self._cells[column, row].append((polygon, area))

    def area_at(self, x: float, y: float, z: float, slack_m: float = 0.06, climb_m: float = 0.5) -> int:
        """The area type; 0 off the mesh."""
        near = [
            (_off(polygon, x, y), area)
            for polygon, area in self._cells.get((math.floor(x / 10), math.floor(y / 10)), ())
            if min(v[1] for v in polygon) - climb_m < z < max(v[1] for v in polygon) + climb_m
        ]
        off, area = min(near, default=(math.inf, 0))
        return area if off < slack_m else 0


def _off(polygon: list[tuple[float, float, float]], x: float, y: float) -> float:
    """How far a place is outside of a convex polygon, m; negative inside."""
    return max(
        ((b[0] - a[0]) * (y - a[2]) - (b[2] - a[2]) * (x - a[0])) / math.hypot(b[0] - a[0], b[2] - a[2])
        for a, b in zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    )

"""Writes a mesh as the file that the official client's Detour library loads.

Little-endian throughout. Detour's axes are (x, up, y) of CARLA's. A set header is followed by tiles, each
with a reference and its size; polygon and tile references have 32 bits. Layouts: Recast and Detour,
`Detour/Include/DetourNavMesh.h` (dtMeshHeader, dtPoly, dtPolyDetail, dtBVNode), and the set file of
RecastDemo's `Sample.cpp`, which LibCarla `carla/nav/Navigation.cpp` (0.9.16) reads.

The client checks neither counts nor indices: `check` does, before a file leaves the server.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from carlad.standin.navigation.mesh import CORNERS_MAX, Mesh
from carlad.standin.navigation.patchwork import Area
from carlad.standin.navigation.tiles import Tile, Tiling

SET_MAGIC, SET_VERSION = 0x4D534554, 1
TILE_MAGIC, TILE_VERSION = 0x444E4156, 7
WALKABLE_HEIGHT_M, WALKABLE_RADIUS_M, WALKABLE_CLIMB_M = 1.8, 0.3, 0.5
CELL_M = 0.3  # of the bounding volume tree's integers
PORTAL = 0x8000  # marks a neighbour word that names a side of the tile
NO_LINK = 0xFFFFFFFF

# Which walkers may enter: LibCarla `carla/nav/Navigation.h`, CARLA_TYPE_*.
FLAGS = {Area.SIDEWALK: 0x02, Area.CROSSWALK: 0x04, Area.ROAD: 0x08}

_SET = struct.Struct("<iii3fffii")
_TILE = struct.Struct("<Ii")
_HEADER = struct.Struct("<5iI9i3f3f3ff")
_POLYGON = np.dtype(
    [
        ("first_link", "<u4"),
        ("corners", "<u2", CORNERS_MAX),
        ("neighbours", "<u2", CORNERS_MAX),
        ("flags", "<u2"),
        ("corner_count", "u1"),
        ("area_and_type", "u1"),
    ]
)
_DETAIL = np.dtype(
    [
        ("first_vertex", "<u4"),
        ("first_triangle", "<u4"),
        ("vertices", "u1"),
        ("triangles", "u1"),
        ("", "u1", 2),
    ]
)
_NODE = np.dtype([("low", "<u2", 3), ("high", "<u2", 3), ("index", "<i4")])
_LINK_BYTES = 12
_OUTER_EDGE = 4, 1, 16  # of a detail triangle: its middle edge, its first, its last
_DOWN_M, _UP_M = 2.0, 4.0  # by which a tile's box reaches beyond its polygons: queries are clamped to it


def write(mesh: Mesh, tiling: Tiling) -> bytes:
    """The file's content; `tiling` says which tile each polygon of `mesh` is in."""
    polygon_bits = max(1, (max(len(tile.polygons) for tile in tiling.tiles) - 1).bit_length())
    tile_bits = (len(tiling.tiles) - 1).bit_length()
    if polygon_bits + tile_bits > 22:
        raise ValueError(f"cannot write {len(mesh.polygons)} polygons in {len(tiling.tiles)} tiles: too many")
    heights = [vertex[2] for vertex in mesh.vertices]
    low, high = min(heights) - _DOWN_M, max(heights) + _UP_M
    parts = [
        _SET.pack(
            SET_MAGIC, SET_VERSION, len(tiling.tiles),
            tiling.x, low, tiling.y, tiling.width, tiling.depth, 1 << tile_bits, 1 << polygon_bits,
        )
    ]  # fmt: skip
    for index, tile in enumerate(tiling.tiles):
        data = _tile(mesh, tiling, tile, low, high)
        reference = 1 << (polygon_bits + tile_bits) | index << polygon_bits
        parts += [_TILE.pack(reference, len(data)), data]
    return b"".join(parts)


def _tile(mesh: Mesh, tiling: Tiling, tile: Tile, low: float, high: float) -> bytes:
    polygons, vertices, portals = _polygons(mesh, tile)
    counts = polygons["corner_count"].astype(int)
    details, triangles = _details(counts)
    bmin = (tiling.x + tile.column * tiling.width, low, tiling.y + tile.row * tiling.depth)
    bmax = (bmin[0] + tiling.width, high, bmin[2] + tiling.depth)
    nodes = _tree(vertices, polygons, np.array(bmin))
    links = int(counts.sum()) + 2 * portals
    header = _HEADER.pack(
        TILE_MAGIC, TILE_VERSION, tile.column, tile.row, 0, 0,
        len(polygons), len(vertices), links, len(details), 0, len(triangles), len(nodes), 0, len(polygons),
        WALKABLE_HEIGHT_M, WALKABLE_RADIUS_M, WALKABLE_CLIMB_M, *bmin, *bmax, 1.0 / CELL_M,
    )  # fmt: skip
    sections = (vertices, polygons, bytes(_LINK_BYTES * links), details, triangles, nodes)
    return header + b"".join(bytes(section) for section in sections)


def _polygons(mesh: Mesh, tile: Tile) -> tuple[npt.NDArray[np.void], npt.NDArray[np.float32], int]:
    """The tile's polygon records, its vertices as float32 (n, 3) in Detour's axes, and how many portals."""
    local_polygon = {polygon: index for index, polygon in enumerate(tile.polygons)}
    local_vertex: dict[int, int] = {}
    records = np.zeros(len(tile.polygons), _POLYGON)
    portals = 0
    for index, polygon in enumerate(tile.polygons):
        corners = [local_vertex.setdefault(v, len(local_vertex)) for v in mesh.polygons[polygon]]
        words = [_word(beyond, local_polygon, tile) for beyond in mesh.neighbours[polygon]]
        portals += sum(word >= PORTAL for word in words)
        area = mesh.areas[polygon]
        rest = [0] * (CORNERS_MAX - len(corners))
        records[index] = (NO_LINK, corners + rest, words + rest, FLAGS[area], len(corners), int(area))
    places = [mesh.vertices[vertex] for vertex in local_vertex]
    return records, np.array([(x, z, y) for x, y, z in places], "<f4"), portals


def _word(beyond: int | None, local_polygon: dict[int, int], tile: Tile) -> int:
    """What a polygon stores about an edge: nothing, the polygon beyond it, or the side of the tile."""
    if beyond is None:
        return 0
    if beyond in local_polygon:
        return local_polygon[beyond] + 1
    return PORTAL | tile.portals[beyond]


def _details(counts: npt.NDArray[Any]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint8]]:
    """Each polygon as a fan of triangles about its first corner, without vertices of their own."""
    middle, first, last = _OUTER_EDGE
    details = np.zeros(len(counts), _DETAIL)
    details["triangles"] = counts - 2
    details["first_triangle"] = np.cumsum(counts - 2) - (counts - 2)
    fans = {
        count: [(0, j - 1, j, middle + first * (j == 2) + last * (j == count - 1)) for j in range(2, count)]
        for count in range(3, CORNERS_MAX + 1)
    }
    return details, np.array([triangle for count in counts.tolist() for triangle in fans[count]], "u1")


# --- bounding volume tree ----------------------------------------------------------------------------


def _tree(
    vertices: npt.NDArray[np.float32], polygons: npt.NDArray[np.void], bmin: npt.NDArray[np.float64]
) -> npt.NDArray[np.void]:
    """The nodes in the order in which they are searched: a node, its left half, its right half."""
    cells = np.clip((vertices - bmin) / CELL_M, 0, 0xFFFE).astype(int)
    boxes = []
    for corners, count in zip(polygons["corners"], polygons["corner_count"], strict=True):
        own = cells[corners[:count]]
        boxes.append((*own.min(axis=0).tolist(), *(own.max(axis=0) + 1).tolist()))
    nodes: list[tuple[tuple[int, ...], int]] = []
    _grow(list(range(len(boxes))), boxes, nodes)
    records = np.zeros(len(nodes), _NODE)
    extents = np.array([box for box, _ in nodes])
    records["low"], records["high"] = extents[:, :3], extents[:, 3:]
    records["index"] = [index for _, index in nodes]
    return records


def _grow(
    members: list[int], boxes: Sequence[tuple[int, ...]], nodes: list[tuple[tuple[int, ...], int]]
) -> None:
    """Append the subtree of some polygons: halved at the median of the longest side."""
    if len(members) == 1:
        nodes.append((boxes[members[0]], members[0]))
        return
    sides = list(zip(*(boxes[i] for i in members), strict=True))
    box = (*map(min, sides[:3]), *map(max, sides[3:]))
    axis = max(range(3), key=lambda k: box[k + 3] - box[k])
    members = sorted(members, key=lambda i: boxes[i][axis])
    place = len(nodes)
    nodes.append((box, 0))
    half = len(members) // 2
    _grow(members[:half], boxes, nodes)
    _grow(members[half:], boxes, nodes)
    nodes[place] = (box, place - len(nodes))

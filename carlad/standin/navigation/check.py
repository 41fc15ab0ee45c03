"""Reads a navigation file as the client's Detour does, and finds what would mislead or break it.

The client trusts every count and index of a file: a wrong one corrupts the memory of the user's process. This
reader shares no code and no constant with the writer. Layouts: Recast and Detour,
`Detour/Include/DetourNavMesh.h`; what the client demands: `Detour/Source/DetourNavMesh.cpp` (addTile,
connectIntLinks, queryPolygonsInTile).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from math import hypot, isfinite

_FLAG_OF_AREA = {1: 2, 2: 4, 3: 8}
_DENT_M = 0.06  # by which a corner may lie inside its polygon
_LINE_M = 0.01  # by which a portal may be off the tile's line


class NavigationFileError(ValueError):
    """A navigation file that the client must not be given."""


@dataclass
class TileContent:
    """What a tile holds. Vertices are (x, up, y); polygons are vertex indices."""

    reference: int
    column: int
    row: int
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    vertices: list[tuple[float, float, float]] = field(default_factory=list)
    polygons: list[tuple[int, ...]] = field(default_factory=list)
    neighbours: list[tuple[int, ...]] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)


def checked(content: bytes) -> list[TileContent]:
    """The tiles of a file. Raises NavigationFileError where the client would stumble."""
    try:
        return _tiles(content)
    except (struct.error, IndexError) as error:
        raise NavigationFileError(f"the file ends too early: {error}") from error


def _tiles(content: bytes) -> list[TileContent]:
    magic, version, count, x, _, y, width, depth, tiles_max, polygons_max = struct.unpack_from(
        "<iii3fffii", content
    )
    _demand(magic == 0x4D534554 and version == 1, "the set header is not Detour's")
    _demand(0 < count <= tiles_max, f"{count} tiles where {tiles_max} may be")
    limits = tiles_max, polygons_max
    _demand(all(n > 0 and n & (n - 1) == 0 for n in limits), f"limits {limits} are not powers of two")
    tile_bits, polygon_bits = (n.bit_length() - 1 for n in limits)
    _demand(tile_bits + polygon_bits <= 22, "references leave fewer than 10 bits for their salt")
    tiles: list[TileContent] = []
    place = 40
    for index in range(count):
        reference, size = struct.unpack_from("<Ii", content, place)
        expected = 1 << (tile_bits + polygon_bits) | index << polygon_bits
        _demand(reference == expected, f"tile {index} has reference {reference:#x}, not {expected:#x}")
        _demand(0 < size <= len(content) - place - 8, f"tile {index} claims {size} bytes")
        tile = _tile(content[place + 8 : place + 8 + size], reference, polygons_max)
        corner = x + tile.column * width, y + tile.row * depth
        _demand_near(tile.low[::2], corner, "a tile does not begin where its column and row say")
        _demand_near(tile.high[::2], (corner[0] + width, corner[1] + depth), "a tile has not the set's size")
        tiles.append(tile)
        place += 8 + size
    _demand(place == len(content), f"{len(content) - place} bytes after the last tile")
    _demand(len({(tile.column, tile.row) for tile in tiles}) == count, "two tiles at one place")
    _check_portals(tiles)
    return tiles


def _tile(data: bytes, reference: int, polygons_max: int) -> TileContent:
    head = struct.unpack_from("<5iI9i3f3f3ff", data)
    magic, version, column, row, layer, _ = head[:6]
    polygons, vertices, links, details, detail_vertices, triangles, nodes, off_mesh, off_mesh_base = head[
        6:15
    ]
    _demand(magic == 0x444E4156 and version == 7, "the tile header is not Detour's")
    _demand(layer == 0 and off_mesh == 0 and detail_vertices == 0, "layers, connections or detail vertices")
    _demand(0 < polygons <= min(polygons_max, 0x7FFF), f"{polygons} polygons where {polygons_max} may be")
    _demand(0 < vertices < 0xFFFF, f"{vertices} vertices")
    _demand(details == off_mesh_base == polygons and nodes == 2 * polygons - 1, "counts do not fit together")
    _demand(all(map(isfinite, head[15:25])) and head[24] > 0.0, "the header has numbers that make no sense")
    sizes = (100, 12 * vertices, 32 * polygons, 12 * links, 12 * details, 4 * triangles, 16 * nodes)
    _demand(sum(sizes) == len(data), f"the counts stand for {sum(sizes)} bytes, the tile has {len(data)}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    tile = TileContent(reference, column, row, head[18:21], head[21:24])
    tile.vertices = [struct.unpack_from("<3f", data, starts[1] + 12 * i) for i in range(vertices)]
    _check_vertices(tile)
    for i in range(polygons):
        _read_polygon(tile, data, starts[2] + 32 * i)
    _check_neighbours(tile)
    _demand(links >= _links_needed(tile), f"room for {links} links, {_links_needed(tile)} may be made")
    _demand(not any(data[starts[3] : starts[4]]), "the room for links is not empty")
    _check_details(tile, data, starts[4], starts[5], triangles)
    _check_tree(tile, data[starts[6] :], cell=1.0 / head[24])
    return tile


def _check_vertices(tile: TileContent) -> None:
    for vertex in tile.vertices:
        inside = all(
            a - _LINE_M <= v <= b + _LINE_M for a, v, b in zip(tile.low, vertex, tile.high, strict=True)
        )
        _demand(inside, f"vertex {vertex} lies outside its tile")  # also where it is not finite


def _read_polygon(tile: TileContent, data: bytes, place: int) -> None:
    first_link, *words, flags, count, area_and_type = struct.unpack_from("<I6H6HHBB", data, place)
    _demand(first_link == 0xFFFFFFFF, "a polygon has a link before it is loaded")
    _demand(3 <= count <= 6, f"a polygon has {count} corners")
    corners = tuple(words[:count])
    _demand(max(corners) < len(tile.vertices), "a polygon has a corner that is no vertex")
    _demand(len(set(corners)) == count, "a polygon has a corner twice")
    _demand(_FLAG_OF_AREA.get(area_and_type) == flags, f"area and type {area_and_type} with flags {flags}")
    _demand(not any(words[count:6]) and not any(words[6 + count :]), "unused corners or edges are not zero")
    _check_shape([tile.vertices[corner] for corner in corners])
    tile.polygons.append(corners)
    tile.neighbours.append(tuple(words[6 : 6 + count]))
    tile.areas.append(area_and_type)


def _check_shape(corners: list[tuple[float, float, float]]) -> None:
    """Detour's own areas are positive for a polygon whose shoelace sum over (x, y) is negative."""
    closed = [*corners, corners[0]]
    shoelace = sum(a[0] * b[2] - b[0] * a[2] for a, b in pairwise(closed))
    _demand(shoelace < 0.0, f"the polygon {corners} is turned over or empty")
    for before, corner, after in zip([corners[-1], *corners], corners, closed[1:], strict=False):
        x, y = after[0] - before[0], after[2] - before[2]
        dent = (x * (corner[2] - before[2]) - y * (corner[0] - before[0])) / (hypot(x, y) or 1.0)
        _demand(dent > -_DENT_M, f"the polygon {corners} is dented by {-dent:.3f} m")


def _check_neighbours(tile: TileContent) -> None:
    """Every edge that leads to a polygon of the tile has its reverse there, and leads back."""
    owners: dict[tuple[int, int], tuple[int, int]] = {}
    for index, corners in enumerate(tile.polygons):
        for edge, word in zip(pairwise((*corners, corners[0])), tile.neighbours[index], strict=True):
            _demand(edge not in owners, f"polygons {owners.get(edge, (0,))[0]} and {index} overlap")
            owners[edge] = index, word
    for (a, b), (index, word) in owners.items():
        beyond = owners.get((b, a))
        if word & 0x8000:
            _demand(word in (0x8000, 0x8002, 0x8004, 0x8006), f"polygon {index} has a portal word {word:#x}")
        elif word:
            _demand(
                beyond == (word - 1, index + 1), f"polygon {index} names the neighbour {word - 1} in vain"
            )
        else:
            _demand(beyond is None, f"polygon {index} does not know its neighbour")


def _links_needed(tile: TileContent) -> int:
    words = [word for polygon in tile.neighbours for word in polygon]
    return len(words) + 2 * sum(word >= 0x8000 for word in words)


def _check_details(tile: TileContent, data: bytes, details: int, triangles: int, count: int) -> None:
    expected = 0
    for index, corners in enumerate(tile.polygons):
        first_vertex, first, extra, own = struct.unpack_from("<IIBB", data, details + 12 * index)
        _demand((first_vertex, first, extra) == (0, expected, 0), f"polygon {index} has stray details")
        _demand(own == len(corners) - 2, f"polygon {index} has {own} triangles")
        for k in range(first, first + own):
            used = struct.unpack_from("<3B", data, triangles + 4 * k)
            _demand(max(used) < len(corners), f"triangle {k} has a corner that its polygon has not")
        expected += own
    _demand(expected == count, f"{count} triangles where the polygons have {expected}")


def _check_tree(tile: TileContent, data: bytes, cell: float) -> None:
    """Escapes lead to the end of their subtrees, boxes hold what is below, every polygon is found once."""
    nodes = [(node[:3], node[3:6], node[6]) for node in struct.iter_unpack("<3H3Hi", data)]
    leaves = []
    open_nodes: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []  # where each ends, and its box
    for place, (low, high, index) in enumerate(nodes):
        while open_nodes and open_nodes[-1][0] <= place:
            _demand(open_nodes.pop()[0] == place, "a subtree ends inside another")
        _demand(place == 0 or bool(open_nodes), f"node {place} is not below the root")
        for _, outer_low, outer_high in open_nodes[-1:]:
            fits = all(map(int.__le__, outer_low, low)) and all(map(int.__ge__, outer_high, high))
            _demand(fits, f"node {place} reaches out of the one above")
        if index < 0:
            _demand(place - index <= len(nodes), f"node {place} escapes beyond the tree")
            open_nodes.append((place - index, low, high))
        else:
            leaves.append(index)
            _demand(index < len(tile.polygons), f"node {place} is no polygon")
            _check_leaf(tile, index, low, high, cell)
    _demand(sorted(leaves) == list(range(len(tile.polygons))), "the tree does not hold every polygon once")


def _check_leaf(
    tile: TileContent, index: int, low: tuple[int, ...], high: tuple[int, ...], cell: float
) -> None:
    for vertex in (tile.vertices[corner] for corner in tile.polygons[index]):
        for axis in range(3):
            place = (vertex[axis] - tile.low[axis]) / cell
            _demand(low[axis] - 0.01 <= place <= high[axis] + 0.01, f"polygon {index} is outside its node")


def _check_portals(tiles: list[TileContent]) -> None:
    """A portal lies on its side of the tile, and the tile beyond has portals back."""
    at = {(tile.column, tile.row): tile for tile in tiles}
    for tile in tiles:
        for index, (corners, words) in enumerate(zip(tile.polygons, tile.neighbours, strict=True)):
            for (a, b), word in zip(pairwise((*corners, corners[0])), words, strict=True):
                if word & 0x8000:
                    side = word & 7
                    axis, line = (0, 2)[side % 4 == 2], (tile.high, tile.low)[side >= 4]
                    off = max(abs(tile.vertices[v][axis] - line[axis]) for v in (a, b))
                    _demand(off <= _LINE_M, f"a portal of polygon {index} is {off:.3f} m off the line")
                    step = {0: (1, 0), 2: (0, 1), 4: (-1, 0), 6: (0, -1)}[side]
                    beyond = at.get((tile.column + step[0], tile.row + step[1]))
                    back = 0x8000 | (side + 4) % 8
                    known = beyond is not None and any(back in own for own in beyond.neighbours)
                    _demand(known, f"a portal of polygon {index} leads nowhere")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NavigationFileError(f"the navigation mesh is not fit for a client: {otherwise}")


def _demand_near(found: tuple[float, ...], expected: tuple[float, ...], otherwise: str) -> None:
    _demand(all(abs(a - b) <= _LINE_M for a, b in zip(found, expected, strict=True)), otherwise)

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.standin.navigation import detour, tiles
from carlad.standin.navigation.check import NavigationFileError, checked
from carlad.standin.navigation.convex import Polygon, convex_parts
from carlad.standin.navigation.mesh import joined
from carlad.standin.navigation.patchwork import Area, Patchwork
from tests.standin.navigation.test_mesh import box

TWO = [(box(0, 0, 4, 4, z=1.0), Area.SIDEWALK), (box(4, 0, 4, 4, z=1.0), Area.CROSSWALK)]


def written(pieces: list[tuple[Polygon, Area]]) -> bytes:
    mesh = joined(pieces)
    return detour.write(mesh, tiles.whole(mesh))


def test_two_squares_are_these_bytes() -> None:
    """Worked out by hand from dtMeshHeader, dtPoly, dtPolyDetail, dtBVNode and the set header."""
    content = written(TWO)
    places = (4, 1, 0), (4, 1, 4), (0, 1, 4), (0, 1, 0), (8, 1, 0), (8, 1, 4)
    cells = {"low": (3, 6, 3), "middle": (16, 6, 3), "shared": (17, 7, 17), "high": (31, 7, 17)}
    order = sorted(places, key=_first_seen(content))
    data = struct.pack(
        "<5iI9i3f3f3ff",
        0x444E4156, 7, 0, 0, 0, 0, 2, 6, 8, 2, 0, 4, 3, 0, 2, 1.8, 0.3, 0.5, -1, -1, -1, 9, 5, 5, 1 / 0.3,
    )  # fmt: skip
    data += b"".join(struct.pack("<3f", *place) for place in order)
    corners = [[order.index((x, z, y)) for x, y, z in polygon] for polygon, _ in TWO]
    for own, flags, area, edge, beyond in ((corners[0], 2, 1, 0, 2), (corners[1], 4, 2, 0, 1)):
        edge = _edge_at(own, order, x=4)
        words = [beyond if k == edge else 0 for k in range(4)]
        data += struct.pack("<I6H6HHBB", 0xFFFFFFFF, *own, 0, 0, *words, 0, 0, flags, 4, area)
    data += bytes(8 * 12)
    data += struct.pack("<IIBB2x", 0, 0, 0, 2) + struct.pack("<IIBB2x", 0, 2, 0, 2)
    data += bytes((0, 1, 2, 5, 0, 2, 3, 20)) * 2
    data += struct.pack("<3H3Hi", *cells["low"], *cells["high"], -3)
    data += struct.pack("<3H3Hi", *cells["low"], *cells["shared"], 0)
    data += struct.pack("<3H3Hi", *cells["middle"], *cells["high"], 1)
    head = struct.pack("<iii3fffii", 0x4D534554, 1, 1, -1, -1, -1, 10, 6, 1, 2)
    assert content == head + struct.pack("<Ii", 1 << 1, len(data)) + data


def _first_seen(content: bytes) -> Callable[[tuple[int, int, int]], int]:
    """Where a vertex stands in the file; their order is the writer's choice."""
    vertices = [struct.unpack_from("<3f", content, 148 + 12 * i) for i in range(6)]
    return lambda place: vertices.index(tuple(map(float, place)))


def _edge_at(corners: list[int], order: list[tuple[int, int, int]], x: int) -> int:
    return next(k for k in range(4) if order[corners[k]][0] == x and order[corners[(k + 1) % 4]][0] == x)


def test_file_is_the_same_every_time() -> None:
    assert written(TWO) == written(TWO)


@st.composite
def strips(draw: st.DrawFn) -> list[tuple[Polygon, Area]]:
    """A band that winds about, with others laid across it: curves, slopes and overlaps as they come."""
    x = y = z = 0.0
    turn, kind = draw(st.floats(-3.0, 3.0)), draw(st.sampled_from(list(Area)))
    width = draw(st.floats(0.5, 6.0))
    quads = []
    for _ in range(draw(st.integers(1, 12))):
        length, bend, climb = (
            draw(st.floats(0.3, 30.0)),
            draw(st.floats(-0.7, 0.7)),
            draw(st.floats(-0.1, 0.1)),
        )
        begin = _across(x, y, z, turn, width)
        turn += bend
        x, y, z = x + length * math.cos(turn), y + length * math.sin(turn), z + length * climb
        end = _across(x, y, z, turn, width)
        quads.append(((begin[0], begin[1], end[1], end[0]), kind))
    return quads


def _across(
    x: float, y: float, z: float, turn: float, width: float
) -> tuple[tuple[float, float, float], ...]:
    dx, dy = -math.sin(turn) * width / 2, math.cos(turn) * width / 2
    return (x - dx, y - dy, z), (x + dx, y + dy, z)


@settings(deadline=None, max_examples=60)
@given(st.lists(strips(), min_size=1, max_size=5), st.sampled_from([None, 15.0, 64.0]))
def test_whatever_is_laid_the_client_can_load(
    bands: list[list[tuple[Polygon, Area]]], tile_m: float | None
) -> None:
    patchwork = Patchwork()
    for quad, kind in (piece for band in bands for piece in band):
        for part in (*convex_parts(quad), *convex_parts(quad[::-1])):
            patchwork.add(part, kind)
    pieces = [(patch.polygon, patch.area) for patch in patchwork.patches]
    mesh = joined(pieces if tile_m is None else tiles.cut(pieces, tile_m))
    if not mesh.polygons:
        return
    content = detour.write(mesh, tiles.whole(mesh) if tile_m is None else tiles.tiled(mesh, tile_m))
    found = checked(content)
    assert sum(len(tile.polygons) for tile in found) == len(mesh.polygons)
    assert sorted(area for tile in found for area in tile.areas) == sorted(map(int, mesh.areas))


def test_portals_join_the_tiles() -> None:
    pieces = list(tiles.cut([(box(0, 1, 100, 3), Area.SIDEWALK)], 40.0))
    mesh = joined(pieces)
    found = checked(detour.write(mesh, tiles.tiled(mesh, 40.0)))
    assert [(tile.column, tile.row) for tile in found] == [(0, 0), (1, 0), (2, 0)]
    words = [[word for polygon in tile.neighbours for word in polygon if word] for tile in found]
    assert words[0] == [0x8000]
    assert sorted(words[1]) == [0x8000, 0x8004]
    assert words[2] == [0x8004]


def test_more_than_the_references_can_name_is_refused() -> None:
    mesh = joined(TWO)
    many = tuple(range(1 << 21))
    huge = tiles.Tiling(0.0, 0.0, 1.0, 1.0, tuple(tiles.Tile(k, 0, many, {}) for k in range(3)))
    with pytest.raises(ValueError, match="too many"):
        detour.write(mesh, huge)


# --- the checker finds what is wrong -----------------------------------------------------------------

SET, TILE, VERTICES, POLYGONS = 0, 48, 148, 148 + 6 * 12
LINKS, DETAILS = POLYGONS + 2 * 32, POLYGONS + 2 * 32 + 8 * 12
TRIANGLES, TREE = DETAILS + 2 * 12, DETAILS + 2 * 12 + 4 * 4


@pytest.mark.parametrize(
    ("place", "layout", "value"),
    [
        (SET, "<i", 0x54455345),
        (SET + 4, "<i", 2),
        (SET + 8, "<i", 2),
        (SET + 12, "<f", 5.0),
        (SET + 24, "<f", 99.0),
        (SET + 36, "<i", 3),
        (SET + 36, "<i", 1 << 23),
        (SET + 40, "<I", 0),
        (SET + 44, "<i", 10),
        (SET + 44, "<i", 1 << 30),
        (TILE, "<i", 0),
        (TILE + 4, "<i", 6),
        (TILE + 24, "<i", 3),
        (TILE + 28, "<i", 7),
        (TILE + 32, "<i", 7),
        (TILE + 44, "<i", 3),
        (TILE + 48, "<i", 4),
        (TILE + 52, "<i", 1),
        (TILE + 60, "<f", math.nan),
        (TILE + 96, "<f", 1.0),
        (VERTICES, "<f", 1000.0),
        (VERTICES, "<f", math.nan),
        (POLYGONS, "<I", 0),
        (POLYGONS + 4, "<H", 6),
        (POLYGONS + 4, "<H", 65535),
        (POLYGONS + 4, "<2H", (1, 1)),
        (POLYGONS + 4, "<4H", (3, 2, 1, 0)),
        (POLYGONS + 12, "<H", 1),
        (POLYGONS + 16, "<4H", (0, 0, 0, 0)),
        (POLYGONS + 16, "<4H", (2, 2, 2, 2)),
        (POLYGONS + 16, "<4H", (0x8000, 0x8000, 0x8000, 0x8000)),
        (POLYGONS + 28, "<H", 8),
        (POLYGONS + 30, "<B", 7),
        (POLYGONS + 30, "<B", 2),
        (POLYGONS + 31, "<B", 65),
        (LINKS, "<I", 1),
        (DETAILS, "<I", 1),
        (DETAILS + 4, "<I", 7),
        (DETAILS + 9, "<B", 9),
        (TRIANGLES, "<B", 4),
        (TREE, "<H", 9),
        (TREE + 12, "<i", -4),
        (TREE + 12, "<i", -2),
        (TREE + 28, "<i", 2),
        (TREE + 28, "<i", 1),
    ],
)
def test_damage_is_found(place: int, layout: str, value: object) -> None:
    content = bytearray(written(TWO))
    before = bytes(content)
    struct.pack_into(layout, content, place, *(value if isinstance(value, tuple) else (value,)))
    assert bytes(content) != before
    with pytest.raises(NavigationFileError):
        checked(bytes(content))


@pytest.mark.parametrize("length", [0, 10, 39, 44, 100, 147, 200, 400, -1])
def test_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(NavigationFileError):
        checked(written(TWO)[:length])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(NavigationFileError, match="after the last tile"):
        checked(written(TWO) + b"\0")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_checker_meets_garbage_with_its_own_error_only(place: int, garbage: bytes) -> None:
    content = bytearray(written(TWO))
    place %= len(content)
    content[place : place + len(garbage)] = garbage
    try:
        checked(bytes(content))
    except NavigationFileError:
        return

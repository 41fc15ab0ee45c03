"""What fills the bounding box of a vehicle, a walker or a prop.

A shape lives in the unit box [-1, 1]^3 (x forward, y right, z up) and is stretched to the box's extent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from carlad.standin.rendering.mesh import Color, Mesh, box, join, quads
from carlad.standin.rendering.objects import Objects
from carlad.wire.types import CityObjectLabel as Tag

PAINT: Color = (255, 0, 255)  # stands for the object's own colour in a shape
_GLASS: Color = (38, 48, 58)
_TYRE: Color = (28, 28, 30)
_HEADLAMP: Color = (246, 244, 222)
_TAIL_LAMP: Color = (190, 26, 24)
_SKIN: Color = (206, 162, 132)
_TROUSERS: Color = (58, 62, 82)
_METAL: Color = (96, 98, 102)

_TALL = 0.425  # a car that is higher than that share of its length is a van


@dataclass(frozen=True)
class ObjectMesh:
    """The triangles of all objects of a frame; `object_id` is uint32 (T,)."""

    mesh: Mesh
    object_id: npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Group:
    """The objects of one shape: `rows` of the frame's objects, whose triangles begin at `first` each.

    The triangles of all objects are numbered group by group, object by object.
    """

    shape: Mesh
    rows: npt.NDArray[np.intp]
    first: npt.NDArray[np.int64]


def groups_of(objects: Objects) -> list[Group]:
    """Every object in one of them."""
    extents = objects.extent.tolist()
    names = [_shape_name(tag, extent) for tag, extent in zip(objects.tag.tolist(), extents, strict=True)]
    groups, count = [], 0
    for name in sorted(set(names)):
        rows = np.array([row for row, other in enumerate(names) if other == name])
        shape = SHAPES[name]
        groups.append(Group(shape, rows, count + len(shape) * np.arange(len(rows))))
        count += len(shape) * len(rows)
    return groups


def mesh_of(objects: Objects, groups: Sequence[Group]) -> ObjectMesh:
    """Every object's shape at its pose, in world coordinates; `groups` are those of `groups_of`."""
    owners = [np.repeat(objects.actor_id[group.rows], len(group.shape)) for group in groups]
    meshes = [_placed(group.shape, objects, group.rows) for group in groups]
    return ObjectMesh(join(meshes), np.concatenate([*owners, np.empty(0, np.uint32)]))


def _shape_name(tag: int, extent: list[float]) -> str:
    """Vans have a car's tag and a lorry's form."""
    if tag == Tag.CAR and extent[2] > _TALL * extent[0]:
        return "lorry"
    return _SHAPE_OF_TAG.get(tag, "box")


def _placed(shape: Mesh, objects: Objects, rows: npt.NDArray[np.intp]) -> Mesh:
    """`shape` once for each of `rows`."""
    extent, center = objects.extent[rows].astype(np.float32), objects.center[rows].astype(np.float32)
    place, turn = objects.pose[rows, :3].astype(np.float32), objects.world_from_actor[rows].astype(np.float32)
    local = shape.corners.reshape(1, -1, 3) * extent[:, None] + center[:, None]
    world = local @ turn.transpose(0, 2, 1) + place[:, None]
    painted = (shape.color == PAINT).all(axis=1)
    tag = np.where(shape.tag == Tag.NONE, objects.tag[rows, None], shape.tag)
    color = np.where(painted[None, :, None], objects.color[rows, None], shape.color[None])
    return Mesh(
        corners=world.reshape(-1, 3, 3).astype(np.float32, copy=False),
        tag=tag.reshape(-1).astype(np.uint8),
        color=color.reshape(-1, 3),
    )


# --- parts: their tag NONE stands for the object's own ---------------------------------------------


def _block(
    x: tuple[float, float], y: float, z: tuple[float, float], color: Color, tag: Tag = Tag.NONE
) -> Mesh:
    """A box from x[0] to x[1] and z[0] to z[1], `y` to both sides."""
    center = (sum(x) / 2, 0.0, sum(z) / 2)
    return box(center, ((x[1] - x[0]) / 2, y, (z[1] - z[0]) / 2), 0.0, tag, color)


def _cabin(
    foot: tuple[float, float], roof: tuple[float, float], y: tuple[float, float], z: tuple[float, float]
) -> Iterator[Mesh]:
    """Glass all around that leans inwards, under a painted roof."""
    a, b = (foot[1], -y[0], z[0]), (foot[1], y[0], z[0])
    c, d = (foot[0], y[0], z[0]), (foot[0], -y[0], z[0])
    e, f = (roof[1], -y[1], z[1]), (roof[1], y[1], z[1])
    g, h = (roof[0], y[1], z[1]), (roof[0], -y[1], z[1])
    yield quads([(a, b, f, e), (b, c, g, f), (c, d, h, g), (d, a, e, h)], Tag.NONE, _GLASS)
    yield quads([(e, f, g, h)], Tag.NONE, PAINT)


def _wheels(axles: tuple[float, ...], half_length: float, top: float) -> Iterator[Mesh]:
    """On both sides; what the body hides is left out."""
    for x in axles:
        for side in (-1.0, 1.0):
            block = box(
                (x, 0.86 * side, (top - 1) / 2), (half_length, 0.14, (top + 1) / 2), 0.0, Tag.NONE, _TYRE
            )
            outer, ends = slice(4, 6) if side > 0 else slice(6, 8), slice(0, 4)
            for part in (ends, outer):
                yield Mesh(block.corners[part], block.tag[part], block.color[part])


def _lamps(z: float, height: float) -> Iterator[Mesh]:
    for x, color in ((1.0, _HEADLAMP), (-1.0, _TAIL_LAMP)):
        for middle in (-0.66, 0.66):
            sides = (-0.2, 0.2) if x > 0 else (0.2, -0.2)
            left, right = middle + sides[0], middle + sides[1]
            low, high = z - height, z + height
            yield quads(
                [[(x, left, low), (x, right, low), (x, right, high), (x, left, high)]], Tag.NONE, color
            )


def _car() -> Iterator[Mesh]:
    yield _block((-0.985, 0.985), 0.97, (-0.7, -0.16), PAINT)
    yield _block((-0.94, 0.9), 0.93, (-0.16, 0.02), PAINT)
    yield from _cabin((-0.82, 0.5), (-0.56, 0.1), (0.9, 0.72), (0.02, 0.98))
    yield from _wheels((-0.6, 0.62), 0.15, -0.34)
    yield from _lamps(-0.3, 0.1)


def _lorry() -> Iterator[Mesh]:
    yield _block((-0.99, 0.99), 0.97, (-0.8, -0.05), PAINT)
    yield from _cabin((-0.98, 0.985), (-0.98, 0.93), (0.97, 0.94), (-0.05, 0.5))
    yield _block((-0.99, 0.93), 0.95, (0.5, 1.0), PAINT)
    yield from _wheels((-0.62, 0.66), 0.1, -0.55)
    yield from _lamps(-0.5, 0.06)


def _two_wheeler() -> Iterator[Mesh]:
    yield _block((-1.0, -0.36), 0.12, (-1.0, -0.3), _TYRE)
    yield _block((0.36, 1.0), 0.12, (-1.0, -0.3), _TYRE)
    yield _block((-0.5, 0.5), 0.2, (-0.55, -0.12), PAINT)
    yield _block((0.36, 0.5), 0.95, (0.0, 0.1), _METAL)
    yield _block((-0.34, 0.0), 0.55, (-0.6, 0.1), _TROUSERS, Tag.RIDER)
    yield _block((-0.3, 0.12), 0.7, (0.1, 0.66), PAINT, Tag.RIDER)
    yield _block((-0.06, 0.18), 0.34, (0.7, 1.0), _SKIN, Tag.RIDER)


def _walker() -> Iterator[Mesh]:
    for side in (-1.0, 1.0):
        yield box((0.0, 0.45 * side, -0.55), (0.4, 0.34, 0.45), 0.0, Tag.NONE, _TROUSERS)
    yield _block((-0.5, 0.5), 1.0, (-0.1, 0.6), PAINT)
    yield _block((-0.46, 0.46), 0.44, (0.66, 1.0), _SKIN)


SHAPES = {
    "car": join(_car()),
    "lorry": join(_lorry()),
    "two_wheeler": join(_two_wheeler()),
    "walker": join(_walker()),
    "box": _block((-1.0, 1.0), 1.0, (-1.0, 1.0), PAINT),
}
_SHAPE_OF_TAG: dict[int, str] = {
    Tag.CAR: "car",
    Tag.TRUCK: "lorry",
    Tag.BUS: "lorry",
    Tag.MOTORCYCLE: "two_wheeler",
    Tag.BICYCLE: "two_wheeler",
    Tag.PEDESTRIANS: "walker",
}

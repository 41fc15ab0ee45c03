"""What stands still in a town, one by one: each can be asked for, and taken away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property

import numpy as np
import numpy.typing as npt

from carlad.standin.kept import Arrays, kept
from carlad.standin.rendering.buildings import neighbourhood, planned
from carlad.standin.rendering.lanes import lanes_of
from carlad.standin.rendering.mesh import Mesh, join, yaw_matrix
from carlad.standin.rendering.roads import crosswalks, markings, stop_lines, surfaces
from carlad.standin.rendering.signals import heads, posts
from carlad.standin.rendering.signs import sign_plates, sign_posts
from carlad.standin.rendering.street_lights import masts
from carlad.standin.towns import Town
from carlad.wire.types import CityObjectLabel as Tag


class Layer(IntFlag):
    """carla.MapLayer."""

    NONE = 0
    BUILDINGS = 1
    DECALS = 2
    FOLIAGE = 4
    GROUND = 8
    PARKED_VEHICLES = 16
    PARTICLES = 32
    PROPS = 64
    STREET_LIGHTS = 128
    WALLS = 256
    ALL = 0xFFFF


_LAYER_OF: dict[Tag, Layer] = {
    Tag.BUILDINGS: Layer.BUILDINGS,
    Tag.VEGETATION: Layer.FOLIAGE,
    Tag.WALLS: Layer.WALLS,
    Tag.FENCES: Layer.WALLS,
    Tag.STATIC: Layer.PROPS,
    Tag.CAR: Layer.PARKED_VEHICLES,
}  # roads, pavements, the ground and what rules the traffic are in every layer


@dataclass(frozen=True)
class Structure:
    """One thing. `name` is unique in its town; `yaw_deg` is the direction of its bounding box."""

    name: str
    mesh: Mesh
    layer: Layer
    yaw_deg: float = 0.0

    @property
    def tag(self) -> Tag:
        return Tag(int(self.mesh.tag[0]))

    @cached_property
    def box(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Centre (3,) in the world and half sizes (3,) along the box's own axes, metres."""
        turn = yaw_matrix(self.yaw_deg)
        local = self.mesh.corners.reshape(-1, 3) @ turn
        low, high = local.min(axis=0), local.max(axis=0)
        return turn @ ((low + high) / 2), (high - low) / 2


def structures_of(town: Town) -> tuple[Structure, ...]:
    """Everything of a town, the same things in the same order each time.

    The traffic lights' heads come last, in the order of `town.lights`, and before them the street lights'
    masts: the lamps, which are no structures, follow them.
    """
    return _unpacked(kept("structures", town.look, lambda: _packed(_found(town))))


def _found(town: Town) -> list[Structure]:
    return [
        Structure(f"{kind}_{number}", mesh, layer, yaw_deg)
        for number, (kind, layer, mesh, yaw_deg) in enumerate(_things(town))
        if len(mesh)
    ]


def _packed(structures: Sequence[Structure]) -> Arrays:
    """As arrays to be kept: a row for each structure, and their triangles one after the other."""
    mesh = join(structure.mesh for structure in structures)
    return {
        "names": np.array([structure.name for structure in structures], np.str_),
        "layers": np.array([structure.layer for structure in structures], np.int64),
        "yaws_deg": np.array([structure.yaw_deg for structure in structures], np.float64),
        "sizes": np.array([len(structure.mesh) for structure in structures], np.int64),
        "corners": mesh.corners,
        "tag": mesh.tag,
        "color": mesh.color,
    }


def _unpacked(arrays: Arrays) -> tuple[Structure, ...]:
    ends = np.cumsum(arrays["sizes"])
    parts = [slice(*span) for span in zip((ends - arrays["sizes"]).tolist(), ends.tolist(), strict=True)]
    corners, tag, color = arrays["corners"], arrays["tag"], arrays["color"]
    names, layers, yaws = (arrays[key].tolist() for key in ("names", "layers", "yaws_deg"))
    return tuple(
        Structure(name, Mesh(corners[part], tag[part], color[part]), Layer(layer), yaw_deg)
        for name, layer, yaw_deg, part in zip(names, layers, yaws, parts, strict=True)
    )


def _things(town: Town) -> Iterator[tuple[str, Layer, Mesh, float]]:
    lanes = list(lanes_of(town.map, town.xodr))
    for meshes in (surfaces(lanes), markings(lanes), stop_lines(town), crosswalks(town.map)):
        for mesh in meshes:
            yield _kind(mesh), Layer.NONE, mesh, 0.0
    for mesh, yaw_deg in neighbourhood(planned(town.name, lanes)):
        yield _kind(mesh), _LAYER_OF.get(Tag(int(mesh.tag[0])), Layer.NONE), mesh, yaw_deg
    for mesh, yaw_deg in sign_plates(town):
        yield "TrafficSign", Layer.NONE, mesh, yaw_deg
    for mesh, yaw_deg in (*sign_posts(town), *posts(town)):
        yield "Pole", Layer.NONE, mesh, yaw_deg
    for mesh, yaw_deg in masts(town):
        yield "StreetLight", Layer.STREET_LIGHTS, mesh, yaw_deg
    for mesh, yaw_deg in heads(town):
        yield "TrafficLight", Layer.NONE, mesh, yaw_deg


def _kind(mesh: Mesh) -> str:
    return Tag(int(mesh.tag[0])).name.title().replace("_", "") if len(mesh) else "Nothing"

"""What stands in the town: map layers, environment objects, bounding boxes, and what rays meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from carlad.standin.errors import require_finite
from carlad.standin.geometry import point
from carlad.standin.simulation import Simulation
from carlad.standin.surroundings import ID_BASE
from carlad.wire import types as t
from carlad.wire.types import CityObjectLabel

if TYPE_CHECKING:
    from carlad.standin.rendering.structures import Structure


def load_map_layer(sim: Simulation, layers: int) -> None:
    sim.surroundings.show_layers(layers, shown=True)


def unload_map_layer(sim: Simulation, layers: int) -> None:
    sim.surroundings.show_layers(layers, shown=False)


def get_names_of_all_objects(sim: Simulation) -> list[str]:
    return [structure.name for structure in sim.surroundings.structures]


def get_environment_objects(sim: Simulation, tag: int) -> list[t.EnvironmentObject]:
    """Bounding boxes are in the world's frame, as CARLA's are."""
    return [
        t.EnvironmentObject(
            transform=_pose(structure),
            bounding_box=_box(structure),
            id=ID_BASE + index,
            name=structure.name,
            type=structure.tag,
        )
        for index, structure in enumerate(sim.surroundings.structures)
        if tag in (CityObjectLabel.ANY, structure.tag)
    ]


def enable_environment_objects(sim: Simulation, ids: list[int], enabled: bool) -> None:
    sim.surroundings.enable(ids, enabled)


def get_all_level_BBs(sim: Simulation, tag: int) -> list[t.BoundingBox]:  # noqa: N802 - the call's name
    """Of structures and of actors, world frame."""
    structures = [
        _box(structure)
        for structure in sim.surroundings.structures
        if tag in (CityObjectLabel.ANY, structure.tag)
    ]
    return [*structures, *_boxes_of_solids(sim, tag)]


def project_point(
    sim: Simulation, start: t.Location, direction: t.Vector3D, distance_m: float
) -> tuple[bool, t.LabelledPoint]:
    """The first surface within `distance_m`; ground_projection asks downwards."""
    require_finite("a ray", start.x, start.y, start.z, direction.x, direction.y, direction.z, distance_m)
    from carlad.standin.vision import along

    for hit in along(sim.sensing.eyes.present(), start, direction, distance_m):
        return True, hit
    return False, t.LabelledPoint(t.Vector3D(), CityObjectLabel.NONE)


def cast_ray(sim: Simulation, start: t.Location, end: t.Location) -> list[t.LabelledPoint]:
    """Where the way from `start` to `end` enters things, in order; each thing once."""
    require_finite("a ray", start.x, start.y, start.z, end.x, end.y, end.z)
    from carlad.standin.vision import along

    way = t.Vector3D(end.x - start.x, end.y - start.y, end.z - start.z)
    return list(along(sim.sensing.eyes.present(), start, way, None))


def _pose(structure: Structure) -> t.Transform:
    """Where a structure stands: the middle of its foot."""
    (x, y, z), extent = structure.box
    place = t.Vector3D(float(x), float(y), float(z - extent[2]))
    return t.Transform(place, t.Rotation(0.0, structure.yaw_deg, 0.0))


def _box(structure: Structure) -> t.BoundingBox:
    center, extent = structure.box
    turn = t.Rotation(0.0, structure.yaw_deg, 0.0)
    return t.BoundingBox(t.Vector3D(*center.tolist()), t.Vector3D(*extent.tolist()), turn)


def _boxes_of_solids(sim: Simulation, tag: int) -> Iterator[t.BoundingBox]:
    for actor in sim.world.solids:
        if tag in (CityObjectLabel.ANY, actor.semantic_tag):
            middle = point(actor.pose, actor.bounding_box.location)
            yield t.BoundingBox(middle, actor.bounding_box.extent, actor.pose.rotation, actor.id)

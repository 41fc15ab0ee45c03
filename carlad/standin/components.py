"""The components of vehicles that CARLA's artists named: the mesh, and the lamps of what has four wheels.

CARLA's blueprints number the lamps of a kind from 1. Where they are differs from model to model there; here
they follow from the bounding box. Source of the names: the light export of CARLA's tools plugin (0.9.16).
"""

from __future__ import annotations

from collections.abc import Iterator

from carlad.wire import types as t

MESH = "VehicleMesh"
_PAIRS = {  # share of the half width and of the height at which both lamps are
    "front-position": (0.75, 0.4), "front-low_beam": (0.8, 0.42), "front-high_beam": (0.65, 0.42),
    "front-blinker": (0.9, 0.42), "front-fog": (0.75, 0.22),
    "back-position": (0.85, 0.5), "back-brake": (0.8, 0.52), "back-blinker": (0.9, 0.48),
    "back-reverse": (0.65, 0.48), "back-fog": (0.7, 0.25),
}  # fmt: skip
_SIDES = {"l": -1.0, "r": 1.0}


def lamps(box: t.BoundingBox, emergency: bool) -> dict[str, t.Transform]:
    """vehicle_from_lamp by name; lamps shine along their x axis."""
    return dict(_lamps(box, emergency))


def _lamps(box: t.BoundingBox, emergency: bool) -> Iterator[tuple[str, t.Transform]]:
    for kind, (aside, up) in _PAIRS.items():
        for side, sign in _SIDES.items():
            yield f"{kind}-{side}-1", _at(box, kind.startswith("front"), sign * aside, up)
    yield "plate-position-1", _at(box, False, 0.0, 0.35)
    yield "interior-1", t.Transform(_place(box, 0.0, 0.0, 0.9), t.Rotation(pitch=-90.0))
    if emergency:
        yield "special1-1", t.Transform(_place(box, 0.0, 0.0, 1.0), t.Rotation())


def _at(box: t.BoundingBox, front: bool, aside: float, up: float) -> t.Transform:
    return t.Transform(
        _place(box, 1.0 if front else -1.0, aside, up), t.Rotation(yaw=0.0 if front else 180.0)
    )


def _place(box: t.BoundingBox, along: float, aside: float, up: float) -> t.Vector3D:
    """Shares of the half length, of the half width, and of the height from the ground."""
    middle, half = box.location, box.extent
    return t.Vector3D(middle.x + along * half.x, middle.y + aside * half.y, middle.z + (2 * up - 1) * half.z)

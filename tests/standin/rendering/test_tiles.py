from __future__ import annotations

import numpy as np

from carlad.standin.rendering.geometry import location_of, rotation_of
from carlad.standin.rendering.mesh import uniform
from carlad.standin.rendering.scene import Scene
from carlad.standin.rendering.tiles import Tiles
from carlad.wire.types import CityObjectLabel as Tag
from tests.standin.rendering.things import pose


def test_every_triangle_is_in_one_tile(scene: Scene) -> None:
    mesh = scene.static().mesh
    tiles = Tiles.of(mesh)
    assert np.array_equal(np.sort(tiles.order), np.arange(len(mesh)))
    assert tiles.first[0] == 0
    assert tiles.first[-1] == len(mesh)


def test_no_triangle_before_the_camera_is_left_out(scene: Scene) -> None:
    """A corner inside the camera's pyramid means that its triangle is among the drawn ones."""
    mesh = scene.static().mesh
    tiles = Tiles.of(mesh)
    chance = np.random.default_rng(3)
    for _ in range(40):
        x, y, z = chance.uniform((-20, -180, 0.5), (190, 20, 40))
        eye = pose(x, y, z, *chance.uniform((-40, -180, -30), (40, 180, 30)))
        ahead, right, up = np.moveaxis((mesh.corners - location_of(eye)) @ rotation_of(eye), -1, 0)
        inside = (ahead > 0.1) & (np.abs(right) < 1.2 * ahead) & (np.abs(up) < 0.7 * ahead)
        runs = tiles.seen(location_of(eye), rotation_of(eye), 1.2, 0.7)
        drawn = np.zeros(len(mesh), np.bool_)
        for first, behind in runs:
            drawn[tiles.order[first:behind]] = True
        assert drawn[inside.any(axis=1)].all()
    assert not drawn.all()  # something is saved


def test_an_empty_town_has_no_runs() -> None:
    tiles = Tiles.of(uniform((), Tag.NONE, (0, 0, 0)))
    assert tiles.seen(np.zeros(3), np.eye(3), 1.0, 1.0) == []

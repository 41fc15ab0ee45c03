from __future__ import annotations

import pytest

from carlad.standin import towns
from carlad.standin.rendering.scene import Scene


@pytest.fixture(scope="session")
def scene() -> Scene:
    """The small town, built once."""
    built = Scene(towns.load("Town02"))
    built.warm()
    return built

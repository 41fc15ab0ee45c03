"""`python -m carlad.standin.compile`: compile physics and build the towns, before they are needed."""

from __future__ import annotations

from carlad.standin import towns
from carlad.standin.motion.kernels import load
from carlad.standin.obstacles import boxes_of
from carlad.standin.rendering.structures import structures_of

if __name__ == "__main__":
    load()
    for name in towns.available():
        town = towns.load(name)
        boxes_of(town)
        structures_of(town)

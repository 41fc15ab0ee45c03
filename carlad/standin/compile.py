"""`python -m carlad.standin.compile`: compile the vehicles' physics now, not at the first vehicle."""

from __future__ import annotations

from carlad.standin.motion.kernels import load

if __name__ == "__main__":
    load()

"""What recorder and reader raise."""

from __future__ import annotations

from carlad.errors import CarladError


class RecordingError(CarladError):
    """A file cannot be written or read; says which and why."""

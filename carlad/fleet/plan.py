"""What all slots of a fleet share: how servers are started, checked, restarted and replaced."""

from __future__ import annotations

from pathlib import Path

import msgspec

from carlad.config import ProbeSection, RecycleSection
from carlad.fleet.backends.interface import Backend
from carlad.fleet.outbreak import Outbreak
from carlad.runtime import RestartPolicy


class Plan(msgspec.Struct, frozen=True):
    """`maps`: by slot, in turn."""

    backend: Backend
    outbreak: Outbreak
    host: str
    maps: tuple[str, ...]
    probe: ProbeSection
    park_after_s: float  # 0: never
    restart: RestartPolicy
    recycle: RecycleSection
    runs: Path
    log_dir: Path
    made_from: str  # tells configurations apart from which other servers would come

    def map_of(self, slot: int) -> str:
        """Empty: the one that the server starts with."""
        return self.maps[slot % len(self.maps)] if self.maps else ""

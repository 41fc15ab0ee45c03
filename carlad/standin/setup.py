"""How a simulation begins, as far as the command line says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from carlad.standin.flags import Options
from carlad.standin.recording import default_directory
from carlad.wire.types import EpisodeSettings


@dataclass(frozen=True)
class Setup:
    """`map_directories`: OpenDRIVE files there come before the bundled ones."""

    seed: int = 0
    recordings: Path = field(default_factory=default_directory)
    map_directories: tuple[Path, ...] = ()
    settings: EpisodeSettings = field(default_factory=EpisodeSettings)
    call_log: Path | None = None

    @staticmethod
    def of(options: Options) -> Setup:
        return Setup(
            options.seed,
            options.recordings or default_directory(),
            options.maps,
            EpisodeSettings(fixed_delta_seconds=(True, 1.0 / options.fps))
            if options.fps
            else EpisodeSettings(),
            _call_log(options),
        )


def _call_log(options: Options) -> Path | None:
    """A file of this process's own in the directory that was given."""
    return options.call_log and options.call_log / f"{options.rpc_port}-{os.getpid()}.jsonl"

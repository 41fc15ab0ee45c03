"""Where a run's outputs go."""

from __future__ import annotations

from pathlib import Path

import msgspec

from trainer.config import OutputConfig

PROGRESS_FILE = "progress.jsonl"
CONFIG_FILE = "config.toml"
LOG_FILE = "trainer.log"
_CHECKPOINTS = "checkpoints"  # of a run that has all its outputs in one folder


class Folders(msgspec.Struct, frozen=True):
    """A run's own folders; they may not exist yet."""

    run: Path
    """What it says: its log, its figures, its resolved configuration, where its telemetry is."""
    tensorboard: Path
    checkpoints: Path
    capture: Path
    """Recordings of episodes, if any."""


def together(out: Path) -> Folders:
    """All below `out`."""
    return Folders(out, out / "tensorboard", out / _CHECKPOINTS, out / "sensor_capture")


def by_name(output: OutputConfig, name: str) -> Folders:
    """One below each of the configured folders."""
    parents = output.logs, output.tensorboard_logs, output.model_checkpoints, output.sensor_capture
    return Folders(*(Path(parent, name) for parent in parents))


def of(out: Path | None, output: OutputConfig, name: str, resumed: Path | None) -> Folders:
    """Those below `out` if it is given; else those that the `resumed` checkpoint's run has, or new ones."""
    if out is not None:
        return together(out)
    if resumed is not None:
        inside = resumed if resumed.is_dir() else resumed.parent
        run = inside.parent if inside.name == _CHECKPOINTS else inside
        if (run / PROGRESS_FILE).exists():
            return together(run)
        if inside.parent.resolve() == Path(output.model_checkpoints).resolve():
            return by_name(output, inside.name)
    return by_name(output, name)

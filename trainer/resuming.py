"""Which run `--resume auto` goes on with."""

from __future__ import annotations

from pathlib import Path

from carlad.log import get_logger
from trainer import checkpoint
from trainer.checkpoint import NEWEST, CheckpointError
from trainer.config import Config, digest
from trainer.train import is_done

log = get_logger("carlad.trainer")


def unfinished(config: Config, out: Path | None) -> Path | None:
    """The run in `out` if there is one; without `out` the newest one below output.model_checkpoints that
    learns by the same configuration and seed and has not come to its end. None: a new one is to begin.
    """
    if out is not None:
        return out if (out / "checkpoints" / NEWEST).exists() else None
    found = Path(config.output.model_checkpoints).glob(f"*/{NEWEST}")
    for path in sorted(found, key=lambda one: one.stat().st_mtime_ns, reverse=True):
        try:
            saved = checkpoint.load(path)
        except CheckpointError as error:
            log.warning("resuming.passed_over", reason=error)
            continue
        same = digest(saved.config) == digest(config) and saved.config.train.seed == config.train.seed
        if same and not is_done(config.train, saved.counters):
            return path.parent
    return None

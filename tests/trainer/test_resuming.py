"""Which run `--resume auto` goes on with."""

from __future__ import annotations

import os
from pathlib import Path

from trainer import checkpoint
from trainer.checkpoint import NEWEST, Checkpoint, Counters
from trainer.config import Config, load
from trainer.resuming import unfinished

STEPS = "train.total_steps=1000"


def config(models: Path, *overrides: str) -> Config:
    where = f"output.model_checkpoints={str(models)!r}"
    return load("demo", overrides=[where, STEPS, *overrides], environ={})


def run(folder: Path, saved: Config, env_steps: int, at_s: int) -> Path:
    path = folder / NEWEST
    checkpoint.save(path, Checkpoint(config=saved, counters=Counters(env_steps=env_steps), states={}))
    os.utime(path, (at_s, at_s))
    return folder


def test_the_newest_run_of_this_configuration_that_is_not_at_its_end_goes_on(tmp_path: Path) -> None:
    mine = config(tmp_path)
    run(tmp_path / "older", mine, 500, at_s=1)
    wanted = run(tmp_path / "newer", mine, 400, at_s=2)
    run(tmp_path / "finished", mine, 1000, at_s=3)
    run(tmp_path / "other", config(tmp_path, "ppo.gamma=0.5"), 500, at_s=4)
    run(tmp_path / "another seed", config(tmp_path, "train.seed=7"), 500, at_s=5)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / NEWEST).write_bytes(b"no checkpoint")
    assert unfinished(mine, None) == wanted


def test_where_nothing_is_unfinished_a_new_run_begins(tmp_path: Path) -> None:
    run(tmp_path / "finished", config(tmp_path), 1000, at_s=1)
    assert unfinished(config(tmp_path), None) is None
    assert unfinished(config(tmp_path / "nowhere"), None) is None


def test_a_folder_that_was_named_is_gone_on_with_whatever_else_there_is(tmp_path: Path) -> None:
    run(tmp_path / "models" / "newer", config(tmp_path / "models"), 400, at_s=2)
    out = tmp_path / "out"
    assert unfinished(config(tmp_path / "models"), out) is None
    run(out / "checkpoints", config(tmp_path / "models"), 1000, at_s=1)
    assert unfinished(config(tmp_path / "models"), out) == out

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from tests.trainer.test_figures import round_
from trainer import folders
from trainer.checkpoint import Counters
from trainer.config import decode
from trainer.report import Report


def test_a_change_of_the_curriculum_s_stage_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [{"name": "short", "env": {"route_max_m": 90.0}}, {"name": "whole"}]
    config = decode({"curriculum": {"stages": stages}}, [])
    where = folders.of(tmp_path / "run", config.output, "a", None)
    where.run.mkdir()
    report = Report(where, config, Console(file=io.StringIO()), 0)
    with caplog.at_level(logging.INFO):
        for env_steps, stage in ((100, 0), (200, 1), (300, 1), (400, 0)):
            report.update(Counters(env_steps=env_steps), round_(stage=stage))
    report.close()
    told = [record.getMessage() for record in caplog.records if "curriculum.stage" in record.getMessage()]
    assert told == [
        "curriculum.stage stage=short env_steps=100",
        "curriculum.stage stage=whole before=short env_steps=200",
        "curriculum.stage stage=short before=whole env_steps=400",
    ]

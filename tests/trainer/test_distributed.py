from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from carlad.errors import ConfigError
from trainer.distributed import ALONE, joined


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command.append(f"--log-dir={tmp_path}")  # it leaves one of its own behind otherwise
    result = subprocess.run(
        [*command, "-m", "tests.trainer.two_ranks"], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("agreed") == 2


def test_alone_everything_is_as_it_is() -> None:
    with joined("cpu") as (ranks, device):
        assert (ranks, device) == (ALONE, torch.device("cpu"))
    assert ranks.is_first
    assert ranks.any(True)
    assert ranks.gather("it") == ["it"]
    assert ranks.mean(torch.tensor(3.0)) == 3.0


def test_a_gpu_that_is_not_there_is_told_of() -> None:
    reason = r"cannot compute on 'cuda:99'.*set train.device to auto or cpu"
    with pytest.raises(ConfigError, match=reason), joined("cuda:99"):
        pass


@pytest.mark.parametrize("name", ["gpu", "meta", ""])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="it is auto, cpu, cuda or cuda:N"), joined(name):
        pass

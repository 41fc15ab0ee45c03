"""docs/trainer.md: its commands and programs run as they are written, its configuration can be used."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from carlad import toml
from tests.test_readme import ROOT, _answers, _call, _environment, _free_port, _running, _until
from trainer.config import decode

PAGE = (ROOT / "docs" / "trainer.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_curriculum_of_the_page_is_a_valid_one() -> None:
    (block,) = blocks("toml")
    assert [stage.name for stage in decode(toml.parse(block)).curriculum.stages] == ["short", "whole"]


def test_files_that_the_page_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.system
def test_commands_and_programs_of_the_page_work(tmp_path: Path) -> None:
    commands = [line for block in blocks("console") for line in block.splitlines()]
    boards = [command for command in commands if command.startswith("tensorboard")]
    programs = [f"{sys.executable} -c {shlex.quote(block)}" for block in blocks("python")]
    environment = _environment(tmp_path)
    with _running("carlad", tmp_path, environment):
        _until(lambda: _call("carlactl status", tmp_path, environment).returncode == 0)
        for command in [*(set_aside for set_aside in commands if set_aside not in boards), *programs]:
            done = _call(command, tmp_path, environment, 600.0)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    evaluated = json.loads((tmp_path / "data" / "evaluation.json").read_text())
    assert (evaluated["summary"]["episodes"], len(evaluated["episodes"])) == (10, 10)
    assert (tmp_path / "data" / "policy.onnx").stat().st_size > 1000
    port = _free_port()
    with _running(f"{boards[0]} --port {port}", tmp_path, environment):
        _until(lambda: _answers(port))

"""docs/trainer.md: its commands and programs run as they are written, its configuration can be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carlad import toml
from tests.pages import ROOT, Page, answers, call, environment, running, until
from tests.ports import free_port
from trainer.config import decode

PAGE = Page("docs/trainer.md")


def test_the_curriculum_of_the_page_is_a_valid_one() -> None:
    (block,) = PAGE.blocks("toml")
    assert [stage.name for stage in decode(toml.parse(block)).curriculum.stages] == ["short", "whole"]


def test_files_that_the_page_links_to_exist() -> None:
    assert PAGE.missing() == []


@pytest.mark.system
def test_the_benchmark_of_the_page_learns_and_its_curve_can_be_drawn(tmp_path: Path) -> None:
    """Its first minute. An untrained policy gets 0.001 of the way, random actions 0.08; usual is 0.4 to 1."""
    train, _, curves = PAGE.blocks("shell")[0].splitlines()
    short = f"{train} -o train.total_steps=40_000 -o train.eval_episodes=20"
    environ = environment(tmp_path)
    with running("carlad", tmp_path, environ):
        until(lambda: call("carlactl status", tmp_path, environ).returncode == 0)
        done = call(short, tmp_path, environ, 900.0)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "data" / "route-state" / "progress.jsonl").read_text().splitlines()
    start, end = (entry for entry in map(json.loads, lines) if "evaluation" in entry)
    assert start["route_completion"] < 0.05
    assert end["route_completion"] > 0.25
    draw, _ = curves.rsplit(maxsplit=1)
    done = call(draw.replace("docs/", f"{ROOT / 'docs'}/"), tmp_path, environ)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "learning.png").stat().st_size > 10_000


@pytest.mark.system
def test_commands_and_programs_of_the_page_work(tmp_path: Path) -> None:
    commands = PAGE.commands()
    boards = [command for command in commands if command.startswith("tensorboard")]
    environ = environment(tmp_path)
    with running("carlad", tmp_path, environ):
        until(lambda: call("carlactl status", tmp_path, environ).returncode == 0)
        for command in [*(set_aside for set_aside in commands if set_aside not in boards), *PAGE.programs()]:
            done = call(command, tmp_path, environ, 600.0)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    evaluated = json.loads((tmp_path / "data" / "evaluation.json").read_text())
    assert (evaluated["summary"]["episodes"], len(evaluated["episodes"])) == (10, 10)
    assert (tmp_path / "data" / "policy.onnx").stat().st_size > 1000
    port = free_port()
    with running(f"{boards[0]} --port {port}", tmp_path, environ):
        until(lambda: answers(port))

"""The guides and references: their commands and programs run as they stand there, top to bottom."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from carlad import config, messages
from carlad.fleet.autopsy import Cause
from carlad.fleet.lifecycle import State
from tests.bench import harness, record
from tests.pages import ROOT, Page, call, environment, running, succeed, until
from tests.ports import free_ports

PAGES = {
    name: Page(f"docs/{name}.md")
    for name in (
        "operators-guide",
        "researchers-guide",
        "protocol",
        "configuration",
        "architecture",
        "benchmarks",
    )
}
OPERATOR, RESEARCHER = PAGES["operators-guide"], PAGES["researchers-guide"]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_exists(name: str) -> None:
    assert PAGES[name].missing() == []


def test_configurations_of_the_guides_can_be_used() -> None:
    blocks = [*OPERATOR.blocks("toml"), *RESEARCHER.blocks("toml")]
    assert len(blocks) == 3
    for block in blocks:
        config.decode(block)


def test_every_state_and_cause_is_in_the_operators_guide() -> None:
    missing = [state.value for state in State if f"| {state.value} |" not in OPERATOR.text]
    said = OPERATOR.text
    assert missing == []
    assert [cause.value for cause in Cause if f"`{cause.value}`" not in said] == []


def test_every_message_is_in_the_reference() -> None:
    structs = [
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not messages.Message
    ]
    headings = re.findall(r"^#### (\w+)$", PAGES["protocol"].text, re.MULTILINE)
    own = {struct.__name__ for struct in structs if struct.__module__ == messages.__name__}
    assert own <= set(headings)
    assert len(headings) == len(set(headings))


def test_every_benchmark_is_on_its_page_and_can_be_run() -> None:
    page = PAGES["benchmarks"].text
    headings = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^## (.*)$", page, re.MULTILINE))))
    named = headings | set(re.findall(r"make bench NAME=(\w+)", page))
    modules = {path.stem for path in (ROOT / "tests" / "bench").glob("*.py")}
    assert headings == set(record.NAMES) == set(re.findall(r"<!-- bench-(\w+):begin -->", page))
    assert named == modules - {"__init__", "harness", "record"}


def test_figures_become_a_table_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "BUILD", tmp_path)
    monkeypatch.setattr(record, "KEPT", tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    figures = importlib.import_module("figures")
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    report = harness.Report("vector")
    report.add("1 in AsyncVectorEnv", 100.0, "steps/s")
    report.add("1 in sessions", 150.0, "steps/s", "1 in AsyncVectorEnv")
    report.write()
    record.draw("vector")
    lines = list(figures.table("vector"))
    assert "![vector](benchmarks/vector.png)" in lines
    assert lines[-1] == "| 1 in sessions | 150 | steps/s | 1 in AsyncVectorEnv | 1.50 |"
    assert (tmp_path / "vector.png").stat().st_size > 1_000


@pytest.mark.system
def test_commands_of_the_operators_guide_work(tmp_path: Path) -> None:
    (tmp_path / "carlad.toml").write_text(
        f"[daemon]\ndrain_s = 0.0\n[fleet]\nsize = 2\nports = {fleet_ports()}\n"
    )
    with daemon(tmp_path, "carlad --config carlad.toml", ends=True) as environ:
        said = [succeed(command, tmp_path, environ) for command in OPERATOR.commands()]
    assert len(said) > 15


@pytest.mark.system
def test_commands_and_programs_of_the_researchers_guide_work(tmp_path: Path) -> None:
    for path, block in files(RESEARCHER):
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.replace('"/srv/', f'"{tmp_path}/srv/'))
    programs = RESEARCHER.programs()
    has_rllib = (
        call(f"{sys.executable} -c 'import ray.rllib'", tmp_path, environment(tmp_path)).returncode == 0
    )
    ours = [program for program in programs if "class Lane" not in program]
    assert len(programs) - len(ours) == 1
    with daemon(tmp_path, "carlad --config carlad.toml") as environ:
        for command in [*RESEARCHER.commands(), *ours]:
            if "ray.rllib" not in command or has_rllib:
                succeed(command, tmp_path, environ)


@pytest.mark.system
@pytest.mark.parametrize("name", ["protocol", "configuration"])
def test_commands_and_programs_of_the_references_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "carlad.toml").write_text(f"[fleet]\nports = {fleet_ports()}\n")
    with daemon(tmp_path, "carlad --config carlad.toml") as environ:
        for command in [*PAGES[name].commands(), *PAGES[name].programs()]:
            succeed(command, tmp_path, environ)


def fleet_ports() -> list[int]:
    ports = free_ports(40)
    return [ports[0], ports[-1]]


def files(page: Page) -> list[tuple[str, str]]:
    """Blocks that the page says are files, by their paths."""
    return re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", page.text, re.DOTALL | re.MULTILINE)


@contextmanager
def daemon(folder: Path, command: str, *, ends: bool = False) -> Iterator[Mapping[str, str]]:
    """With two servers that are ready; `ends`: the block ends it."""
    environ = environment(folder)
    with running(command, folder, environ, ends=ends):
        until(lambda: " 2 READY" in call("carlactl status", folder, environ).stdout)
        yield environ

"""docs/route-env.md: its snippets, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from carlad.session.environment import Server
from trainer.env import route_files

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "route-env.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippets_run(server: Server, monkeypatch: pytest.MonkeyPatch, snippet: str) -> None:
    monkeypatch.setenv("CARLA_PORT", str(server.rpc_port))
    exec(compile(snippet, "docs/route-env.md", "exec"), {})


def test_the_file_of_routes_is_one(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    (tmp_path / "routes.toml").write_text(block)
    (route,) = route_files.read(tmp_path / "routes.toml")
    assert (route.id, len(route.points)) == ("around the block", 2)


def test_modules_that_the_page_names_exist() -> None:
    root = Path(__file__).resolve().parents[2]
    named = set(re.findall(r"`(trainer/env/\w+\.py)`", PAGE))
    assert len(named) > 3
    assert [name for name in named if not (root / name).exists()] == []

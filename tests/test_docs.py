"""What the docs take from the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_generated_parts_of_the_docs_are_what_the_code_says() -> None:
    check = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_a_stale_part_is_noticed(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "carlad.toml").write_bytes((ROOT / "carlad.toml").read_bytes())
    (docs / "page.md").write_text("<!-- lifecycle:begin -->\nold\n<!-- lifecycle:end -->\n")
    for script in (ROOT / "docs").glob("*.py"):
        (docs / script.name).write_bytes(script.read_bytes())
    check = subprocess.run(
        [sys.executable, str(docs / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 1
    assert "page.md is not what the code says" in check.stderr

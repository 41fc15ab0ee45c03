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
    (tmp_path / "page.md").write_text("<!-- lifecycle:begin -->\nold\n<!-- lifecycle:end -->\n")
    script = (ROOT / "docs" / "generate.py").read_text()
    (tmp_path / "generate.py").write_text(script)
    check = subprocess.run(
        [sys.executable, str(tmp_path / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 1
    assert "page.md is not what the code says" in check.stderr

"""Pages of the documentation: their blocks and links, and a shell for their commands."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WITHIN_S = 300.0  # for a command; seconds on a quiet machine


class Page:
    """A Markdown file, by its path from the root of the sources."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / name
        self.text = self.path.read_text()

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def commands(self) -> list[str]:
        """Of all console blocks, a line each; what follows two spaces and a hash is for the reader."""
        lines = [line for block in self.blocks("console") for line in block.splitlines()]
        return [re.sub(r"\s\s+# .*$", "", line) for line in lines]

    def programs(self) -> list[str]:
        """Its Python blocks as commands."""
        return [f"{sys.executable} -c {shlex.quote(block)}" for block in self.blocks("python")]

    def missing(self) -> list[str]:
        """What it links to and is not there: files, and headings of other pages."""
        links = re.findall(r"\]\((?!https?:)([^)]+)\)", self.text)
        assert links
        return [link for link in links if not self._is_there(*link.partition("#")[::2])]

    def _is_there(self, file: str, heading: str) -> bool:
        target = self.path.parent / file if file else self.path
        if not target.exists():
            return False
        return not heading or heading in map(
            _anchor, re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        )


def _anchor(heading: str) -> str:
    """As GitHub and others make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def environment(folder: Path) -> dict[str, str]:
    """A shell of its own: entry points on PATH, sockets and state below `folder`."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
    }


@contextmanager
def running(command: str, folder: Path, environ: Mapping[str, str], *, ends: bool = False) -> Iterator[None]:
    """It must run until the block ends, and then end at SIGTERM; `ends`: the block itself ends it."""
    with subprocess.Popen(shlex.split(command), cwd=folder, env=environ) as process:
        try:
            yield
            if ends:
                process.wait(60.0)
            assert ends or process.poll() is None
        finally:
            process.terminate()
    assert process.returncode in (0, -signal.SIGTERM)


def call(
    command: str, folder: Path, environ: Mapping[str, str], within_s: float = WITHIN_S
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        shlex.split(command),
        cwd=folder,
        env=environ,
        timeout=within_s,
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(command: str, folder: Path, environ: Mapping[str, str], within_s: float = WITHIN_S) -> str:
    """What it prints."""
    done = call(command, folder, environ, within_s)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.1)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False

"""What `docker/deploy.sh` deployed, and looks into it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.docker.engine import Engine

TRAINING = "carlad-carla-rl-training-1"
WITHIN_S = 180.0


class Deployment:
    """`service`: which of the profiles' services is the servers'. `environ`: of deploy.sh."""

    def __init__(self, engine: Engine, service: str, environ: dict[str, str]) -> None:
        self.engine = engine
        self.server = f"carlad-{service}-1"
        self._environ = environ

    def deploy(self, *arguments: str, check: bool = True, **environ: str) -> str:
        """What it prints."""
        done = self.engine.run("docker/deploy.sh", *arguments, check=check, **{**self._environ, **environ})
        return done.stdout

    def inside(self, container: str, *command: str) -> str:
        return self.engine.run("docker", "exec", container, *command).stdout

    def state(self, container: str, of: str) -> str:
        """Such as `.State.ExitCode`."""
        return self.engine.run("docker", "inspect", "--format", f"{{{{{of}}}}}", container).stdout.strip()

    def status(self) -> Any:
        """The daemon's; None where it does not answer."""
        command = ["docker", "exec", self.server, "carlactl", "status", "--json"]
        done = self.engine.run(*command, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def progress(self) -> dict[str, Any]:
        """The training's last update; empty before the first."""
        script = "cat data/logs/*/progress.jsonl data/runs/*/progress.jsonl 2>/dev/null || true"
        lines = self.inside(TRAINING, "sh", "-c", script).splitlines()
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return found[-1] if found else {}

    def steps(self) -> int:
        return int(self.progress().get("env_steps", 0))

    def goes_on(self) -> None:
        """Returns when the training has taken steps from now on."""
        before = self.steps()
        until(lambda: self.steps() > before)

    def answers(self, url: str) -> bool:
        """From the host that the engine publishes ports on."""
        ask = f"import urllib.request as r; r.urlopen({url!r}, timeout=10)"
        command = self.engine.inside(sys.executable, "-c", ask)
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)

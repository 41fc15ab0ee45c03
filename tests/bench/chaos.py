"""`python -m tests.bench.chaos [SECONDS] [ROUNDS]`: what a training gets done while servers and hosts die.

Two environments on a real daemon with three stand-ins, one of them kept as a spare. A leased server is killed
every 10 s and an env host every 15 s, in turn with a training of the same length that is left alone. Goodput
is steps per second of training; afterwards each policy drives the same episodes. A learner that ends before
its time is resumed from its checkpoint and counted: there must be none, or the exit code is 1. In a minute
success says little: it comes all at once after 25,000 to 40,000 steps. Compare it after ten minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from carlad.client import Client
from carlad.messages import Status
from tests.bench.harness import Report, numbers
from tests.daemon_process import all_ready, daemon_process, until_status

SECONDS, ROUNDS = 60, 1
SERVER_EVERY_S, HOST_EVERY_S = 10.0, 15.0
FLEET = 'backend = "standin"\nsize = 3\nspares = 1'
RESTART = "restarts_max = 1000\nbackoff_max_s = 0.5"  # no slot is given up for having been killed
SESSIONS, EPISODES = 2, 50
RESTARTS_MAX = 5
END_WITHIN_S = 900.0  # beyond the training: a hundred episodes, and a start, on a loaded machine
_POLL_S = 0.2


@dataclass
class Outcome:
    """Of one training, or of several together."""

    env_steps: int = 0
    seconds: float = 0.0
    sims_lost: int = 0
    restarts: int = 0
    successes: float = 0.0
    killed: dict[str, int] = field(default_factory=lambda: {"servers": 0, "hosts": 0})

    def add(self, other: Outcome) -> None:
        self.env_steps += other.env_steps
        self.seconds += other.seconds
        self.sims_lost += other.sims_lost
        self.restarts += other.restarts
        self.successes += other.successes
        for what, count in other.killed.items():
            self.killed[what] += count


class ChaosError(Exception):
    """What was to be measured did not happen."""


def main(seconds: int = SECONDS, rounds: int = ROUNDS) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it started, as Ctrl-C does
    calm, chaos = Outcome(), Outcome()
    try:
        for _ in range(rounds):
            calm.add(_run(seconds, disturbed=False))
            chaos.add(_run(seconds, disturbed=True))
    except ChaosError as error:
        print(f"chaos failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything it started has been ended", file=sys.stderr)
        return 130
    _report(calm, chaos, rounds).write()
    return 1 if calm.restarts or chaos.restarts else 0


def _report(calm: Outcome, chaos: Outcome, rounds: int) -> Report:
    report = Report("chaos")
    for name, outcome in (("undisturbed", calm), ("disturbed", chaos)):
        is_base = outcome is calm
        against = None if is_base else "undisturbed goodput"
        report.add(f"{name} goodput", outcome.env_steps / outcome.seconds, "steps/s", against)
        against = None if is_base else "undisturbed success"
        report.add(f"{name} success", outcome.successes / rounds, "share", against)
        report.add(f"{name} restarts of the learner", outcome.restarts, "")
    report.add("servers killed", chaos.killed["servers"], "")
    report.add("env hosts killed", chaos.killed["hosts"], "")
    report.add("losses that the learner saw", chaos.sims_lost, "")
    return report


def _run(seconds: int, *, disturbed: bool) -> Outcome:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carlad-chaos-")))
        daemon = stack.enter_context(daemon_process(fleet=FLEET, restart=RESTART))
        client = stack.enter_context(Client(daemon.endpoint))
        until_status(client, all_ready)
        outcome = Outcome()

        def hazards() -> list[_Hazard]:
            return _hazards(client, outcome) if disturbed else []

        while not _trained(folder, daemon.endpoint, seconds, hazards):
            outcome.restarts += 1
            if outcome.restarts > RESTARTS_MAX:
                times = outcome.restarts
                raise ChaosError(f"the learner ended {times} times before its time:\n{_last_words(folder)}")
        newest, evaluation = _newest(folder), _newest(folder, "end")
        outcome.env_steps, outcome.seconds = newest["env_steps"], newest["seconds"]
        outcome.sims_lost, outcome.successes = newest["sim_lost"], evaluation["success_rate"]
        return outcome


class _Hazard:
    """Kills a process of a kind every `every_s`, each time another one where there are several."""

    def __init__(self, every_s: float, victims: Callable[[], list[int]], killed: Callable[[], None]) -> None:
        self._every_s, self._victims, self._killed = every_s, victims, killed
        self._due_s = time.monotonic() + every_s
        self._turn = cycle(range(SESSIONS))

    def strike(self) -> None:
        """If it is time; where there is nobody to kill, it comes to that soon."""
        if time.monotonic() < self._due_s or not (victims := self._victims()):
            return
        os.kill(victims[next(self._turn) % len(victims)], signal.SIGKILL)
        self._killed()
        self._due_s += self._every_s


def _hazards(client: Client, outcome: Outcome) -> list[_Hazard]:
    def count(what: str) -> Callable[[], None]:
        def one_more() -> None:
            outcome.killed[what] += 1

        return one_more

    return [
        _Hazard(SERVER_EVERY_S, lambda: _servers(client.status()), count("servers")),
        _Hazard(HOST_EVERY_S, lambda: _hosts(client.status()), count("hosts")),
    ]


def _servers(status: Status) -> list[int]:
    return [slot.pid for slot in status.slots if slot.state == "LEASED" and slot.pid is not None]


def _hosts(status: Status) -> list[int]:
    return [session.pid for session in status.sessions if session.pid is not None]


def _trained(folder: Path, endpoint: str, seconds: int, hazards: Callable[[], list[_Hazard]]) -> bool:
    """Whether the learner came to its end; the hazards begin with its first update and end with its last."""
    with _trainer(folder, endpoint, seconds) as process:
        deadline_s = time.monotonic() + seconds + END_WITHIN_S
        striking: list[_Hazard] = []
        while process.poll() is None:
            if time.monotonic() > deadline_s:
                late_s = seconds + END_WITHIN_S
                raise ChaosError(f"the training did not end within {late_s:.0f} s:\n{_last_words(folder)}")
            if 0 < _newest(folder)["seconds"] < seconds:
                striking = striking or hazards()
                for hazard in striking:
                    hazard.strike()
            time.sleep(_POLL_S)
    return process.returncode == 0 and bool(_newest(folder, "end"))


@contextmanager
def _trainer(folder: Path, endpoint: str, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
    run = folder / "run"
    settings = {
        "train.total_steps": 10**9,
        "train.seconds_max": float(seconds),
        "train.eval_episodes": EPISODES,
        "train.checkpoint_every_s": 10.0,
        "servers.sessions": SESSIONS,
    }
    where = ["--config", "demo", "--out", str(run), "--resume", "auto"]
    overrides = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
    command = [sys.executable, "-m", "trainer", "train", *where, *overrides]
    environ = {**os.environ, "CARLAD_ENDPOINT": endpoint}
    with (folder / "trainer.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _last_words(folder: Path) -> str:
    return (folder / "trainer.log").read_text()[-3000:]


def _newest(folder: Path, evaluation: str = "") -> dict[str, Any]:
    """The training's newest line of figures, or that of an evaluation; of zeros or empty if there is none."""
    path = folder / "run" / "progress.jsonl"
    lines = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    for entry in map(json.loads, reversed(lines)):
        if entry.get("evaluation", "") == evaluation:
            return dict(entry)
    return {} if evaluation else {"env_steps": 0, "seconds": 0.0, "sim_lost": 0}


if __name__ == "__main__":
    sys.exit(main(*numbers("SECONDS", "ROUNDS")))

"""carlad as a service of a real systemd, installed and used as an operator does: one machine, from install to
uninstall, with a lease and an env session that somebody else steps all along."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.systemd.machine import CARLAD, SOURCES, Machine, booted, bring_kernels, newer_system, why_not

pytestmark = pytest.mark.system

_WITHIN_S = 90.0  # for what takes a few seconds on a quiet machine
_CONFIG = "/etc/carlad/carlad.toml"
_WATCHDOG_S = 10
_TRAINING = """\
[train]
total_steps = {total_steps}
eval_episodes = 0
[servers]
sessions = 1
[ppo]
batch_steps = 200
minibatch_steps = 100
epochs = 1
"""
_ASK_TENSORBOARD = """\
import urllib.request
print(urllib.request.urlopen("http://localhost:6006/data/runs", timeout=5).read().decode())
"""


@pytest.fixture(scope="module", params=["this system", "a newer system"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """With carlad installed and running, and a user who may lease."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            system = Path("/")
            if request.param == "a newer system":
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="carlad-system-"))
                system = newer_system(Path(folder))
            machine = stack.enter_context(booted(system))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no machine can be booted here: {error}")
        machine.do("carlactl", "install", "--systemd")
        edit(machine, "[daemon]\n", "[daemon]\ndrain_s = 0.5\n")
        machine.configure("carlad.service", f"[Service]\nWatchdogSec={_WATCHDOG_S}\n")
        bring_kernels(machine.root, "/var/cache/carlad")
        machine.do("useradd", "--create-home", "--groups", "carlad", "ann")
        machine.do("systemctl", "enable", "--now", "carlad", within_s=_WITHIN_S)
        all_ready(machine, 2)
        yield machine


class Stepper:
    """Somebody's program in the machine that steps, as its file says."""

    def __init__(self, machine: Machine, what: str) -> None:
        self._file = machine.root / f"home/ann/{what}.steps"
        command = (
            f"{CARLAD}/python",
            f"{SOURCES}/tests/systemd/stepping.py",
            what,
            f"/home/ann/{what}.steps",
        )
        self.process = machine.start(*command, user="ann")

    def steps(self) -> int:
        return self._read()[0]

    def losses(self) -> int:
        return self._read()[1]

    def goes_on(self) -> None:
        """Waits for steps that were taken from now on."""
        before = self.steps()
        until(lambda: self.steps() >= before + 20 or self._ended(), "it does not step")
        assert not self._ended()

    def _read(self) -> tuple[int, int]:
        text = self._file.read_text() if self._file.exists() else ""
        steps, losses = text.split() if text.endswith("\n") else ("0", "0")
        return int(steps), int(losses)

    def _ended(self) -> bool:
        return self.process.poll() is not None


@pytest.fixture(scope="module")
def steppers(machine: Machine) -> Iterator[list[Stepper]]:
    """One on a lease, one in a session."""
    steppers = [Stepper(machine, "lease"), Stepper(machine, "session")]
    try:
        for stepper in steppers:
            until(
                lambda stepper=stepper: stepper.steps() > 0 or stepper.process.poll() is not None, "no step"
            )
            stepper.goes_on()
        yield steppers
    finally:
        machine.run("pkill", "-TERM", "-u", "ann")  # in the machine's own processes
        for stepper in steppers:
            stepper.process.wait(_WITHIN_S)


def edit(machine: Machine, old: str, new: str) -> None:
    text = (machine.root / _CONFIG.lstrip("/")).read_text()
    assert old in text
    machine.write(_CONFIG, text.replace(old, new))


def glance(machine: Machine) -> dict[str, Any]:
    """The daemon's status, empty while none answers."""
    done = machine.run("carlactl", "status", "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def status(machine: Machine) -> dict[str, Any]:
    """Of a daemon that answers, however busy the machine is."""
    seen: dict[str, Any] = {}

    def answers() -> bool:
        seen.update(glance(machine))
        return bool(seen)

    until(answers, "no daemon answers")
    return seen


def pids(machine: Machine) -> list[int]:
    return [slot["pid"] for slot in status(machine)["slots"]]


def all_ready(machine: Machine, size: int) -> None:
    until(
        lambda: [slot["state"] for slot in glance(machine).get("slots", [])] == ["READY"] * size,
        "not all servers are READY",
    )


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + _WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.1)


@contextmanager
def nothing_lost(machine: Machine, steppers: list[Stepper]) -> Iterator[None]:
    """Around what happens to the daemon: the next one has the same servers and leases, and all step on."""
    before, losses = status(machine), [stepper.losses() for stepper in steppers]
    yield
    until(lambda: glance(machine).get("run", before["run"]) != before["run"], "no new daemon")
    machine.until("carlad", "ActiveState", "active")
    for stepper in steppers:
        stepper.goes_on()
    after = status(machine)
    assert [slot["pid"] for slot in after["slots"]] == [slot["pid"] for slot in before["slots"]]
    assert [lease["lease_id"] for lease in after["leases"]] == [
        lease["lease_id"] for lease in before["leases"]
    ]
    assert [stepper.losses() for stepper in steppers] == losses


@contextmanager
def restarted(machine: Machine) -> Iterator[None]:
    """By systemd, once."""
    before = int(machine.show("carlad", "NRestarts"))
    yield
    machine.until("carlad", "NRestarts", str(before + 1), _WITHIN_S)


def test_its_units_are_what_systemd_understands(machine: Machine) -> None:
    units = sorted(path.name for path in (machine.root / "etc/systemd/system").glob("carlad*.service"))
    assert len(units) == 4
    done = machine.run("systemd-analyze", "verify", *(unit.replace("@.", "@first.") for unit in units))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_its_state_is_in_systemctl_status(machine: Machine) -> None:
    until(lambda: "2 READY" in machine.show("carlad", "StatusText"), "no counts")
    assert machine.show("carlad", "StatusText") == "servers: 2 READY; sessions: 0; requests waiting: 0"


def test_the_daemon_and_its_servers_are_nobody_special(machine: Machine) -> None:
    for pid in (int(machine.show("carlad", "MainPID")), *pids(machine)):
        said = machine.do("cat", f"/proc/{pid}/status").splitlines()
        facts = dict(line.split(":\t", 1) for line in said if ":\t" in line)
        assert facts["Uid"].split()[0] == machine.do("id", "-u", "carlad")
        assert (facts["CapEff"], facts["CapBnd"], facts["NoNewPrivs"], facts["Seccomp"]) == (
            "0" * 16,
            "0" * 16,
            "1",
            "2",
        )


def test_whoever_is_not_in_its_group_leases_nothing(machine: Machine) -> None:
    machine.do("useradd", "--create-home", "bob")
    refused = machine.run("carlactl", "lease", user="bob")
    assert (refused.returncode, "usermod -aG carlad" in refused.stderr) == (3, True), refused.stderr
    lease = json.loads(machine.do("carlactl", "lease", "--json", user="ann"))
    machine.do("carlactl", "release", lease["lease_id"], user="ann")
    all_ready(machine, 2)


def test_a_reload_changes_what_can_be_changed_and_fails_where_nothing_can(machine: Machine) -> None:
    before = machine.show("carlad", "MainPID"), pids(machine)
    edit(machine, "size = 2", "size = 3")
    machine.do("systemctl", "reload", "carlad")
    all_ready(machine, 3)
    edit(machine, "size = 3", "size = many")
    assert machine.run("systemctl", "reload", "carlad").returncode != 0
    assert "fleet.size" in machine.journal("carlad") or "size = many" in machine.journal("carlad")
    edit(machine, "size = many", "size = 2")
    machine.do("systemctl", "reload", "carlad")
    all_ready(machine, 2)
    assert (machine.show("carlad", "MainPID"), pids(machine)) == before


def test_a_daemon_that_is_killed_is_back_and_nothing_is_lost(
    machine: Machine, steppers: list[Stepper]
) -> None:
    with nothing_lost(machine, steppers), restarted(machine):
        machine.do("systemctl", "kill", "--kill-who=main", "--signal=KILL", "carlad")


def test_an_upgrade_loses_nothing(machine: Machine, steppers: list[Stepper]) -> None:
    before = machine.show("carlad", "MainPID"), machine.show("carlad", "NRestarts")
    with nothing_lost(machine, steppers):
        machine.do("carlactl", "upgrade", within_s=_WITHIN_S)
    assert (machine.show("carlad", "MainPID"), machine.show("carlad", "NRestarts")) == before


@pytest.mark.parametrize("unit", ["broker", "router"])  # tests/test_watchdog.py has the others
def test_a_unit_that_does_not_answer_trips_the_watchdog_and_nothing_is_lost(
    machine: Machine, steppers: list[Stepper], unit: str
) -> None:
    wedged = f"{CARLAD}/python {SOURCES}/tests/systemd/wedged.py --config {_CONFIG}"
    drop_in = f"[Service]\nEnvironment=CARLAD_WEDGE={unit}\nExecStart=\nExecStart={wedged}\n"
    machine.configure("carlad.service", drop_in, name="wedged")
    with nothing_lost(machine, steppers), restarted(machine):
        machine.do("systemctl", "kill", "--kill-who=main", "--signal=KILL", "carlad")
    machine.configure("carlad.service", "", name="wedged")
    with nothing_lost(machine, steppers), restarted(machine):
        machine.do("systemctl", "kill", "--kill-who=main", "--signal=USR1", "carlad")
    journal = machine.journal("carlad")
    assert "Watchdog timeout" in journal
    assert f"unit={unit}" in journal


def test_a_daemon_whose_configuration_is_wrong_is_not_started_and_loses_nothing_until_that_is_mended(
    machine: Machine, steppers: list[Stepper]
) -> None:
    with nothing_lost(machine, steppers):
        edit(machine, "size = 2", "size = many")
        machine.do("systemctl", "kill", "--kill-who=main", "--signal=KILL", "carlad")
        machine.until("carlad", "ActiveState", "failed", _WITHIN_S)
        assert machine.show("carlad", "ExecMainStatus") == "2"
        assert f"cannot use configuration {_CONFIG}: not TOML" in machine.journal("carlad")
        machine.until("carlad-reap", "ActiveState", "failed", _WITHIN_S)
        for stepper in steppers:
            stepper.goes_on()
        edit(machine, "size = many", "size = 2")
        machine.do("systemctl", "start", "carlad", within_s=_WITHIN_S)


def test_a_restart_leaves_nothing_of_the_old(machine: Machine) -> None:
    old = {int(machine.show("carlad", "MainPID")), *pids(machine)}
    machine.do("systemctl", "restart", "carlad", within_s=_WITHIN_S)
    all_ready(machine, 2)
    assert not old & {int(machine.show("carlad", "MainPID")), *pids(machine)}
    assert not old & set(processes_of_carlad(machine))
    assert status(machine)["leases"] == []


def test_a_stop_leaves_nothing_even_of_a_daemon_that_cannot_end_its_servers(machine: Machine) -> None:
    machine.configure("carlad.service", "[Service]\nTimeoutStopSec=1\nFinalKillSignal=KILL\n", name="frozen")
    machine.do("systemctl", "kill", "--kill-who=main", "--signal=STOP", "carlad")
    machine.do("systemctl", "stop", "carlad", within_s=_WITHIN_S)
    assert processes_of_carlad(machine) == []
    machine.configure("carlad.service", "", name="frozen")
    machine.do("systemctl", "reset-failed", "carlad")
    machine.do("systemctl", "start", "carlad", within_s=_WITHIN_S)
    all_ready(machine, 2)
    machine.do("systemctl", "stop", "carlad", within_s=_WITHIN_S)
    assert processes_of_carlad(machine) == []
    assert machine.run("test", "-e", "/run/carlad").returncode == 1


def test_the_servers_of_a_daemon_that_is_given_up_are_ended(machine: Machine) -> None:
    machine.do("systemctl", "start", "carlad", within_s=_WITHIN_S)
    all_ready(machine, 2)
    machine.configure("carlad.service", "[Service]\nRestart=no\n", name="limit")
    machine.do("systemctl", "kill", "--kill-who=main", "--signal=KILL", "carlad")
    machine.until("carlad", "ActiveState", "failed")
    until(lambda: processes_of_carlad(machine) == [], "servers are left")
    machine.configure("carlad.service", "", name="limit")
    machine.do("systemctl", "reset-failed", "carlad")


def test_a_training_is_a_service_that_goes_on_from_its_checkpoint(machine: Machine) -> None:
    machine.do("systemctl", "start", "carlad", within_s=_WITHIN_S)
    out = machine.root / "var/lib/carlad-trainer/short"
    for total_steps in (200, 400):
        machine.write("/etc/carlad/trainer/short.toml", _TRAINING.format(total_steps=total_steps))
        machine.do("systemctl", "start", "carlad-trainer@short", within_s=_WITHIN_S)
        machine.until("carlad-trainer@short", "ActiveState", "inactive", within_s=_WITHIN_S)
        why = machine.journal("carlad-trainer@short")
        assert machine.show("carlad-trainer@short", "Result") == "success", why
    progress = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    steps = [entry["env_steps"] for entry in progress if "env_steps" in entry]
    assert steps == sorted(set(steps)), "it began anew"
    assert steps[-1] >= 400
    assert machine.run("systemctl", "start", "carlad-trainer@missing").returncode != 0


def test_tensorboard_shows_it(machine: Machine) -> None:
    machine.do("systemctl", "start", "carlad-tensorboard")
    python = f"{CARLAD}/python"
    until(lambda: "short" in machine.run(python, "-c", _ASK_TENSORBOARD).stdout, "it shows no training")


def test_uninstall_takes_away_what_install_brought(machine: Machine) -> None:
    edit(machine, "[fleet]\n", "[fleet]\n# mine\n")
    said = machine.do("carlactl", "uninstall", "--systemd", within_s=_WITHIN_S)
    assert "keep     /etc/carlad/carlad.toml" in said
    assert processes_of_carlad(machine) == []
    left = [
        path for path in (machine.root / "etc/systemd").rglob("*carlad*") if not path.parts[-2].endswith(".d")
    ]
    assert [path for path in left if path.is_file() or path.is_symlink()] == []


def processes_of_carlad(machine: Machine) -> list[int]:
    """Of its users."""
    users = ("--uid", "carlad", "--uid", "carlad-trainer")
    return [int(pid) for pid in machine.run("pgrep", *users).stdout.split()]

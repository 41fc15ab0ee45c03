"""`make demo`: one training on two leased stand-in servers, with a crash and a viewer on the way.

It starts the daemon, trains for about two minutes, kills one server with SIGKILL, attaches a viewer and
saves its picture, prints what a user would want to see, and ends everything it started. The exit code is
0 only if all of that happened and the policy got better.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from carlad.client import Client
from carlad.errors import CarladError
from carlad.messages import SlotStatus, Status

READY_WITHIN_S = 30.0
RECOVERED_WITHIN_S = 30.0
TRAINING_MAX_S = 420.0  # several times what it takes on two quiet cores
VIEWER_MAX_S = 60.0
STOP_WITHIN_S = 30.0
KILL_AT = 0.35  # of the training's environment steps
VIEW_AT = 0.6
GAIN_MIN = 0.5  # of the success rate; from 0.0 three seeds reached 1.0

MARK = ".carlad-demo"  # in a folder that a demo made, and so may empty
OWNER = "CARLAD_DEMO_PID"  # in the environment of everything that a demo starts

console = Console(highlight=False)


class DemoFailedError(Exception):
    """A step of the demo did not happen; the message says which and where to look."""


def main() -> int:
    arguments = _parser().parse_args()
    out = arguments.out.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what it started, as Ctrl-C does
    try:
        _make_empty(out)
        with ExitStack() as stack:
            sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carlad-")))
            _demo(stack, out, f"ipc://{sockets}/control.sock", arguments.override)
        _check_nothing_left()
    except (DemoFailedError, CarladError) as failure:
        console.print(f"[bold red]demo failed:[/] {failure}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("[bold]interrupted; everything it started has been ended[/]")
        return 130
    console.print("[bold green]demo done:[/] nothing it started is left running")
    return 0


def _demo(stack: ExitStack, out: Path, endpoint: str, overrides: list[str]) -> None:
    _say("starting carlad with two stand-in servers")
    daemon = stack.enter_context(_daemon(out, endpoint))
    client = stack.enter_context(Client(endpoint))
    _until(lambda: _ready(client) == 2, READY_WITHIN_S, "both servers are READY", daemon)
    _print_status(endpoint)

    _say("training on both")
    trainer = stack.enter_context(_trainer(out, endpoint, overrides))
    run = out / "run"
    _until(
        lambda: _progress(run)["fraction"] >= KILL_AT, TRAINING_MAX_S, "the training is under way", trainer
    )

    victim = _kill_one(client)
    killed_at = time.monotonic()
    _until(lambda: _replaced(client, victim), RECOVERED_WITHIN_S, "the server is replaced", daemon)
    _until(lambda: _progress(run)["sim_lost"] >= 1, RECOVERED_WITHIN_S, "the training notices", trainer)
    _say(f"slot {victim.slot} is back after {time.monotonic() - killed_at:.1f} s, the training goes on")

    _until(lambda: _progress(run)["fraction"] >= VIEW_AT, TRAINING_MAX_S, "more training", trainer)
    _say("attaching a viewer")
    picture = _snapshot(run, out)

    _until(lambda: trainer.poll() is not None, TRAINING_MAX_S, "the training ends")
    if trainer.returncode != 0:
        raise DemoFailedError(f"the trainer exited with {trainer.returncode}: see {out / 'trainer.log'}")
    _print_status(endpoint)
    _report(run, picture)
    _end(daemon, "carlad")
    if daemon.returncode != 0:
        raise DemoFailedError(f"carlad exited with {daemon.returncode}: see {out / 'carlad.log'}")
    _check_improvement(run)


def _make_empty(out: Path) -> None:
    """Remove what an earlier demo left in `out`, and nothing else."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).exists():
            raise DemoFailedError(f"{out} is not empty and no earlier demo's: choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    (out / "home").mkdir()


# --- what is started -------------------------------------------------------------------------------


@contextmanager
def _daemon(out: Path, endpoint: str) -> Iterator[subprocess.Popen[bytes]]:
    config = out / "carlad.toml"
    config.write_text(
        "[daemon]\n"
        f'endpoint = "{endpoint}"\nstate_dir = "{out / "state"}"\nlog_dir = "{out / "logs"}"\n'
        '[fleet]\nsize = 2\nbackend = "standin"\nports = [20000, 20999]\n'
    )
    yield from _process(
        [sys.executable, "-m", "carlad", "--config", str(config)], out / "carlad.log", "carlad"
    )


@contextmanager
def _trainer(out: Path, endpoint: str, overrides: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "trainer", "train", "--config", "demo", "--out", str(out / "run")]
    for override in overrides:
        command += ["-o", override]
    yield from _process(command, out / "trainer.log", "trainer", CARLAD_ENDPOINT=endpoint)


def _process(
    command: list[str], log: Path, name: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=_environment(log.parent, **environment),
        ) as process,
    ):
        try:
            yield process
        finally:
            _end(process, name)


def _environment(out: Path, **more: str) -> dict[str, str]:
    """The carla client keeps navigation meshes in its home: one below `out`."""
    return {**os.environ, OWNER: str(os.getpid()), "HOME": str(out / "home"), **more}


def _end(process: subprocess.Popen[bytes], name: str) -> None:
    """SIGTERM, then SIGKILL. Does nothing to a process that has ended."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise DemoFailedError(f"{name} did not stop within {STOP_WITHIN_S:.0f} s of SIGTERM") from None


def _snapshot(run: Path, out: Path) -> Path:
    picture = out / "viewer.png"
    result = subprocess.run(
        [sys.executable, "-m", "viz", "--run", str(run), "--snapshot", str(picture)],
        capture_output=True,
        text=True,
        env=_environment(out),
        timeout=VIEWER_MAX_S,
        check=False,
    )
    if result.returncode != 0 or not picture.exists():
        raise DemoFailedError(f"the viewer exited with {result.returncode}: {result.stderr.strip()}")
    return picture


# --- what is done to it and seen of it ---------------------------------------------------------------


def _kill_one(client: Client) -> SlotStatus:
    victim = next((slot for slot in client.status().slots if slot.state == "LEASED" and slot.pid), None)
    if victim is None or victim.pid is None:
        raise DemoFailedError("no leased server to kill: see the status above")
    _say(f"killing the server in slot {victim.slot} (pid {victim.pid}) with SIGKILL")
    os.kill(victim.pid, signal.SIGKILL)
    return victim


def _replaced(client: Client, victim: SlotStatus) -> bool:
    slot = client.status().slots[victim.slot]
    return slot.incarnation > victim.incarnation and slot.state in ("READY", "LEASED")


def _ready(client: Client) -> int:
    try:
        status: Status = client.status()
    except CarladError:
        return 0  # the daemon has not opened its socket yet; a daemon that ended is noticed by _until
    return sum(slot.state == "READY" for slot in status.slots)


def _progress(run: Path) -> dict[str, Any]:
    """The newest update of the trainer's progress.jsonl, with the share of the steps done."""
    newest = {"fraction": 0.0, "sim_lost": 0}
    for entry in _entries(run):
        if "env_steps" in entry and "evaluation" not in entry:
            newest = {**entry, "fraction": entry["env_steps"] / entry["env_steps_total"]}
    return newest


def _evaluation(run: Path, which: str) -> dict[str, Any]:
    for entry in _entries(run):
        if entry.get("evaluation") == which:
            return entry
    raise DemoFailedError(
        f"the trainer reported no evaluation at the {which}: see {run.parent / 'trainer.log'}"
    )


def _entries(run: Path) -> list[dict[str, Any]]:
    path = run / "progress.jsonl"
    if not path.exists():
        return []
    complete = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]


def _until(
    condition: Callable[[], bool],
    within_s: float,
    what: str,
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait for `condition`; fail when the time is up or `process` ends first."""
    deadline = time.monotonic() + within_s
    with console.status(f"waiting until {what}"):
        while not condition():
            if process is not None and process.poll() is not None and not condition():
                raise DemoFailedError(
                    f"its process ended with {process.returncode} before {what}: see its log"
                )
            if time.monotonic() > deadline:
                raise DemoFailedError(f"waited {within_s:.0f} s in vain until {what}")
            time.sleep(0.1)


# --- what is printed ---------------------------------------------------------------------------------


def _say(what: str) -> None:
    console.print(f"[bold cyan]»[/] {what}")


def _print_status(endpoint: str) -> None:
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "carlad.cli", "--endpoint", endpoint, "status"], check=False)


def _report(run: Path, picture: Path) -> None:
    start, end, last = _evaluation(run, "start"), _evaluation(run, "end"), _progress(run)
    console.print(f"success rate      {start['success_rate']:.2f} → {end['success_rate']:.2f}")
    console.print(f"route completion  {start['route_completion']:.2f} → {end['route_completion']:.2f}")
    console.print(f"env steps/s       {last['sps']:.0f} ({last['env_steps']:,} steps)")
    console.print(f"servers lost      {last['sim_lost']}")
    for name, path in (
        ("TensorBoard", run / "tensorboard"),
        ("checkpoint", run / "checkpoints"),
        ("picture", picture),
    ):
        if not path.exists():
            raise DemoFailedError(f"{name} is not at {path}")
        console.print(f"{name:<17} {path}", soft_wrap=True)


def _check_improvement(run: Path) -> None:
    start, end = _evaluation(run, "start")["success_rate"], _evaluation(run, "end")["success_rate"]
    if end - start < GAIN_MIN:
        raise DemoFailedError(
            f"the policy did not get clearly better: success rate {start:.2f} → {end:.2f}, "
            f"expected a gain of {GAIN_MIN:.2f} at least"
        )


def _check_nothing_left() -> None:
    left = [process for process in psutil.process_iter() if _is_ours(process)]
    if left:
        raise DemoFailedError(f"still running: {', '.join(str(process) for process in left)}")


def _is_ours(process: psutil.Process) -> bool:
    """Whether `process` descends from this demo: its environment says so."""
    try:
        owner: str | None = process.environ().get(OWNER)
        return process.pid != os.getpid() and owner == str(os.getpid())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m carlad.demo",
        description="Train on two leased stand-in servers, lose one on the way, and look at it.",
        epilog="example, a demo that must fail: python -m carlad.demo -o ppo.learning_rate=0",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="emptied first (default: build/demo)"
    )
    parser.add_argument(
        "-o",
        dest="override",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="passed on to the trainer",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

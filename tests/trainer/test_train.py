"""Trainings as a user starts them, on stand-in servers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.optimizer import register_optimizer_step_post_hook

from carlad.errors import ConfigError
from carlad.session.environment import Server
from carlad.telemetry import Subscriber
from tests.ports import free_port
from tests.session.leaks import wait_until
from tests.trainer.standins import standin, started_standin
from trainer import checkpoint, train
from trainer.checkpoint import CheckpointError
from trainer.config import load, override
from trainer.folders import CONFIG_FILE, LOG_FILE, Folders, together

pytestmark = pytest.mark.usefixtures("clean")

SMALL = ("ppo.batch_steps=256", "ppo.minibatch_steps=128", "policy.hidden=[16]", "env.client_timeout_s=10")
WITHIN_S = 120.0


def command(*arguments: str, overrides: tuple[str, ...] = ()) -> list[str]:
    given = [part for override in overrides for part in ("-o", override)]
    return [sys.executable, "-m", "trainer", "train", *arguments, *given]


def on(*servers: Server) -> tuple[str, str]:
    """The overrides that put one session on each server."""
    addresses = [f"{server.host}:{server.rpc_port}" for server in servers]
    return f"servers.addresses={json.dumps(addresses)}", f"servers.sessions={len(servers)}"


@contextmanager
def training(out: Path, *overrides: str, resume: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    arguments = command("--config", "demo", "--out", str(out), overrides=(*SMALL, *overrides))
    if resume is not None:
        arguments = command("--resume", str(resume), overrides=overrides)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def entries(out: Path) -> list[dict[str, Any]]:
    path = out / "progress.jsonl"
    complete = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in complete.splitlines()]


def updates(out: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries(out) if "evaluation" not in entry]


def endpoints(out: Path) -> dict[str, str]:
    sessions = json.loads((out / "sessions.json").read_text())["sessions"]
    return {session["session"]: session["telemetry"] for session in sessions}


def gradient_steps(saved: checkpoint.Checkpoint) -> set[int]:
    """Which each parameter of the first optimizer has had."""
    return {int(state["step"]) for state in saved.states["optimizers"][0]["state"].values()}


def never() -> bool:
    return False


def test_a_stopped_training_leaves_what_it_promises_and_goes_on_when_resumed(
    server: Server, tmp_path: Path
) -> None:
    first, second = together(tmp_path / "first"), together(tmp_path / "second")
    with training(first.run, *on(server), "train.eval_episodes=2", "env.blocked_after_s=1") as process:
        wait_until(lambda: len(updates(first.run)) >= 2 or process.poll() is not None, WITHIN_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 0, process.stderr and process.stderr.read()
    start, *stopped = entries(first.run)
    assert (start["evaluation"], start["episodes"], start["env_steps"]) == ("start", 2, 0)
    assert [entry["updates"] for entry in stopped] == list(range(1, len(stopped) + 1))
    promised = {
        "env_steps",
        "env_steps_total",
        "seconds",
        "sps",
        "sim_lost",
        "success_rate",
        "route_completion",
    }
    assert promised <= stopped[-1].keys()
    assert endpoints(first.run).keys() == {"env-0"}
    _check_tags(first.tensorboard)

    saved = checkpoint.load(checkpoint.find(first.run))
    assert saved.counters.updates == stopped[-1]["updates"]
    total = stopped[-1]["env_steps"] + 200
    assert load(str(first.run / CONFIG_FILE), environ={}) == saved.config
    assert (first.run / LOG_FILE).stat().st_size > 0
    config = override(saved.config, [f"train.total_steps={total}"])
    train.train(config, second, saved, never, Console())
    went_on, *_, end = entries(second.run)
    assert went_on["updates"] == stopped[-1]["updates"] + 1
    assert went_on["env_steps"] > stopped[-1]["env_steps"]
    assert (end["evaluation"], end["episodes"]) == ("end", 2)
    assert end["env_steps"] >= total
    _check_refusals(config, first, second, tmp_path)


@pytest.mark.parametrize(
    "algorithm",
    [
        ("ppo.epochs=8", "ppo.kl_max=1000"),
        (
            "algorithm=sac",
            "policy.distribution=squashed",
            "sac.learn_after_steps=64",
            "sac.collect_steps=64",
            "sac.updates_per_step=0.25",
        ),
    ],
    ids=["ppo", "sac"],
)
def test_a_training_that_is_stopped_while_it_learns_saves_what_it_has_learned(
    server: Server, tmp_path: Path, algorithm: tuple[str, ...]
) -> None:
    learns = threading.Event()
    hook = register_optimizer_step_post_hook(lambda *_: learns.set())
    settings = (*SMALL, *on(server), *algorithm, "train.eval_episodes=0", "train.total_steps=10000")
    first = together(tmp_path / "first")
    try:
        train.train(load("demo", overrides=settings, environ={}), first, None, learns.is_set, Console())
    finally:
        hook.remove()
    saved = checkpoint.load(checkpoint.find(first.run))
    assert (saved.counters.updates, gradient_steps(saved)) == (1, {1})
    assert [entry["updates"] for entry in updates(first.run)] == [1]

    second = together(tmp_path / "second")
    config = override(saved.config, [f"train.total_steps={saved.counters.env_steps + 1}"])
    train.train(config, second, saved, never, Console())
    resumed = checkpoint.load(checkpoint.find(second.run))
    assert (resumed.counters.updates, gradient_steps(resumed)) == (2, {1 + 16})


def test_a_training_survives_its_servers_and_its_hosts_do_not_survive_it(
    server: Server, tmp_path: Path
) -> None:
    port = free_port()
    fragile = Server("127.0.0.1", port, 8000)
    with (
        started_standin(port) as victim,
        training(tmp_path, *on(server, fragile), "train.eval_episodes=0") as process,
    ):
        wait_until(lambda: len(updates(tmp_path)) >= 1, WITHIN_S)
        reached = updates(tmp_path)[-1]["env_steps"]
        victim.kill()
        victim.wait()
        wait_until(lambda: updates(tmp_path)[-1]["sim_lost"] >= 1, WITHIN_S)
        wait_until(lambda: updates(tmp_path)[-1]["env_steps"] > reached, WITHIN_S)
        with standin(port):
            assert process.stderr is not None
            assert any("session.recovered" in line for line in process.stderr)
            _watch(tmp_path, "env-1")
            sockets = [
                Path(endpoint.removeprefix("ipc://")).parent for endpoint in endpoints(tmp_path).values()
            ]
            assert all(path.exists() for path in sockets)
            process.kill()
            wait_until(lambda: not any(path.exists() for path in sockets))


def test_a_training_that_was_killed_before_its_first_update_goes_on_by_resume_auto(
    server: Server, tmp_path: Path
) -> None:
    run = together(tmp_path / "run")
    settings = (*on(server), "train.eval_episodes=1000", "env.blocked_after_s=1")
    with training(run.run, *settings) as process:
        wait_until((run.checkpoints / "checkpoint.pt").exists, WITHIN_S)
        process.kill()
        process.wait()
    assert updates(run.run) == []
    again = (*SMALL, *on(server), "train.eval_episodes=0", "env.blocked_after_s=1", "train.total_steps=200")
    arguments = command("--config", "demo", "--resume", "auto", "--out", str(run.run), overrides=again)
    subprocess.run(arguments, check=True, timeout=WITHIN_S)
    assert updates(run.run)[-1]["env_steps"] >= 200


@pytest.mark.parametrize(
    ("arguments", "overrides", "code", "reason"),
    [
        (
            ["--config", "nothing"],
            (),
            2,
            "packaged are demo, docker, environment, route-state, route-traffic, training",
        ),
        (["--config", "demo"], ("ppo.learning_rat=1",), 2, "did you mean ppo.learning_rate?"),
        (["--config", "demo"], ("servers.endpoint='ipc:///nowhere.sock'",), 1, "nowhere.sock"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    tmp_path: Path, arguments: list[str], overrides: tuple[str, ...], code: int, reason: str
) -> None:
    result = subprocess.run(
        command(*arguments, "--out", str(tmp_path / "run"), overrides=overrides),
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    last = result.stderr.splitlines()[-1]
    assert (result.returncode, last.startswith("trainer: ")) == (code, True), result.stderr
    assert reason in last
    assert "Traceback" not in result.stderr


def _check_tags(tensorboard: Path) -> None:
    events = EventAccumulator(str(tensorboard)).Reload()
    charts = ("sps", "success_rate", "episodic_return", "route_completion", "sim_lost")
    promised = {*(f"charts/{name}" for name in charts), "losses/policy", "losses/value"}
    assert promised <= set(events.Tags()["scalars"])


def _check_refusals(config: train.Config, first: Folders, second: Folders, tmp_path: Path) -> None:
    saved, unused = checkpoint.load(checkpoint.find(second.run)), together(tmp_path / "third")
    with pytest.raises(CheckpointError, match=r"ppo.gamma \(checkpoint 0.985, now 0.5\)"):
        train.train(override(config, ["ppo.gamma=0.5"]), unused, saved, never, Console())
    with pytest.raises(ConfigError, match="it holds a training"):
        train.train(config, first, None, never, Console())
    assert not unused.run.exists()


def _watch(out: Path, session: str) -> None:
    """A viewer sees the session's car."""
    viewer = Subscriber(endpoints(out)[session])
    try:
        news = viewer.newest(20.0)
        assert news is not None
        assert (news[0].session, news[0].ego is not None) == (session, True)
    finally:
        viewer.close()

"""Sessions of a daemon whose servers are fakes: real env hosts, real clients, real losses."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

import carlad
from carlad.client import Client
from carlad.errors import RequestError, WaitedInVainError
from carlad.messages import SessionStatus
from carlad.session.client import SessionEnv
from carlad.session.protocol import ProtocolError
from carlad.session.steps import EnvironmentFailedError, Steps
from tests.gateway.daemons import FakeDaemon, fake_daemon
from tests.session.leaks import nothing_left_behind, wait_until

ACTION = np.array([0.5, -0.5], np.float32)


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    """For tests that leave it as it was: two servers."""
    with fake_daemon(ttl_s=20.0) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARLAD_ENDPOINT", running.endpoint)
        yield running
        assert _hosts(running) == []


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    with Client(daemon.endpoint) as client:
        client.status()
        with nothing_left_behind():
            yield client
            wait_until(lambda: client.status().sessions == () and client.status().leases == ())


def _hosts(daemon: FakeDaemon) -> list[psutil.Process]:
    children = psutil.Process(daemon.pid).children(recursive=True)
    return [child for child in children if "carlad.session" in child.cmdline()]


def only(client: Client) -> SessionStatus:
    (status,) = client.status().sessions
    return status


def test_a_session_is_an_environment_on_a_leased_server(client: Client) -> None:
    with carlad.session("quiet", {"length": 2}) as env:
        observation, info = env.reset(seed=5)
        assert env.observation_space.contains(observation)
        assert info == {"options": {}}
        assert env.step(ACTION)[1:4] == (0.5, False, False)
        assert env.step([0.25, 0])[1:4] == (0.25, False, True)
        status = only(client)
        (lease,) = client.status().leases
        assert (status.state, status.env, status.host, status.losses) == ("SERVING", "quiet", 1, 0)
        assert (status.lease_id, status.holder) == (lease.lease_id, lease.holder)
        assert f"[{os.getpid()}]" in status.holder
        assert status.server == env.opened.server


def test_the_spaces_are_known_without_a_server(client: Client) -> None:
    with carlad.lease(), carlad.lease():
        env = SessionEnv("quiet")
        assert env.observation_space.shape == (2,)
        assert client.status().sessions == ()


@pytest.mark.parametrize(
    ("env", "config", "code", "words"),
    [
        ("quite", {}, "unknown-environment", "did you mean quiet?"),
        ("os:system", {}, "unknown-environment", "allowed are"),
        ("quiet", {"lenght": 3}, "environment-refused", "unexpected keyword argument 'lenght'"),
        ("rude", {}, "session-failed", "exited with status 3 while it started.*no GPU here"),
        ("missing", {}, "session-failed", "has no environment class Missing"),
        ("nowhere", {}, "session-failed", "No module named 'no'"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_the_reason(
    client: Client, env: str, config: dict[str, object], code: str, words: str
) -> None:
    for ask in (client.spaces, client.open_session):
        with pytest.raises(RequestError, match=words) as refused:
            ask(env, config)
        assert refused.value.code == code
    assert client.events().notices == () or client.status().leases == ()


def test_terms_are_those_of_a_lease(client: Client) -> None:
    with pytest.raises(RequestError, match="above 0 and at most"):
        client.open_session("quiet", ttl_s=1e9)
    with pytest.raises(RequestError, match="no server has it"):
        client.open_session("quiet", map="Town99")
    with carlad.lease(), carlad.lease(), pytest.raises(WaitedInVainError, match="2 LEASED"):
        client.open_session("quiet", wait_s=0.0)


def test_a_host_that_attaches_for_longer_than_its_lease_lives_keeps_it(client: Client) -> None:
    before = client.status()
    with carlad.session("sluggish", {"attach_s": 8.0}, ttl_s=5.0) as env:
        env.reset(seed=1)
        env.step(ACTION)
        assert only(client).losses == 0
        told = client.events(before.notice, before.run).notices
        assert "lease.expired" not in [notice.event for notice in told]


def test_a_host_that_is_lost_while_its_session_is_written_down_never_serves() -> None:
    """Another program is at the journal, so that the host dies between the end of its attach and the
    answer to its client."""
    with fake_daemon(ttl_s=60.0) as daemon, Client(daemon.endpoint) as client, ThreadPoolExecutor() as pool:
        opening = pool.submit(carlad.session, "sluggish", {"attach_s": 2.0}, endpoint=daemon.endpoint)
        wait_until(lambda: [one.state for one in client.status().sessions] == ["ATTACHING"])
        session = only(client)
        assert session.pid is not None
        with journal_locked(daemon):
            wait_until(lambda: connections_to(session) == 0)  # the daemon hung up: it is attached
            assert only(client).state == "ATTACHING"
            os.kill(session.pid, signal.SIGKILL)
            wait_until(lambda: only(client).state == "PREPARING")
        with opening.result() as env:
            env.reset(seed=1)
            assert env.step(ACTION)[1:4] == (0.5, False, False)
            assert (env.opened.session_id, env.opened.host) == (session.session_id, 2)
            assert "SIGKILL" in (env.opened.cause or "")
        told = [notice for notice in client.events().notices if notice.session_id == session.session_id]
        assert [notice.event for notice in told] == ["session.lost", "session.recovered", "session.closed"]
        assert "SIGKILL" in (told[0].reason or "")


@contextmanager
def journal_locked(daemon: FakeDaemon) -> Iterator[None]:
    """Nobody else writes into it meanwhile."""
    path = Path(daemon.endpoint.removeprefix("ipc://")).parents[1] / "journal.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def connections_to(session: SessionStatus) -> int:
    """Of the daemon, or a client, to the socket for steps."""
    name = session.telemetry.removeprefix("ipc://").replace(".view", ".steps")
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(name) for line in lines) - 1  # it is listened at


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_host_that_dies_costs_one_truncated_step_and_the_session_goes_on(
    client: Client, number: signal.Signals
) -> None:
    with carlad.session("quiet", {"length": 1000}) as env:
        env.reset(seed=1)
        before = env.step(ACTION)[0]
        first, pid = env.opened, only(client).pid
        assert pid is not None
        os.kill(pid, number)
        observation, reward, terminated, truncated, info = env.step(ACTION)
        np.testing.assert_array_equal(observation, before)
        assert (reward, terminated, truncated) == (0.0, False, True)
        lost = info["sim_lost"]
        assert number.name in lost["cause"]
        assert (lost["server"], lost["recovery_s"] > 0) == (first.server, True)
        assert (env.opened.session_id, env.opened.host) == (first.session_id, 2)
        assert env.opened.secret != first.secret
        assert env.opened.telemetry == first.telemetry
        env.reset(seed=1)
        assert env.step(ACTION)[4]["steps"] == 1
        assert (only(client).losses, only(client).state) == (1, "SERVING")


def test_a_host_that_hangs_is_replaced_after_the_clients_deadline(client: Client) -> None:
    with carlad.session("quiet", {"length": 1000}) as env:
        env.reset(seed=1)
        env._reply_within_s = 0.5
        pid = only(client).pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        lost = env.step(ACTION)[4]["sim_lost"]
        assert "did not answer step within 0.5 s" in lost["cause"]
        assert not psutil.pid_exists(pid)
        env.reset(seed=1)


def test_a_server_that_is_lost_is_replaced_and_the_client_sees_it_at_once(
    client: Client, daemon: FakeDaemon
) -> None:
    with carlad.session("quiet", {"length": 1000}) as env:
        env.reset(seed=1)
        first, lost = env.opened, {}
        slot = next(slot for slot in client.status().slots if slot.lease_id == only(client).lease_id)
        daemon.crash(slot.slot)
        while not lost:  # a step that was under way may still be answered
            lost = env.step(ACTION)[4].get("sim_lost", {})
        assert "killed by signal 9" in lost["cause"]
        assert (lost["server"], env.opened.host) == (first.server, 2)
        env.reset(seed=1)
        env.step(ACTION)
        assert "lease.replaced" in [notice.event for notice in client.events().notices]
    assert client.status().leases == ()


def test_a_session_that_ends_while_it_is_owed_a_server_leaves_nothing(
    client: Client, daemon: FakeDaemon
) -> None:
    with carlad.session("quiet", {"length": 1000}) as env:
        env.reset(seed=1)
        held = [client.acquire(wait_s=5.0) for slot in client.status().slots if slot.state == "READY"]
        for slot in client.status().slots:
            daemon.crash(slot.slot)
    assert client.status().leases == ()
    assert client.status().waiting == 0
    assert held


def test_a_loss_between_episodes_costs_nothing_but_time(client: Client) -> None:
    with carlad.session("quiet") as env:
        env.reset(seed=1)
        os.kill(only(client).pid or 0, signal.SIGKILL)
        assert env.reset(seed=1)[0].shape == (2,)
        assert env.opened.host == 2


def test_an_environment_that_fails_says_so_and_gets_a_new_host(client: Client) -> None:
    with carlad.session("failing") as env:
        env.reset(seed=1)
        with pytest.raises(EnvironmentFailedError, match="lane 7"):
            env.step(ACTION)
        assert "lane 7" in str(only(client).reason)
        env.reset(seed=1)


def test_a_client_that_is_killed_frees_everything_at_once(client: Client, daemon: FakeDaemon) -> None:
    code = "import carlad; env = carlad.session('quiet'); env.reset(); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        assert len(_hosts(daemon)) == 1
        holder.kill()
        holder.communicate()
    wait_until(lambda: client.status().sessions == () and _hosts(daemon) == [])
    assert any("died" in str(notice.reason) for notice in client.events().notices)


def test_a_session_that_nobody_renews_expires(client: Client) -> None:
    opened = client.open_session("quiet", ttl_s=0.5)
    wait_until(lambda: client.status().sessions == ())
    with pytest.raises(RequestError, match="after its last renewal") as refused:
        client.renew_session(opened.session_id, opened.key)
    assert refused.value.code == "no-such-session"


def test_a_session_obeys_its_key_alone(client: Client) -> None:
    with carlad.session("quiet") as env:
        env.reset()
        session_id, host = env.opened.session_id, env.opened.host
        for ask in (
            lambda: client.renew_session(session_id, "x"),
            lambda: client.recover_session(session_id, "", host, "mine"),
            lambda: client.close_session(session_id, "x"),
        ):
            with pytest.raises(RequestError, match="the key is another") as refused:
                ask()
            assert refused.value.code == "stale-token"
        with pytest.raises(ProtocolError, match="the secret is not"):
            Steps(env.opened.steps, "guess")
        env.step(ACTION)


def test_the_secret_of_an_earlier_host_opens_nothing(client: Client) -> None:
    with carlad.session("quiet") as env:
        env.reset()
        stale = env.opened
        client.recover_session(stale.session_id, stale.key, stale.host, "a test wants another")
        env.reset()
        with pytest.raises(ProtocolError, match="the secret is not"):
            Steps(stale.steps, stale.secret)
        again = client.recover_session(stale.session_id, stale.key, stale.host, "late")
        assert again.host == 2  # the host after the first: nothing is ended a second time
        assert env.opened.host == 2


def test_an_operator_closes_a_session_and_its_client_is_told(client: Client) -> None:
    with carlad.session("quiet") as env:
        env.reset()
        client.close_session(env.opened.session_id)
        first = env.opened.session_id
        with pytest.raises(RequestError, match="it was closed"):
            env.step(ACTION)
        env.reset()
        assert env.opened.session_id != first


def test_a_session_goes_on_under_the_next_daemon_when_its_server_was_lost_with_the_last() -> None:
    """These servers are the daemon's own fiction, and so end with it."""
    with fake_daemon(ttl_s=20.0) as daemon:
        with carlad.session("quiet", {"length": 10_000}, endpoint=daemon.endpoint) as env:
            env.reset(seed=1)
            first = env.opened
            daemon.kill()
            for _ in range(20):
                assert env.step(ACTION)[1:4] == (0.5, False, False)
            daemon.start()
            lost: dict[str, object] = {}
            while not lost:
                lost = env.step(ACTION)[4].get("sim_lost", {})
            assert "while the daemon was away" in str(lost["cause"]) or "lost" in str(lost["cause"])
            assert (env.opened.session_id, env.opened.host) == (first.session_id, 2)
            env.reset(seed=1)
            env.step(ACTION)
        assert _hosts(daemon) == []

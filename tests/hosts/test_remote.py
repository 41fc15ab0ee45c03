"""Sessions of a daemon that is reached by TCP: stepped and watched from other machines, by those who may."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

import carlad
from carlad import keys
from carlad.client import Client
from carlad.errors import RequestError
from carlad.session.client import SessionEnv
from carlad.session.steps import SessionLostError, Steps
from carlad.telemetry import Frame, Subscriber
from tests.daemon_process import daemon_process
from tests.gateway.daemons import FakeDaemon, fake_daemon
from tests.ports import free_port, free_ports, listens
from tests.session.leaks import nothing_left_behind, wait_until
from viz.scene import ViewerError
from viz.sessions import daemon_sessions

ROOT = Path(__file__).resolve().parents[2]
ACTION = np.array([0.5, -0.5], np.float32)
# Subscribes, and never reads again.
STALLED = """
import sys, time
from carlad.telemetry import Subscriber
subscriber = Subscriber(sys.argv[1], ["view.chase"])
while not subscriber.newest(60.0).arrays:
    pass
print("seen", flush=True)
time.sleep(600)
"""


class Site:
    """A daemon behind TCP, with the keys of ann, of bob, and of eve, who may watch alone."""

    def __init__(self, daemon: FakeDaemon, folder: Path, endpoint: str, session_ports: range) -> None:
        self.daemon = daemon
        self.folder = folder
        self.endpoint = endpoint
        self.session_ports = session_ports

    @contextmanager
    def user(self, name: str) -> Iterator[None]:
        """This process has the key of that user alone."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CARLAD_KEY", str(self.folder / "theirs" / f"{name}.key_secret"))
            yield


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    server = keys.write_pair(folder, "server")
    for name, place in (("ann", "clients"), ("bob", "clients"), ("eve", "viewers"), ("mallory", "nowhere")):
        keys.write_pair(folder / "theirs", name)
        (folder / place).mkdir(exist_ok=True)
        shutil.copy(folder / "theirs" / f"{name}.key", folder / place)
    ports = free_ports(6)  # the gateway's two, and two for each of two sessions
    listen = f"tcp://127.0.0.1:{ports[0]}"
    with fake_daemon(size=2, ttl_s=20.0, listen=listen, keys_dir=folder, session_port=ports[2]) as daemon:
        endpoint = f"tcp://{keys.as_hex(server.public)}@127.0.0.1:{ports[0]}"
        yield Site(daemon, folder, endpoint, ports[2:])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("keys")) as site:
        yield site


@pytest.fixture
def env(site: Site) -> Iterator[SessionEnv]:
    """A session that ann steps from elsewhere; at its end nothing of it is left."""
    with site.user("ann"), nothing_left_behind():
        with carlad.session("shown", {"length": 1_000_000}, endpoint=site.endpoint) as env:
            env.reset(seed=1)
            yield env
        with Client(site.endpoint) as client:
            wait_until(lambda: client.status().sessions == () and client.status().leases == ())
        wait_until(lambda: not any(listens(port) for port in site.session_ports))


def seen(env: SessionEnv, viewer: Subscriber, steps: int = 2_000) -> Frame | None:
    """What comes within so many steps."""
    for _ in range(steps):
        env.step(ACTION)
        if (frame := viewer.newest(0.001)) is not None:
            return frame
    return None


def step_for_ever(env: SessionEnv) -> None:
    while True:
        env.step(ACTION)


def test_a_session_is_stepped_from_another_machine_as_on_this_one(env: SessionEnv, site: Site) -> None:
    opened = env.opened
    assert opened.steps.startswith(site.endpoint.rpartition(":")[0])
    assert [env.step(ACTION)[1] for _ in range(3)] == [0.5] * 3
    with Client(site.daemon.endpoint) as beside:
        (status,) = beside.status().sessions
    assert status.holder.startswith("ann@")
    assert status.telemetry.startswith("ipc://")


def test_large_observations_come_whole_over_tcp(site: Site) -> None:
    with site.user("ann"), carlad.session("camera", endpoint=site.endpoint) as env:
        env.reset(seed=1)
        for number in range(1, 4):
            observation, *_ = env.step(ACTION)
            assert observation["image"].shape == (600, 800, 3)
            assert (observation["image"] == number).all()
            assert observation["steps"] == [number]


def test_another_user_steps_nothing_even_with_the_secret(env: SessionEnv, site: Site) -> None:
    opened = env.opened
    for name in ("bob", "eve", "mallory"):
        with site.user(name), pytest.raises(SessionLostError, match="whose session it is"):
            Steps(opened.steps, opened.secret)
    assert env.step(ACTION)[1] == 0.5


def test_without_a_key_there_is_neither_a_session_nor_a_way_to_one(
    env: SessionEnv, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARLAD_KEY", str(site.folder / "none.key_secret"))
    for attempt in (lambda: Steps(env.opened.steps, env.opened.secret), lambda: carlad.session("shown")):
        monkeypatch.setenv("CARLAD_ENDPOINT", site.endpoint)
        with pytest.raises(carlad.errors.ConfigError, match="carlactl keygen"):
            attempt()
    with pytest.raises(carlad.errors.ConfigError, match="TCP is spoken with keys only"):
        Steps(f"tcp://127.0.0.1:{site.session_ports[0]}", env.opened.secret)


@pytest.mark.parametrize("name", ["ann", "bob", "eve"])
def test_whoever_has_a_key_watches_a_session_from_another_machine(
    env: SessionEnv, site: Site, name: str
) -> None:
    with Client(site.endpoint) as client:
        (status,) = client.status().sessions
    assert status.remote_telemetry == env.opened.telemetry
    with site.user(name), closing(Subscriber(env.opened.telemetry)) as viewer:
        frame = seen(env, viewer)
    assert frame is not None
    assert frame.bundle.session == env.opened.session_id


def test_whoever_has_no_key_sees_nothing_and_disturbs_nobody(env: SessionEnv, site: Site) -> None:
    with site.user("mallory"), closing(Subscriber(env.opened.telemetry)) as stranger:
        assert seen(env, stranger, steps=200) is None


def test_a_key_that_is_added_is_good_from_then_on(env: SessionEnv, site: Site) -> None:
    keys.write_pair(site.folder / "theirs", "carol")
    shutil.copy(site.folder / "theirs" / "carol.key", site.folder / "clients")
    with site.user("carol"), closing(Subscriber(env.opened.telemetry)) as viewer:
        assert seen(env, viewer) is not None


def test_a_viewer_whose_key_is_taken_away_sees_no_more_and_the_others_go_on(
    env: SessionEnv, site: Site
) -> None:
    keys.write_pair(site.folder / "theirs", "dave")
    theirs = site.folder / "viewers" / "dave.key"
    shutil.copy(site.folder / "theirs" / "dave.key", theirs)
    with ExitStack() as stack:
        viewers = []
        for name in ("dave", "eve"):
            with site.user(name):
                viewers.append(stack.enter_context(closing(Subscriber(env.opened.telemetry))))
        dave, eve = viewers
        assert seen(env, dave) is not None
        assert seen(env, eve) is not None
        theirs.unlink()
        last_s = time.monotonic()
        while time.monotonic() < last_s + 2.0:  # what comes after two seconds of nothing is no rest
            env.step(ACTION)
            if dave.newest(0.001) is not None:
                last_s = time.monotonic()
        assert seen(env, eve) is not None
    assert env.step(ACTION)[1] == 0.5


def test_a_viewer_elsewhere_that_stops_reading_holds_up_no_step(env: SessionEnv) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STALLED, env.opened.telemetry], stdout=subprocess.PIPE, text=True
    ) as viewer:
        try:
            assert viewer.stdout is not None
            os.set_blocking(viewer.stdout.fileno(), False)
            while not viewer.stdout.readline():
                env.step(ACTION)
            viewer.send_signal(signal.SIGSTOP)
            deadline_s = time.monotonic() + 3.0
            while time.monotonic() < deadline_s:  # far more than what fits into any queue on the way
                assert env.step(ACTION)[1] == 0.5
        finally:
            viewer.kill()


def test_a_host_that_dies_costs_one_truncated_step_and_viewers_find_the_next_one(
    env: SessionEnv, site: Site
) -> None:
    with closing(Subscriber(env.opened.telemetry)) as viewer:
        assert seen(env, viewer) is not None
        with Client(site.daemon.endpoint) as beside:
            (status,) = beside.status().sessions
        assert status.pid is not None
        os.kill(status.pid, signal.SIGKILL)
        *_, truncated, info = env.step(ACTION)
        assert truncated
        assert "env host" in info["sim_lost"]["cause"]
        env.reset(seed=2)
        while viewer.newest(0.0) is not None:
            pass
        assert seen(env, viewer) is not None


def test_a_session_is_found_at_the_same_ports_under_the_next_daemon(tmp_path: Path) -> None:
    """Its server was lost with the last one, as all fake servers are."""
    with (
        running_site(tmp_path) as site,
        site.user("ann"),
        carlad.session("shown", {"length": 1_000_000}, endpoint=site.endpoint) as env,
    ):
        env.reset(seed=1)
        before = env.opened
        site.daemon.kill()
        assert [env.step(ACTION)[1] for _ in range(20)] == [0.5] * 20
        site.daemon.start()
        while not env.step(ACTION)[3]:
            pass
        assert env.opened.session_id == before.session_id
        assert (env.opened.steps, env.opened.telemetry) == (before.steps, before.telemetry)
        env.reset(seed=2)
        assert env.step(ACTION)[1] == 0.5


def test_a_user_whose_key_is_taken_away_steps_no_more(tmp_path: Path) -> None:
    with (
        running_site(tmp_path) as site,
        site.user("ann"),
        carlad.session("shown", {"length": 1_000_000}, endpoint=site.endpoint) as env,
    ):
        env.reset(seed=1)
        assert env.step(ACTION)[1] == 0.5
        (site.folder / "clients" / "ann.key").unlink()
        site.daemon.command("reread")
        with pytest.raises(carlad.errors.CarladError):
            step_for_ever(env)


def test_ports_that_somebody_else_has_are_passed_over_and_when_none_is_left_it_is_said(site: Site) -> None:
    with (
        socket.create_server(("127.0.0.1", site.session_ports[1])),
        site.user("ann"),
        Client(site.endpoint) as client,
        carlad.session("shown", endpoint=site.endpoint) as env,
    ):
        assert env.opened.steps.endswith(f":{site.session_ports[2]}")
        with pytest.raises(RequestError, match="session_ports") as refused:
            carlad.session("shown", endpoint=site.endpoint)
        assert refused.value.code == "overloaded"
        with carlad.session("shown", endpoint=site.daemon.endpoint) as local:
            of_local = {one.session_id: one.remote_telemetry for one in client.status().sessions}
            assert of_local[local.opened.session_id] is None


def test_a_viewer_is_told_where_a_daemon_shows_nothing_to_other_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = keys.write_pair(tmp_path, "server")
    keys.write_pair(tmp_path / "theirs", "ann")
    (tmp_path / "clients").mkdir()
    shutil.copy(tmp_path / "theirs" / "ann.key", tmp_path / "clients")
    monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "theirs" / "ann.key_secret"))
    port = free_port()
    with fake_daemon(size=1, listen=f"tcp://127.0.0.1:{port}", keys_dir=tmp_path) as daemon:
        endpoint = f"tcp://{keys.as_hex(server.public)}@127.0.0.1:{port}"
        with carlad.session("shown", endpoint=daemon.endpoint):
            with pytest.raises(ViewerError, match=r"operator names ports for that in remote\.session_ports"):
                daemon_sessions(endpoint)
            assert daemon_sessions(daemon.endpoint)[0].telemetry.startswith("ipc://")
        with pytest.raises(RequestError, match=r"remote\.session_ports names no ports"):
            carlad.session("shown", endpoint=endpoint)


@pytest.mark.system
def test_no_step_over_tcp_is_lost_by_a_real_daemon_that_is_killed_and_a_viewer_finds_the_session(
    tmp_path: Path,
) -> None:
    folder, (port, _, *session_ports) = tmp_path / "keys", free_ports(4)
    server = keys.write_pair(folder, "server")
    keys.write_pair(folder / "theirs", "ann")
    (folder / "clients").mkdir()
    shutil.copy(folder / "theirs" / "ann.key", folder / "clients")
    remote = f'listen = ["tcp://127.0.0.1:{port}"]\nkeys_dir = "{folder}"\n'
    remote += f"session_ports = {session_ports}"
    envs = f'envs = {{ route = {{ env = "trainer.env.route_env:RouteEnv", path = ["{ROOT}"] }} }}'
    endpoint = f"tcp://{keys.as_hex(server.public)}@127.0.0.1:{port}"
    with (
        pytest.MonkeyPatch.context() as patch,
        daemon_process(fleet="size = 1", session=envs, remote=remote) as daemon,
    ):
        patch.setenv("CARLAD_KEY", str(folder / "theirs" / "ann.key_secret"))
        wait_until(lambda: listens(port), 30.0)  # its Unix socket is there a moment earlier
        with carlad.session("route", {"config": {"client_timeout_s": 5.0}}, endpoint=endpoint) as env:
            env.reset(seed=1)
            drive(env, 10)
            daemon.kill()
            drive(env, 10)
            daemon.start()
            drive(env, 10)
            session_id, picture = env.opened.session_id, tmp_path / "now.png"
            viewer = [
                sys.executable,
                "-m",
                "viz",
                "--endpoint",
                endpoint,
                session_id,
                "--snapshot",
                str(picture),
            ]
            with subprocess.Popen(viewer, cwd=ROOT) as shown:
                while shown.poll() is None:
                    drive(env, 1)
            assert shown.returncode == 0
            assert picture.stat().st_size > 5_000


def drive(env: SessionEnv, steps: int) -> None:
    """Steps none of which is lost."""
    for _ in range(steps):
        *_, terminated, truncated, info = env.step(np.array([0.0, 0.3], np.float32))
        assert "sim_lost" not in info
        if terminated or truncated:
            env.reset(seed=1)

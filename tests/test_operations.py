"""What an operator asks of a running daemon: drain, scale, reload, shutdown."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest
import zmq

import carlad
from carlad.client import Client
from carlad.errors import RequestError
from carlad.messages import (
    PROTOCOL_VERSION,
    Drain,
    Quarantine,
    Request,
    Restart,
    Scale,
    Shutdown,
    Undrain,
)
from tests.cli.calling import carlactl
from tests.daemon_process import DaemonProcess, all_ready, daemon_process, until, until_status

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def shared() -> Iterator[DaemonProcess]:
    with daemon_process(fleet="size = 1\n", lease="ttl_s = 30\n") as daemon:
        yield daemon


@pytest.fixture
def daemon(shared: DaemonProcess) -> Iterator[DaemonProcess]:
    """With the configuration it started with."""
    text = shared.config.read_text()
    yield shared
    shared.config.write_text(text)
    with Client(shared.endpoint) as client:
        client.reload()


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        yield client


def test_orders_for_a_slot_say_what_they_mean(client: Client) -> None:
    with carlad.lease(endpoint=client.endpoint) as held:
        said = client.operate(Drain(slot=0))
        assert said == f"slot 0 drains: {held.lease_id} still holds it"
        assert client.status().slots[0].draining
        assert client.operate(Undrain(slot=0)) == "slot 0 is back"
        assert client.operate(Undrain(slot=0)) == "slot 0 was not draining"
        assert client.operate(Quarantine(slot=0, why="dust")).endswith(f"; {held.lease_id} has lost it")
        assert held.lost.wait(5.0)
        assert "dust" in str(held.lost_reason)
    slot = until_status(client, lambda status: status.slots[0].state == "QUARANTINED").slots[0]
    assert slot.reason == "dust"
    assert client.operate(Restart(slot=0)) == "slot 0 gets another server"
    until_status(client, all_ready)


def test_an_order_that_is_sent_again_is_obeyed_once(client: Client) -> None:
    request = Request(version=PROTOCOL_VERSION, request_id="once", body=Restart(slot=0))
    before = client.status().slots[0].incarnation
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(client.endpoint)
        for _ in range(2):
            dealer.send(msgspec.msgpack.encode(request))
            assert dealer.poll(5000)
            assert b"gets another server" in dealer.recv()
            after = until_status(client, all_ready).slots[0].incarnation
    assert after == before + 1


@pytest.mark.parametrize("order", [Drain, Undrain, Restart, Quarantine])
def test_a_slot_that_is_not_there_is_refused(client: Client, order: type[Drain]) -> None:
    with pytest.raises(RequestError, match="there is no slot 7: slots are 0 to 0") as refused:
        client.operate(order(slot=7))
    assert refused.value.code == "no-such-slot"


def test_a_scaled_fleet_leases_as_many(client: Client) -> None:
    assert client.operate(Scale(size=2)) == "the fleet has 2 slots until the next reload"
    until_status(client, lambda status: len(status.slots) == 2 and all_ready(status))
    first, second = client.acquire(), client.acquire()
    assert client.operate(Scale(size=1)) == "the fleet has 1 slot until the next reload; the surplus drains"
    assert [slot.state for slot in client.status().slots] == ["LEASED", "LEASED"]
    for lease in (first, second):
        client.release(lease.lease_id)
    until_status(client, lambda status: len(status.slots) == 1 and all_ready(status))
    with pytest.raises(RequestError, match=r"fleet\.ports") as refused:
        client.operate(Scale(size=500))
    assert refused.value.code == "bad-size"


def test_a_reload_tells_what_changed_and_applies_it(daemon: DaemonProcess, client: Client) -> None:
    before = client.status().slots[0]
    daemon.edit("ttl_s = 30", "ttl_s = 7")
    daemon.edit("size = 1", "size = 1\nspares = 0")
    assert [(c.key, c.old, c.new, c.applies) for c in client.reload()] == [
        ("lease.ttl_s", "30.0", "7.0", "now")
    ]
    *_, told = (notice for notice in client.events().notices if notice.event == "config.changed")
    assert told.reason == "lease.ttl_s is 7.0 instead of 30.0, now"
    lease = client.acquire()
    assert lease.ttl_s == 7.0
    daemon.edit("ttl_s = 7", "ttl_s = 7\n[probe]\ntimeout_s = 3")
    daemon.edit("size = 1", 'size = 1\nmap = "Town02"')
    assert {c.key: c.applies for c in client.reload()} == {
        "fleet.map": "to each server as it becomes free",
        "probe.timeout_s": "now",
    }
    assert client.status().slots[0].pid == before.pid  # it is held
    client.release(lease.lease_id)
    after = until_status(client, lambda status: all_ready(status) and status.slots[0].pid != before.pid)
    assert after.slots[0].map == "Town02"


def test_a_reload_allows_another_environment_to_sessions(daemon: DaemonProcess, client: Client) -> None:
    with pytest.raises(RequestError, match="did you mean") as refused:
        carlad.session("routes", endpoint=client.endpoint)
    assert refused.value.code == "unknown-environment"
    quiet = f'{{ env = "tests.session.environments:Quiet", path = ["{ROOT}"] }}'
    daemon.edit("[fleet]", f"[session]\nenvs = {{ routes = {quiet} }}\n[fleet]")
    assert [(c.key, c.applies) for c in client.reload()] == [("session.envs", "now")]
    with carlad.session("routes", endpoint=client.endpoint) as env:
        env.reset(seed=1)
        daemon.edit("environments:Quiet", "environments:Camera")
        assert [(c.key, c.applies) for c in client.reload()] == [("session.envs", "now")]
        env.step(env.action_space.sample())  # it goes on as what it was
        assert client.spaces("routes").observation_space != env.opened.observation_space
    until_status(client, all_ready)


def test_a_bad_file_changes_nothing_and_says_where(daemon: DaemonProcess, client: Client) -> None:
    before = client.status().slots
    daemon.edit("ttl_s = 30", "ttl_s = 31\nttl = 3")
    with pytest.raises(RequestError, match=rf"{daemon.config}, line 11: lease\.ttl: no such key") as refused:
        client.reload()
    assert refused.value.code == "bad-config"
    assert "lease.ttl: no such key" in carlactl(daemon.endpoint, "reload", code=2)
    daemon.edit("ttl = 3", '[docker]\nimage = "x"')
    daemon.edit("[fleet]", '[fleet]\nbackend = "binary"\ncarla_root = "/nowhere"')
    with pytest.raises(RequestError, match=rf"{daemon.config}, line \d+: fleet\.carla_root: there is no"):
        client.reload()
    daemon.config.write_text("[fleet\n")
    with pytest.raises(RequestError, match="line 1"):
        client.reload()
    daemon.config.unlink()
    with pytest.raises(RequestError, match="cannot read"):
        client.reload()
    daemon.signal(signal.SIGHUP)
    until(lambda: "config.refused" in daemon.log.read_text(), 60.0)
    assert client.status().slots == before
    lease = client.acquire()
    assert lease.ttl_s == 30.0
    client.release(lease.lease_id)


def test_sighup_reads_the_file_again(daemon: DaemonProcess, client: Client) -> None:
    daemon.edit("ttl_s = 30", "ttl_s = 9")
    daemon.signal(signal.SIGHUP)
    until(lambda: "key=lease.ttl_s old=30.0 new=9.0" in daemon.log.read_text(), 60.0)
    lease = client.acquire()
    assert lease.ttl_s == 9.0
    client.release(lease.lease_id)


# --- the end


def draining_daemon(drain_s: float) -> AbstractContextManager[DaemonProcess]:
    return daemon_process(fleet="size = 1", daemon=f"drain_s = {drain_s}")


def test_a_daemon_that_ends_waits_for_its_holders_and_grants_nothing_more() -> None:
    with draining_daemon(30) as daemon, Client(daemon.endpoint) as client:
        until_status(client, all_ready)
        held = client.acquire(ttl_s=20)
        assert client.operate(Shutdown()) == "carlad ends as soon as its leases do"
        with pytest.raises(RequestError) as refused:
            client.acquire()
        assert refused.value.code == "stopping"
        client.renew(held.lease_id)
        assert client.status().slots[held.slot].state == "LEASED"
        client.release(held.lease_id)
        assert daemon.wait() == 0
        assert daemon.descendants() == []


@pytest.mark.parametrize("now", [False, True])
def test_whoever_has_it_end_is_told_though_nothing_is_left_to_wait_for(now: bool) -> None:
    with daemon_process(fleet="size = 0", daemon="drain_s = 2") as daemon, Client(daemon.endpoint) as client:
        assert client.operate(Shutdown(now=now)).startswith("carlad ends")
        assert daemon.wait() == 0


@pytest.mark.parametrize("hasten", ["a second SIGTERM", "--now"])
def test_draining_can_be_skipped(hasten: str) -> None:
    with (
        daemon_process(fleet="size = 1", daemon="drain_s = 600") as daemon,
        Client(daemon.endpoint) as client,
    ):
        until_status(client, all_ready)
        with carlad.lease(endpoint=daemon.endpoint) as held:
            daemon.signal(signal.SIGTERM)
            until(lambda: "daemon.stopping" in daemon.log.read_text(), 60.0)
            assert not held.lost.wait(0.3)
            asked_at = time.monotonic()
            if hasten == "--now":
                client.operate(Shutdown(now=True))
            else:
                daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0
            assert time.monotonic() - asked_at < 5.0
            assert held.lost.wait(5.0)
        assert daemon.descendants() == []


def test_draining_has_its_time() -> None:
    with (
        daemon_process(fleet="size = 1", daemon="drain_s = 0.5") as daemon,
        Client(daemon.endpoint) as client,
    ):
        until_status(client, all_ready)
        client.acquire(ttl_s=600)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0

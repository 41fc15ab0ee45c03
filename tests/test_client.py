"""The client library against a daemon process with a fleet of none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

import carlad
from carlad.client import Client, Lease, this_process
from carlad.errors import LeaseLostError, NoDaemonError, RequestError, WaitedInVainError
from carlad.link import Link
from carlad.messages import Acquire, Queued, StatusQuery
from tests.gateway.daemons import FakeDaemon, fake_daemon


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon(ttl_s=1.5) as running:
        yield running


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeDaemon]:
    """For tests that leave it as it was."""
    with fake_daemon(ttl_s=1.5) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(shared: FakeDaemon) -> Iterator[None]:
    """No thread and no descriptor outlives a test."""
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    yield
    _until(lambda: threading.active_count() <= threads, 5.0)
    _until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, 5.0)


def _until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_lease_has_what_the_client_needs_and_is_released_at_the_end(shared: FakeDaemon) -> None:
    with carlad.lease(endpoint=shared.endpoint) as server, Client(shared.endpoint) as client:
        slot = client.status().slots[server.slot]
        assert (server.host, server.port, server.rpc_port) == (slot.host, slot.rpc_port, slot.rpc_port)
        assert server.streaming_port == slot.streaming_port
        assert server.traffic_manager_port == slot.traffic_manager_port
        assert (server.map, server.ttl_s, server.lease_id) == ("Town01", 1.5, f"lease-{server.token}")
        (held,) = client.status().leases
        assert held.holder == str(this_process())
    with Client(shared.endpoint) as client:
        assert client.status().leases == ()
        assert client.events().notices[-1].event != "lease.expired"


def test_a_lease_outlives_its_time_to_live_while_its_holder_does(shared: FakeDaemon) -> None:
    with carlad.lease(ttl_s=1.2, endpoint=shared.endpoint) as server, Client(shared.endpoint) as client:
        assert not server.lost.wait(2.0)
        assert [lease.lease_id for lease in client.status().leases] == [server.lease_id]
        server.check()


def test_a_lease_is_released_also_when_the_block_raises(shared: FakeDaemon) -> None:
    with pytest.raises(ZeroDivisionError), carlad.lease(endpoint=shared.endpoint):
        raise ZeroDivisionError
    with Client(shared.endpoint) as client:
        assert client.status().leases == ()


def test_a_holder_hears_at_once_that_its_server_is_lost_and_why(daemon: FakeDaemon) -> None:
    with carlad.lease(ttl_s=60.0, endpoint=daemon.endpoint) as server:
        with Client(daemon.endpoint) as client:
            client.renew(server.lease_id)
        time.sleep(0.2)  # for the subscription to arrive; without it the next renewal would tell
        daemon.crash(server.slot)
        assert server.lost.wait(5.0)
        assert "killed by signal 9" in str(server.lost_reason)
        with pytest.raises(LeaseLostError, match="killed by signal 9"):
            server.check()


def test_a_holder_hears_at_its_next_renewal_what_it_missed(daemon: FakeDaemon) -> None:
    with carlad.lease(ttl_s=1.0, endpoint=daemon.endpoint) as server:
        daemon.crash(server.slot)
        assert server.lost.wait(5.0)
        assert "killed by signal 9" in str(server.lost_reason)


def test_a_holder_who_wants_it_gets_another_server_without_asking_again(daemon: FakeDaemon) -> None:
    told: list[str] = []
    with carlad.lease(
        ttl_s=60.0,
        endpoint=daemon.endpoint,
        replace=True,
        on_lost=lambda lease: told.append(f"lost {lease.lease_id}"),
        on_replaced=lambda lease: told.append(f"have {lease.lease_id}"),
    ) as server:
        first = server.granted
        with Client(daemon.endpoint) as client:
            client.renew(server.lease_id)
        time.sleep(0.2)  # for the subscription to arrive; without it the next renewal would tell
        daemon.crash(server.slot)
        _until(lambda: len(told) == 2, 5.0)
        assert told == [f"lost {first.lease_id}", f"have {server.lease_id}"]
        assert server.token > first.token
        assert server.port != first.rpc_port
        server.recover()
        with Client(daemon.endpoint) as client:
            assert [lease.lease_id for lease in client.status().leases] == [server.lease_id]
            client.renew(server.lease_id, server.token)
    with Client(daemon.endpoint) as client:
        assert client.status().leases == ()


def test_a_replaced_lease_is_renewed_and_replaced_again(daemon: FakeDaemon) -> None:
    with carlad.lease(ttl_s=1.2, endpoint=daemon.endpoint, replace=True) as server:
        seen = {server.lease_id}
        for _ in range(2):
            daemon.crash(server.slot)
            assert server.lost.wait(5.0)
            server.recover()
            assert server.lease_id not in seen
            seen.add(server.lease_id)
            assert not server.lost.wait(1.6)


def test_a_callback_that_fails_costs_no_lease(daemon: FakeDaemon) -> None:
    failures: list[object] = []
    before, threading.excepthook = threading.excepthook, failures.append
    try:
        with carlad.lease(
            ttl_s=1.5, endpoint=daemon.endpoint, replace=True, on_lost=lambda _lease: 1 // 0
        ) as server:
            daemon.crash(server.slot)
            assert server.lost.wait(5.0)
            server.recover()
            assert not server.lost.wait(2.0)
        assert len(failures) == 1
    finally:
        threading.excepthook = before


@pytest.mark.parametrize("daemon_dies", [False, True])
def test_who_gives_up_while_a_replacement_is_awaited_leaves_nothing_behind(
    daemon: FakeDaemon, daemon_dies: bool
) -> None:
    with Client(daemon.endpoint) as client, carlad.lease(endpoint=daemon.endpoint, replace=True) as server:
        client.acquire(ttl_s=60.0)
        for slot in (0, 1):
            daemon.hold_down(slot)
        assert server.lost.wait(5.0)
        assert client.status().waiting == 1
        with pytest.raises(LeaseLostError):
            server.check()
        if daemon_dies:
            daemon.kill()
    if not daemon_dies:
        with Client(daemon.endpoint) as client:
            assert client.status().waiting == 0


def test_a_holder_without_hope_of_a_replacement_is_told_why(daemon: FakeDaemon) -> None:
    with carlad.lease(ttl_s=0.6, endpoint=daemon.endpoint, replace=True) as server:
        with Client(daemon.endpoint) as client:
            client.release(server.lease_id)
        assert server.lost.wait(5.0)
        with pytest.raises(LeaseLostError, match="it was released"):
            server.recover()


def test_a_lease_that_somebody_else_released_is_lost(shared: FakeDaemon) -> None:
    with carlad.lease(ttl_s=1.0, endpoint=shared.endpoint) as server:
        with Client(shared.endpoint) as client:
            client.release(server.lease_id)
        assert server.lost.wait(5.0)
        assert "released" in str(server.lost_reason)


def test_a_lease_whose_daemon_stays_away_is_lost_when_its_time_is_up_and_not_before(
    daemon: FakeDaemon,
) -> None:
    with carlad.lease(ttl_s=1.5, endpoint=daemon.endpoint) as server:
        daemon.kill()
        killed_at = time.monotonic()
        assert not server.lost.wait(0.8)
        assert server.lost.wait(5.0)
        assert time.monotonic() - killed_at < 2.5
        assert "within its time to live" in str(server.lost_reason)


def test_a_daemon_that_stands_still_for_a_while_costs_no_lease(daemon: FakeDaemon) -> None:
    with carlad.lease(ttl_s=2.0, endpoint=daemon.endpoint) as server:
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            assert not server.lost.wait(1.2)
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        assert not server.lost.wait(1.5)


_HOLDS = "import carlad\nlease = carlad.lease(ttl_s=600)\nprint('held', flush=True)\ninput()"
_LIES = """
from carlad.client import Client
from carlad.messages import Holder
words = Holder(user="somebody else", host="box", program="liar", pid=1, started=1)
Client().acquire(ttl_s=600, holder=words)
print('held', flush=True)
input()
"""


@pytest.mark.parametrize("program", [_HOLDS, _LIES], ids=["honest", "liar"])
def test_a_holder_that_is_killed_loses_its_lease_at_once_whatever_it_said_it_was(
    shared: FakeDaemon, program: str
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "CARLAD_ENDPOINT": shared.endpoint},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with Client(shared.endpoint) as client:
        (held,) = client.status().leases
        assert held.holder.startswith(f"{this_process().user}@")
        assert held.holder.endswith(f"[{holder.pid}]")
        holder.kill()
        holder.communicate()
        _until(lambda: client.status().leases == (), 4.0)
        (ended,) = [n for n in client.events().notices if n.lease_id == held.lease_id and n.reason]
        assert (ended.event, ended.reason) == ("lease.expired", f"its holder, process {holder.pid}, died")


def test_a_waiter_that_is_killed_leaves_the_queue_at_once(daemon: FakeDaemon) -> None:
    with Client(daemon.endpoint) as client:
        for _ in range(2):
            client.acquire(ttl_s=30.0)
        waiter = subprocess.Popen(
            [sys.executable, "-c", "import carlad; carlad.lease(wait_s=600)"],
            env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
        )
        _until(lambda: client.status().waiting == 1, 5.0)
        waiter.kill()
        waiter.wait()
        _until(lambda: client.status().waiting == 0, 4.0)


def test_a_lease_that_belongs_to_no_process_outlives_the_one_that_asked(shared: FakeDaemon) -> None:
    code = (
        "import carlad; from carlad.client import Client, this_process; from msgspec.structs import replace; "
        "print(Client().acquire(ttl_s=1.0, holder=replace(this_process(), pid=0)).lease_id)"
    )
    environ = {**os.environ, "CARLAD_ENDPOINT": shared.endpoint}
    lease_id = subprocess.check_output([sys.executable, "-c", code], env=environ, text=True).strip()
    with Client(shared.endpoint) as client:
        client.renew(lease_id, ttl_s=600.0)
        assert [lease.lease_id for lease in client.status().leases] == [lease_id]
        client.release(lease_id)


def test_a_request_waits_for_a_server_and_is_told_how_it_stands(shared: FakeDaemon) -> None:
    standings: list[Queued] = []
    with carlad.lease(endpoint=shared.endpoint), carlad.lease(endpoint=shared.endpoint) as second:
        threading.Timer(1.0, second.release).start()
        with carlad.lease(wait_s=10.0, endpoint=shared.endpoint, on_queued=standings.append) as third:
            assert third.token > second.token
            assert third.rpc_port == second.rpc_port  # scrubbed, not restarted
    assert (standings[0].position, standings[0].waiting) == (1, 1)


def test_a_request_that_waits_in_vain_says_so(daemon: FakeDaemon) -> None:
    with Client(daemon.endpoint) as client:
        for _ in range(2):
            client.acquire(ttl_s=30.0)
        with pytest.raises(WaitedInVainError, match="2 LEASED"):
            client.acquire(wait_s=0.0)
        with pytest.raises(WaitedInVainError, match=r"within 0\.3 s"):
            client.acquire(wait_s=0.3)


def test_who_is_interrupted_while_waiting_leaves_the_queue(daemon: FakeDaemon) -> None:
    with Client(daemon.endpoint) as client:
        for _ in range(2):
            client.acquire(ttl_s=30.0)
        waiter = subprocess.Popen(
            [sys.executable, "-c", "import carlad; carlad.lease(wait_s=60)"],
            env={**os.environ, "CARLAD_ENDPOINT": daemon.endpoint},
            stderr=subprocess.DEVNULL,
        )
        _until(lambda: client.status().waiting == 1, 5.0)
        waiter.send_signal(signal.SIGINT)
        waiter.wait(5.0)
        _until(lambda: client.status().waiting == 0, 1.0)


@pytest.mark.parametrize("lease", [{"map": "Town99"}, {"ttl_s": -1.0}, {"wait_s": -1.0}, {"map": ""}])
def test_what_the_daemon_refuses_is_an_error_of_the_request(
    shared: FakeDaemon, lease: dict[str, object]
) -> None:
    with pytest.raises(RequestError, match="cannot"):
        carlad.lease(endpoint=shared.endpoint, **lease)  # type: ignore[arg-type]


def test_a_stale_token_neither_renews_nor_releases(shared: FakeDaemon) -> None:
    with carlad.lease(endpoint=shared.endpoint) as server, Client(shared.endpoint) as client:
        for ask in (client.renew, client.release):
            with pytest.raises(RequestError, match="stale") as refused:
                ask(server.lease_id, server.token - 1)
            assert refused.value.code == "stale-token"


def test_without_a_daemon_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="start it with `carlad` or set CARLAD_ENDPOINT"):
        carlad.lease(endpoint=f"{tmp_path}/none.sock")


def test_a_client_finds_its_daemon_again_after_a_restart(daemon: FakeDaemon) -> None:
    with Client(daemon.endpoint) as client:
        before = client.acquire()
        daemon.kill()
        with pytest.raises(NoDaemonError):
            client.status()
        daemon.start()
        _until(lambda: client.status().leases == (), 5.0)  # its servers are others
        assert client.acquire().token > before.token


def test_a_daemon_that_stands_still_is_given_up_and_the_request_with_it(daemon: FakeDaemon) -> None:
    with Link(daemon.endpoint, silence_max_s=0.5) as link, Client(daemon.endpoint) as client:
        link.ask(StatusQuery())
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            with pytest.raises(NoDaemonError, match="silent"):
                link.ask(Acquire(holder=this_process(), ttl_s=60.0))
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        _until(lambda: client.status().leases == (), 5.0)  # the withdrawal came behind the request


def test_a_watcher_sees_every_notice_once_in_order(daemon: FakeDaemon) -> None:
    with Client(daemon.endpoint) as client:
        client.acquire(ttl_s=30.0)
        seen = []
        for notice in client.watch():
            seen.append(notice.number)
            if len(seen) >= 20:
                break
            if len(seen) % 2:
                daemon.crash(1)
                with Client(daemon.endpoint) as other, carlad.lease(wait_s=5.0, endpoint=other.endpoint):
                    pass
        assert seen == list(range(1, 21))


def test_a_snapshot_and_what_was_told_after_it_make_the_next_snapshot(daemon: FakeDaemon) -> None:
    with Client(daemon.endpoint) as client:
        before = client.status()
        held = [client.acquire(ttl_s=30.0).lease_id for _ in range(2)]
        client.release(held[0])
        after = client.status()
        told = client.events(before.notice, before.run).notices
        assert [notice.number for notice in told] == list(range(before.notice + 1, after.notice + 1))
        leases = {lease.lease_id for lease in before.leases}
        for notice in told:
            if notice.event == "lease.granted":
                leases.add(notice.lease_id or "")
            elif notice.event in ("lease.released", "lease.lost", "lease.expired"):
                leases.remove(notice.lease_id or "")
        assert leases == {lease.lease_id for lease in after.leases}


def test_a_watcher_is_told_all_of_a_new_run_of_the_daemon_however_far_the_old_one_was(
    daemon: FakeDaemon,
) -> None:
    with Client(daemon.endpoint) as client:
        client.release(client.acquire().lease_id)
        watching = client.watch()
        old_run = [next(watching), next(watching)]
        daemon.kill()
        daemon.start()
        for _ in range(2):
            client.release(client.acquire(wait_s=5.0).lease_id)
        new_run = [next(watching) for _ in range(4)]
        assert [notice.number for notice in new_run] == [1, 2, 3, 4]
        assert {notice.run for notice in new_run}.isdisjoint({notice.run for notice in old_run})


def test_a_forked_child_leaves_its_parent_s_lease_alone(shared: FakeDaemon) -> None:
    server = carlad.lease(endpoint=shared.endpoint)
    child = os.fork()
    if child == 0:
        server.release()
        with Client(shared.endpoint) as client:
            is_held = [lease.lease_id for lease in client.status().leases] == [server.lease_id]
        os._exit(0 if is_held else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not server.lost.is_set()
    server.release()
    server.release()


def test_a_lease_is_given_back_though_a_forked_child_lives_on(shared: FakeDaemon) -> None:
    """It has all that was open when it was made: the keeper's pipe, too."""
    server = carlad.lease(endpoint=shared.endpoint)
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        releasing = threading.Thread(target=server.release, daemon=True)
        releasing.start()
        releasing.join(10.0)
        assert not releasing.is_alive()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_daemon_that_dies_just_before_it_is_asked_is_waited_for_no_longer_than_others(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look whether a request can leave and its leaving."""
    look = zmq.Socket.poll

    def look_and_let_it_die(socket: zmq.Socket[bytes], *arguments: int) -> int:
        seen = look(socket, *arguments)
        if seen & zmq.POLLOUT:
            daemon.kill()
            _until(lambda: not look(socket, 0, zmq.POLLOUT), 5.0)
        return seen

    with Client(daemon.endpoint, silence_max_s=1.0) as client:
        client.status()
        monkeypatch.setattr(zmq.Socket, "poll", look_and_let_it_die)
        asking = threading.Thread(target=lambda: _failure_of(client.status), daemon=True)
        asking.start()
        asking.join(10.0)
        assert not asking.is_alive()


def _failure_of(ask: Callable[[], object]) -> None:
    with pytest.raises(NoDaemonError):
        ask()


def test_many_holders_never_hold_one_server(shared: FakeDaemon) -> None:
    held: dict[int, str] = {}
    clashes: list[str] = []

    def hold(_number: int) -> None:
        for _ in range(3):
            with carlad.lease(wait_s=30.0, ttl_s=10.0, endpoint=shared.endpoint) as server:
                if held.setdefault(server.rpc_port, server.lease_id) != server.lease_id:
                    clashes.append(server.lease_id)
                time.sleep(0.05)
                del held[server.rpc_port]

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []


def test_importing_the_client_brings_no_async_library_and_no_simulator() -> None:
    code = (
        "import sys, carlad; carlad.lease; print([m for m in ('trio', 'carla', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code]) == b"[]\n"


def test_a_lease_says_what_it_is(shared: FakeDaemon) -> None:
    with carlad.lease(endpoint=shared.endpoint) as server:
        assert isinstance(server, Lease)
        assert server.lease_id in repr(server)

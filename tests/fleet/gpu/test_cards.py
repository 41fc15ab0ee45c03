"""Looks at cards in a process that may hang or die, and servers that are started on cards."""

from __future__ import annotations

import json
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from carlad.config import RecycleSection
from carlad.errors import ServerError
from carlad.fleet import probe
from carlad.fleet.backends.seated import Seated
from carlad.fleet.gpu import cards as cards_module
from carlad.fleet.gpu.cards import Cards, NoCardsError
from carlad.fleet.gpu.devices import PciBus
from carlad.fleet.ports import Ports
from carlad.fleet.reach import Reach
from tests.fleet.gpu.dying_daemon import LOOK, seated
from tests.fleet.processes import REPOSITORY, is_running
from tests.fleet.scenario import PROBE, fake
from tests.ports import free_ports


@pytest.fixture
def machine(tmp_path, environ):
    """Cards as a test says: Vulkan's order as it is told, and as servers really use it."""

    def make(vulkan=(0, 1), draws_on=(0, 1), free_gib=(20, 10), frees_late=0) -> Cards:
        spec = tmp_path / "spec.json"
        told = {
            "vulkan": vulkan,
            "draws_on": draws_on,
            "free_gib": free_gib,
            "mark": f"CARLAD_TEST={environ['CARLAD_TEST']}",
            "frees_late": frees_late,
        }
        spec.write_text(json.dumps(told))
        return Cards(environ, (sys.executable, str(LOOK), str(spec)))

    return make


def run(scenario) -> None:
    async def bounded():
        with trio.fail_after(30):
            await scenario()

    trio.run(bounded)


def shell(script: str, environ) -> Cards:
    return Cards(environ, ("/bin/sh", "-c", script))


# --- looks


def test_a_machine_without_cards_says_why(environ):
    async def scenario():
        with pytest.raises(NoCardsError, match="NVMLError_LibraryNotFound"):
            await shell("echo 'NVMLError_LibraryNotFound: not found' >&2; exit 1", environ).devices()
        with pytest.raises(NoCardsError, match="NVML knows no card"):
            await shell("echo '[]'", environ).devices()
        with pytest.raises(NoCardsError, match="status -11"):
            await shell("kill -SEGV $$", environ).devices()

    run(scenario)


def test_the_real_look_ends_with_a_word_where_there_is_no_driver(environ):
    async def scenario():
        try:
            assert await Cards(environ).devices()
        except NoCardsError as error:
            assert "NVML" in str(error)  # noqa: PT017

    run(scenario)


def test_a_driver_that_hangs_is_given_up_and_not_asked_again_while_it_hangs(environ, monkeypatch):
    monkeypatch.setattr(cards_module, "_LOOK_MAX_S", 0.2)
    monkeypatch.setattr(cards_module, "_DIES_MAX_S", 0.1)
    monkeypatch.setattr("trio.Process.kill", lambda process: None)  # as inside a driver

    async def scenario():
        stuck = shell("exec sleep 3", environ)
        with pytest.raises(NoCardsError, match=r"has not answered for 0\.2 s"):
            await stuck.devices()
        with pytest.raises(NoCardsError, match="the driver hangs"):
            await stuck.devices()
        await stuck._stuck.wait()
        with pytest.raises(NoCardsError, match="has not answered"):
            await stuck.devices()
        await stuck._stuck.wait()

    run(scenario)


def test_where_vulkan_cannot_be_asked_the_buses_give_the_order(environ, machine):
    async def scenario():
        cards = machine()
        cards._look = (
            "/bin/sh",
            "-c",
            f'[ "$1" = cards ] && exec {" ".join(cards._look)} cards; exit 1',
            "-",
        )
        assert await cards.adapter(PciBus(0, 9, 0)) == 1
        assert await cards.adapter(PciBus(0, 99, 0)) is None

    run(scenario)


# --- servers


def arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def ready(backend: Seated, server, ports) -> None:
    await probe.check_start(Reach(ports), server.listener, "", PROBE)


def test_a_server_is_started_on_the_freest_card_by_vulkans_number_and_seen_there(tmp_path, environ, machine):
    async def scenario():
        backend = seated(machine(vulkan=(1, 0), draws_on=(1, 0)), environ, free_ports(12)[0])
        with backend.place(None) as ports:
            async with backend.running(ports, tmp_path / "run", tmp_path / "log", trio.Event()) as server:
                await ready(backend, server, ports)
                assert "-graphicsadapter=1" in arguments(
                    server.pid
                )  # Vulkan's second one is the first on the bus
        assert not is_running(server.pid)

    run(scenario)


def test_a_server_on_the_wrong_card_is_told_of_and_the_next_is_sent_right(tmp_path, environ, machine):
    async def scenario():
        backend = seated(machine(vulkan=(0, 1), draws_on=(1, 0)), environ, free_ports(12)[0])
        with backend.place(None) as ports:
            async with backend.running(ports, tmp_path / "one", tmp_path / "log", trio.Event()) as server:
                how = await server.ended()
                assert how == "draws on the card at 0000:09:00 instead of 0000:05:00, for Vulkan number 0"
                assert server.listener(ports) is None
        with backend.place(None) as ports:
            async with backend.running(ports, tmp_path / "two", tmp_path / "log", trio.Event()) as server:
                await ready(backend, server, ports)

    run(scenario)


@pytest.mark.parametrize(("frees_late", "is_freed"), [(3, True), (10_000, False)])
def test_an_end_is_over_when_the_cards_memory_is_free_again(
    tmp_path, environ, machine, monkeypatch, frees_late, is_freed
):
    if not is_freed:
        monkeypatch.setattr("carlad.fleet.backends.watched.FREED_MAX_S", 2.0)

    async def scenario():
        cards = machine(frees_late=frees_late)
        backend = seated(cards, environ, free_ports(12)[0])
        pids = []

        async def start_and_end():
            with backend.place(None) as ports:
                async with backend.running(ports, tmp_path / "run", tmp_path / "log", trio.Event()) as server:
                    await ready(backend, server, ports)
                    pids.append(server.pid)

        if is_freed:
            await start_and_end()
            assert not any(pids[0] in card.processes for card in await cards.devices())
        else:
            why = r"not free 2 s after its end: 3072 MiB of process {} on the card at 0000:05:00"
            with pytest.raises(ServerError) as caught:
                await start_and_end()
            assert why.format(pids[0]) in str(caught.value)
        assert not is_running(pids[0])

    run(scenario)


def test_a_server_that_is_taken_back_keeps_its_seat(tmp_path, environ, machine):
    async def scenario():
        cards, first = machine(), free_ports(12)[0]
        command = [sys.executable, "-m", "tests.fleet.gpu.dying_daemon", str(tmp_path), str(first)]
        done = await trio.run_process(command, check=False, cwd=REPOSITORY, env=environ)
        assert done.returncode == -signal.SIGKILL
        backend = seated(cards, environ, first, memory_mib=6 << 10)
        ports = Ports(first)
        found = await backend.find(ports, tmp_path / "run")
        room = partial(cards.seat, (), 15 << 30, lambda: ())  # 20 GiB, less 3 that are used and 3 to come
        with backend.place_again(ports):
            async with backend.adopted(found, ports, tmp_path / "run", trio.Event()) as server:
                await ready(backend, server, ports)
                with pytest.raises(ServerError, match="left for a server; left: 0: 14336 MiB"):
                    async with room():
                        pass
            async with room():
                pass

    run(scenario)


def test_what_servers_take_of_cards_is_seen_and_may_have_them_recycled(run_fleet, machine, monkeypatch):
    monkeypatch.setattr(cards_module, "_LOOK", machine()._look)
    monkeypatch.setattr("carlad.fleet.fleet._CARDS_AGAIN_S", 0.2)

    async def scenario(world):
        while not (vitals := world.fleet.vitals()) or vitals[0].gpu_memory_bytes != 3 << 30:  # noqa: ASYNC110
            await trio.sleep(0.02)
        await world.ready()
        assert await world.fleet.lease(0, "L1")
        await world.fleet.release(0, "L1", "given back")
        await world.until(lambda now: now.incarnation > 1)
        assert any(
            "3072 MiB of GPU memory; recycle.gpu_memory_max_mb is 3000" in reason for reason in stops(world)
        )

    def stops(world):
        return [reason or "" for reason in world.reasons("slot.stopping")]

    limits = RecycleSection(gpu_memory_max_mb=3000, period_s=0.2)
    run_fleet(scenario, launch=fake(run_fleet.environ, "-graphicsadapter=1"), recycle=limits)


def test_a_server_for_which_no_card_has_room_is_not_started(tmp_path, environ, machine):
    async def scenario():
        backend = seated(machine(), environ, free_ports(12)[0], memory_mib=30_000)
        with backend.place(None) as ports, pytest.raises(ServerError, match="30000 MiB, left for a server"):
            async with backend.running(ports, tmp_path / "run", tmp_path / "log", trio.Event()):
                pass
        assert not (tmp_path / "run").exists()

    run(scenario)


def test_without_cards_a_server_is_started_as_ever(tmp_path, environ):
    async def scenario():
        backend = seated(shell("exit 1", environ), environ, free_ports(12)[0])
        with backend.place(None) as ports:
            async with backend.running(ports, tmp_path / "run", tmp_path / "log", trio.Event()) as server:
                await ready(backend, server, ports)
                assert not any("graphicsadapter" in argument for argument in arguments(server.pid))

    run(scenario)

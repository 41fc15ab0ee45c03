from __future__ import annotations

import pytest

from carlad.config import DockerSection, FleetSection
from carlad.errors import ServerError
from carlad.fleet.backends.aim import Ticket, binary_aim, binary_chooses, docker_aim, docker_chooses
from carlad.fleet.backends.interface import Launch
from carlad.fleet.gpu.devices import MIB, PciBus, devices
from carlad.fleet.gpu.placement import Occupant, Seat, place, renders_on, room
from tests.fleet.gpu.fake_nvml import GIB, FakeNvml

BUS = [PciBus(0, 0x05, 0), PciBus(0, 0x09, 0)]


def cards(*free_gib: float, drawing=None, computing=None):
    nvml = FakeNvml([(0x05 + 4 * n, free) for n, free in enumerate(free_gib)], drawing, computing)
    found = devices(nvml)
    assert nvml.open == 0
    return found


def seated(card: int, need_gib: float, *pids: int) -> Occupant:
    return Occupant(Seat(BUS[card], f"GPU-{card}", int(need_gib * GIB)), frozenset(pids))


def test_cards_are_read_with_bus_memory_and_processes():
    first, second = cards(20.0, 7.5, drawing={1: {11: 3 * GIB, 12: None}}, computing={1: {11: GIB, 13: GIB}})
    assert (first.index, first.uuid, first.name, first.pci) == (0, "GPU-0", "Card 0", BUS[0])
    assert (second.free_bytes, second.total_bytes) == (int(7.5 * GIB), 24 * GIB)
    assert second.processes == {11: 3 * GIB, 12: 0, 13: GIB}
    assert second.used_by(frozenset({11, 12, 99})) == 3 * GIB


def test_a_bus_reads_alike_from_all_sources():
    assert PciBus.parse("00000000:0A:00.0") == PciBus.parse("0000:0a:00.0") == PciBus(0, 10, 0)
    assert str(PciBus(0, 10, 0)) == "0000:0a:00"


def test_the_card_with_most_room_is_taken_and_of_equal_ones_the_first():
    assert place(cards(10, 20), (), (), GIB).uuid == "GPU-1"
    assert place(cards(10, 10), (), (), GIB).uuid == "GPU-0"


def test_memory_is_promised_once_also_while_a_server_has_not_taken_it_yet():
    starting = seated(1, 3.5)
    assert place(cards(10, 12), (), [starting], GIB).uuid == "GPU-0"
    grown = cards(10, 8.5, drawing={1: {11: int(3.5 * GIB)}})
    assert room(grown[1], [seated(1, 3.5, 11)]) == int(8.5 * GIB)
    half = cards(10, 10.5, drawing={1: {11: int(1.5 * GIB)}})
    assert room(half[1], [seated(1, 3.5, 11)]) == int(8.5 * GIB)


def test_what_a_server_takes_beyond_its_promise_is_not_counted_twice():
    assert room(cards(4.0, drawing={0: {11: 9 * GIB}})[0], [seated(0, 3.5, 11)]) == 4 * GIB


def test_no_card_is_over_committed():
    with pytest.raises(ServerError, match=r"gpu\.memory_mib, 3584 MiB, left .* left: 0: 2048 MiB, 1: 3072"):
        place(cards(2, 10), (), [seated(1, 3.5), seated(1, 3.5)], int(3.5 * GIB))


@pytest.mark.parametrize("name", ["0", "GPU-0", "0000:05:00"])
def test_only_the_named_cards_are_used(name):
    assert place(cards(5, 20), (name,), (), GIB).uuid == "GPU-0"


def test_a_named_card_that_is_not_there_is_told():
    with pytest.raises(ServerError, match=r"gpu\.devices: none of 7, GPU-x is on this machine"):
        place(cards(5), ("7", "GPU-x"), (), GIB)


def test_a_server_renders_where_most_of_its_memory_is():
    mine = frozenset({11, 12})
    found = cards(9, 9, drawing={0: {11: 4 * MIB}, 1: {12: 3 * GIB, 99: 9 * GIB}})
    assert renders_on(found, mine, 64 * MIB) == found[1]
    assert renders_on(found, frozenset({11}), 64 * MIB) is None
    assert renders_on([], mine, 64 * MIB) is None


# --- how it is told to a server


def test_carla_is_told_by_vulkans_number():
    launch = Launch(("CarlaUE4.sh", "-nosound"), {}, "/")
    seat = Seat(BUS[1], "GPU-1", GIB)
    assert binary_aim(launch, Ticket(seat, 3)).argv == ("CarlaUE4.sh", "-nosound", "-graphicsadapter=3")
    assert binary_aim(launch, Ticket(seat, None)) == launch


def test_a_container_sees_its_card_only():
    launch = Launch(("docker", "run", "--rm", "--gpus=all", "image", "bash"), {}, "/")
    aimed = docker_aim(launch, Ticket(Seat(BUS[1], "GPU-1", GIB), 3))
    assert aimed.argv == ("docker", "run", "--gpus=device=GPU-1", "--rm", "image", "bash")


def test_an_operators_own_choice_is_left_alone():
    assert not binary_chooses(FleetSection())
    assert binary_chooses(FleetSection(extra_args=("-graphicsadapter=1",)))
    assert binary_chooses(FleetSection(rendering="none"))
    assert not docker_chooses(DockerSection())
    assert docker_chooses(DockerSection(gpus="device=1"))
    assert docker_chooses(DockerSection(gpus=""))

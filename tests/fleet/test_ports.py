from __future__ import annotations

import os
import socket

import pytest

from carlad.errors import ServerError
from carlad.fleet.ports import PortRegistry, Ports, listener_among
from tests.ports import free_ports


def free_range(blocks: int) -> tuple[int, int]:
    """First and last port of so many free blocks in a row."""
    ports = free_ports(4 * blocks)
    return ports[0], ports[-1]


def test_a_block_names_the_ports_that_carla_derives():
    ports = Ports(2000)
    assert (ports.rpc, ports.streaming, ports.traffic_manager) == (2000, 2001, 2003)


def test_blocks_are_handed_out_in_turn_and_rest_before_they_come_again():
    first, last = free_range(3)
    registry = PortRegistry(first, last)
    one = registry.take(previous=None)
    registry.give_back(one)
    two = registry.take(previous=one)
    registry.give_back(two)
    three = registry.take(previous=two)
    assert [one.rpc, two.rpc, three.rpc] == [first, first + 4, first + 8]
    assert registry.take(previous=three) == one


def test_an_incarnation_never_gets_the_block_of_the_one_before():
    first, last = free_range(2)
    registry = PortRegistry(first, last)
    one, _two = registry.take(previous=None), registry.take(previous=None)
    registry.give_back(one)
    with pytest.raises(
        ServerError, match=f"no free block of 4 ports in {first} to {last}: 2 blocks, 1 in use"
    ):
        registry.take(previous=one)


def test_where_there_is_one_block_alone_it_is_given_again():
    registry = PortRegistry(*free_range(1))
    only = registry.take(previous=None)
    registry.give_back(only)
    assert registry.take(previous=only) == only


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_block_with_a_busy_port_is_skipped(address, offset):
    first, last = free_range(2)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, first + offset), family=family, dualstack_ipv6=":" in address):
        assert PortRegistry(first, last).take(previous=None).rpc == first + 4


def test_ports_that_linger_after_a_connection_are_free():
    first, last = free_range(1)
    with (
        socket.create_server(("127.0.0.1", first)) as listener,
        socket.create_connection(("127.0.0.1", first)) as client,
    ):
        served, _address = listener.accept()
        served.close()  # the side that closes first keeps the port in TIME_WAIT
        assert client.recv(1) == b""
    assert PortRegistry(first, last).take(previous=None).rpc == first


def test_the_reason_says_how_many_blocks_others_hold():
    first, last = free_range(2)
    registry = PortRegistry(first, last)
    registry.take(previous=None)
    with (
        socket.create_server(("127.0.0.1", first + 4)),
        pytest.raises(ServerError, match=r"2 blocks, 1 in use by the fleet, 1 by others; widen fleet\.ports"),
    ):
        registry.take(previous=None)


def test_the_listener_is_found_among_our_processes_once_it_serves_streams_too():
    ports = Ports(free_ports(4)[0])
    assert listener_among([os.getpid()], ports) is None
    with socket.create_server(("127.0.0.1", ports.rpc)):
        assert listener_among([os.getpid()], ports) is None
        with socket.create_server(("0.0.0.0", ports.streaming)):
            assert listener_among([1, os.getpid()], ports) == os.getpid()


@pytest.mark.parametrize("offset", range(4))
def test_a_strangers_listener_on_any_port_of_the_block_is_named(offset):
    ports = Ports(free_ports(4)[0])
    port = ports.rpc + offset
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(
            ServerError, match=rf"port {port} belongs to process {os.getpid()} \(.+\), not to this"
        ),
    ):
        listener_among([], ports)

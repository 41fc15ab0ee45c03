"""Streams and connections as misbehaving peers see them, over real sockets."""

from __future__ import annotations

import select
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from carlad.standin.drain import DrainGauge, look_up
from carlad.standin.streams import QUEUE_BYTES_MAX, Streams
from carlad.wire import msgpackrpc
from carlad.wire import types as t
from carlad.wire.errors import CallError
from carlad.wire.sensors import read_world_snapshot
from carlad.wire.streaming import WORLD_STREAM, MessageReader, Token, subscription
from tests.standin.process import StandIn, eventually
from tests.standin.raw import RawClient, connected, raw_client, raw_subscriber, reset_on_close

SYNCHRONOUS = t.EpisodeSettings(synchronous_mode=True, fixed_delta_seconds=(True, 0.05))
ORIGIN = t.Transform(t.Vector3D(0.0, 0.0, 3.0), t.Rotation())


@pytest.fixture
def synchronous(server: StandIn) -> Iterator[RawClient]:
    """The server in synchronous mode, and asynchronous again afterwards."""
    with raw_client(server.rpc_port) as client:
        client.call("set_episode_settings", SYNCHRONOUS)
        yield client
        client.call("set_episode_settings", t.EpisodeSettings())


def sensor(client: RawClient, name: str = "sensor.other.imu", **attributes: str) -> t.Actor:
    values = [t.ActorAttributeValue(key, 4, value) for key, value in attributes.items()]
    actor: t.Actor = client.call("spawn_actor", t.ActorDescription(0, name, values), ORIGIN)
    return actor


def stream_of(actor: t.Actor) -> int:
    return Token.decode(actor.stream_token).stream_id


def camera(width: str) -> t.ActorDescription:
    return t.ActorDescription(0, "sensor.camera.rgb", [t.ActorAttributeValue("image_size_x", 2, width)])


# --- answers -----------------------------------------------------------------------------------------


def test_pipelined_calls_are_answered_in_order(server: StandIn, synchronous: RawClient) -> None:
    names = ["version", "tick_cue", "get_episode_info", "tick_cue", "no_such_call", "get_episode_settings"]
    sent = [synchronous.send(name) for name in names]
    received = [synchronous.receive() for _ in names]
    assert [response.msgid for response in received] == sent
    assert [response.error is not None for response in received] == [name == "no_such_call" for name in names]


def test_thousands_of_pipelined_ticks_are_all_carried_out(server: StandIn, synchronous: RawClient) -> None:
    first = synchronous.call("tick_cue")
    with raw_subscriber(server.streaming_port, WORLD_STREAM) as observer:
        for _ in range(3000):
            synchronous.send("tick_cue")
        frames = []
        for _ in range(3000):
            while _has_data(observer.sock):
                observer.payload()
            frames.append(msgpackrpc.result_of(synchronous.receive(), int))
    assert frames == list(range(first + 1, first + 3001))


def test_fire_and_forget_calls_are_answered_too(server: StandIn) -> None:
    with raw_client(server.rpc_port) as client:
        for name, arguments in (
            ("set_weather_parameters", (t.WeatherParameters(),)),
            ("freeze_all_traffic_lights", (False,)),
            ("enable_carsim", (1, "file")),
            ("destroy_traffic_manager", (8000,)),
        ):
            assert client.call(name, *arguments) is None


@pytest.mark.parametrize(
    ("call", "arguments", "words"),
    [
        (
            "set_actor_transform",
            (99999, ORIGIN),
            "from function set_actor_transform: Actor could not be found",
        ),
        ("apply_control_to_vehicle", (1, t.VehicleControl()), "Actor is not a Vehicle.  Actor Id: 1"),
        ("destroy_actor", (99999,), "unable to destroy actor: not found"),
        ("load_new_episode", ("Atlantis", True, 0), "Map 'Atlantis' not found"),
        ("copy_opendrive_to_file", ("<x/>", t.OpendriveGenerationParameters()), "opendrive could not be"),
        ("get_sensor_token", (4242,), "unable to find a stream with id 4242"),
        ("set_actor_location", (1, t.Vector3D(float("nan"))), "must be finite"),
        ("get_telemetry_data", (1,), "Actor is not a Vehicle.  Actor Id: 1"),
        ("set_ignored_vehicles", (1, []), "Actor does not match the expected type.  Actor Id: 1"),
        (
            "get_traffic_light_state",
            (),
            "could not find function 'get_traffic_light_state' with argument count",
        ),
        ("destroy_actor", ("one",), "unfit arguments"),
        ("destroy_actor", (-1,), "unfit arguments"),
        ("spawn_actor", (t.ActorDescription(0, "vehicle.ufo", []), ORIGIN), "invalid actor description"),
        ("spawn_actor", (camera("0"), ORIGIN), "invalid actor description: cannot make a camera of 0"),
        ("spawn_actor", (camera("99999"), ORIGIN), "invalid actor description: cannot render"),
    ],
)
def test_refusals_say_why(server: StandIn, call: str, arguments: tuple[object, ...], words: str) -> None:
    with raw_client(server.rpc_port) as client:
        client.send(call, *arguments)
        response = client.receive()
        with pytest.raises(CallError, match=words.replace("(", r"\(")):
            msgpackrpc.result_of(
                response, None if call.startswith(("set", "apply", "load", "copy")) else bool
            )
        assert client.call("version") == "0.9.16"


@pytest.mark.parametrize("garbage", [b"\xc1\xc1\xc1", b"GET / HTTP/1.1\r\n\r\n", b"\x94\x01\x02\x03\x04"])
def test_garbage_closes_that_connection_only(server: StandIn, garbage: bytes) -> None:
    with raw_client(server.rpc_port) as other, connected(server.rpc_port) as bad:
        assert other.call("version") == "0.9.16"
        bad.sendall(garbage)
        assert bad.recv(100) == b""
        assert other.call("version") == "0.9.16"


def test_a_client_that_vanishes_in_mid_message_is_forgotten(server: StandIn) -> None:
    with connected(server.rpc_port) as sock:
        sock.sendall(msgpackrpc.request(1, "version", ())[:-1])
        reset_on_close(sock)
    with raw_client(server.rpc_port) as client:
        assert client.call("version") == "0.9.16"


# --- streams -----------------------------------------------------------------------------------------


def test_passive_observer_needs_no_call(server: StandIn) -> None:
    with raw_subscriber(server.streaming_port, WORLD_STREAM) as observer:
        first, second = (read_world_snapshot(observer.payload()) for _ in range(2))
    assert second.frame == first.frame + 1
    assert len(first.actor_ids) > 1


def test_a_tick_waits_for_a_subscription_that_was_asked_for(server: StandIn, synchronous: RawClient) -> None:
    imu = sensor(synchronous)
    synchronous.call("get_sensor_token", stream_of(imu))
    tick = synchronous.send("tick_cue")
    with raw_subscriber(server.streaming_port, stream_of(imu)) as reader:
        response = synchronous.receive()
        assert response.msgid == tick
        frame = msgpackrpc.result_of(response, int)
        assert struct.unpack_from("<QQ", reader.payload()) == (5, frame)
    synchronous.call("destroy_actor", imu.id)


def test_a_tick_does_not_wait_for_ever_for_a_subscription(server: StandIn, synchronous: RawClient) -> None:
    imu = sensor(synchronous)
    synchronous.call("get_sensor_token", stream_of(imu))
    started = time.monotonic()
    synchronous.call("tick_cue")
    assert 0.08 < time.monotonic() - started < 3.0
    synchronous.call("destroy_actor", imu.id)


def test_a_tick_is_answered_only_when_its_readers_have_read(server: StandIn, synchronous: RawClient) -> None:
    synchronous.call("get_sensor_token", WORLD_STREAM)
    with raw_subscriber(server.streaming_port, WORLD_STREAM) as observer:
        for _ in range(3):
            tick = synchronous.send("tick_cue")
            synchronous.sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                synchronous.receive()
            synchronous.sock.settimeout(20.0)
            observer.payload()
            assert synchronous.receive().msgid == tick


def test_readers_that_stall_or_are_always_late_soon_delay_no_tick(
    server: StandIn, synchronous: RawClient
) -> None:
    with connected(server.streaming_port) as stalled, ExitStack() as stack:
        late = [stack.enter_context(raw_subscriber(server.streaming_port, WORLD_STREAM)) for _ in range(2)]
        stalled.sendall(subscription(WORLD_STREAM))
        waiting = [stalled, *(reader.sock for reader in late)]
        eventually(lambda: synchronous.call("tick_cue") > 0 and all(map(_has_data, waiting)))
        started = time.monotonic()
        for _ in range(50):
            synchronous.call("tick_cue")
            for reader in late:
                reader.payload()
        assert time.monotonic() - started < 5.0  # 50 x 0.25 s where each tick waited


def test_a_reader_too_far_behind_loses_whole_messages() -> None:
    bulk, last = bytes(QUEUE_BYTES_MAX // 20), 255
    with selectors.DefaultSelector() as selector, loopback_pair() as (reader, writer):
        streams, messages, numbers = Streams(2001, selector), MessageReader(), []

        def turn(expected: Callable[[], bool]) -> bool:
            for key, events in selector.select(0):
                key.data(events)
            with suppress(BlockingIOError):
                numbers.extend(payload[0] for payload in messages.receive(reader.recv(1 << 22)))
            return expected()

        streams.admit(writer.dup(), "127.0.0.1")
        reader.sendall(subscription(7))
        reader.setblocking(False)
        eventually(lambda: turn(lambda: streams.wanted(7)))
        for number in range(40):
            streams.publish(7, bytes([number]), bulk)
        eventually(lambda: turn(lambda: len(numbers) > 10))
        streams.publish(7, bytes([last]))
        eventually(lambda: turn(lambda: numbers[-1] == last))
        streams.close()
    kept = len(numbers) - 1
    assert numbers == [*range(kept), last]
    assert 18 <= kept < 30


def test_subscribers_come_and_go_in_hundreds(server: StandIn, synchronous: RawClient) -> None:
    with ExitStack() as stack:
        readers = [
            stack.enter_context(raw_subscriber(server.streaming_port, WORLD_STREAM)) for _ in range(200)
        ]
        stack.enter_context(connected(server.streaming_port))
        eventually(
            lambda: synchronous.call("tick_cue") > 0 and all(_has_data(reader.sock) for reader in readers)
        )
    assert synchronous.call("tick_cue") > 0


def test_a_destroyed_sensor_ends_its_stream(server: StandIn, synchronous: RawClient) -> None:
    imu = sensor(synchronous)
    with raw_subscriber(server.streaming_port, stream_of(imu)) as reader:
        synchronous.call("get_sensor_token", stream_of(imu))
        synchronous.call("tick_cue")
        reader.payload()
        synchronous.call("destroy_actor", imu.id)
        assert reader.sock.recv(10) == b""


def test_a_subscriber_that_talks_is_cut_off(server: StandIn) -> None:
    with connected(server.streaming_port) as sock:
        sock.sendall(b"\x01\0\0\0\xff")
        data = b"x"
        while data:
            data = sock.recv(1 << 16)


def test_traffic_managers_of_a_gone_client_are_forgotten(server: StandIn) -> None:
    with raw_client(server.rpc_port) as watcher:
        with raw_client(server.rpc_port) as owner:
            assert owner.call("add_traffic_manager_running", ("127.0.0.1", 8123)) is True
            assert watcher.call("add_traffic_manager_running", ("127.0.0.1", 8123)) is False
            assert watcher.call("get_traffic_manager_running", 8123) == ("127.0.0.1", 8123)
        eventually(lambda: not watcher.call("is_traffic_manager_running", 8123))
        assert watcher.call("get_traffic_manager_running", 8123) == ("", 0)


def test_late_questions_about_a_destroyed_actor_are_answered(server: StandIn) -> None:
    with raw_client(server.rpc_port) as client:
        imu = sensor(client)
        box = client.call("get_actor_bounding_box", imu.id)
        client.call("destroy_actor", imu.id)
        assert client.call("get_actor_bounding_box", imu.id) == box
        assert client.call("set_actor_simulate_physics", imu.id, True) is None
        assert client.call("get_actors_by_id", [imu.id, 1]) == client.call("get_actors_by_id", [1])


# --- the gauge ---------------------------------------------------------------------------------------


def test_gauge_tells_what_a_loopback_peer_has_not_read() -> None:
    gauge = DrainGauge()
    with loopback_pair() as (reader, writer):
        request = look_up(writer)
        assert gauge.unread(writer, 0, request) == 0
        writer.sendall(b"x" * 1000)
        assert gauge.unread(writer, 1000, request) == 1000
        reader.recv(300)
        assert gauge.unread(writer, 1000, request) == 700
        reader.recv(1000)
        assert gauge.unread(writer, 1000, request) == 0
        # What is announced as sent but has not arrived counts as unread too.
        assert gauge.unread(writer, 1400, request) == 400
    gauge.close()


def test_gauge_without_netlink_still_tells_what_is_on_the_way() -> None:
    gauge = DrainGauge()
    gauge.close()
    with loopback_pair() as (_reader, writer):
        writer.sendall(b"x")
        eventually(lambda: gauge.unread(writer, 1, look_up(writer)) == 0)


@contextmanager
def loopback_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        one = stack.enter_context(socket.create_connection(listener.getsockname()))
        yield one, stack.enter_context(listener.accept()[0])


def _has_data(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])

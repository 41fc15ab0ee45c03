"""Wrong types, counts and ids for every call, garbage, and clients that misbehave: the server answers on."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import carla
import msgpack
import psutil
import pytest

from carlad.wire.calls import BARE, CALLS
from carlad.wire.msgpackrpc import ResponseReader
from carlad.wire.sensors import read_header
from carlad.wire.streaming import Token, subscription
from carlad.wire.types import EpisodeSettings
from tests.standin import arguments
from tests.standin.process import StandIn, eventually, standin_process
from tests.standin.raw import connected, raw_client, raw_subscriber

ROUNDS = 25
UNKNOWN_IDS = (0, 999_999, 2**32 - 1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """What it is told to record goes where pytest tidies up."""
    with standin_process("--recordings", str(tmp_path_factory.mktemp("recordings"))) as running:
        yield running


@pytest.fixture(scope="module")
def ids(server: StandIn) -> list[int]:
    """Of one actor of each kind, and of none."""
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(10.0)
    world = client.get_world()
    library, points = world.get_blueprint_library(), world.get_map().get_spawn_points()
    car = world.spawn_actor(library.find("vehicle.tesla.model3"), points[0])
    walker = world.spawn_actor(library.find("walker.pedestrian.0001"), points[1])
    camera = library.find("sensor.camera.rgb")
    sensor = world.spawn_actor(camera, carla.Transform(), attach_to=car)
    world.wait_for_tick()
    signs = [actor.id for actor in world.get_actors().filter("traffic.*")]
    return [car.id, walker.id, sensor.id, world.get_spectator().id, signs[0], signs[-1], *UNKNOWN_IDS]


@pytest.fixture(autouse=True)
def sound(server: StandIn) -> Iterator[None]:
    """Whatever a test does, the server answers afterwards, and nothing went wrong inside."""
    before = len(server.stderr())
    yield
    assert server.process.poll() is None, server.stderr()[before:]
    with raw_client(server.rpc_port) as client:
        client.call("set_episode_settings", EpisodeSettings())
        assert client.call("version") == "0.9.16"
    assert "Traceback" not in server.stderr()[before:], server.stderr()[before:]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_answers_whatever_fits_its_types(server: StandIn, ids: list[int], name: str) -> None:
    chance = random.Random(name)
    asked = [arguments.of(name, chance, ids) for _ in range(ROUNDS if CALLS[name].arguments else 1)]
    assert len(list(answers(server, name, asked))) == len(asked)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_refuses_wrong_types_and_counts(server: StandIn, ids: list[int], name: str) -> None:
    chance = random.Random(name)
    fitting = arguments.of(name, chance, ids)
    asked: list[list[object]] = [[*fitting, 1], *([fitting[:-1]] if fitting else [])]
    for position in range(len(fitting)):
        for value in arguments.wrong(name, position):
            asked += [[*fitting[:position], value, *fitting[position + 1 :]]]
    for given, refused in zip(asked, answers(server, name, asked), strict=True):
        assert refused, f"{name} took {given}"


def test_what_one_client_sent_is_read_by_others(server: StandIn) -> None:
    """The official client reads all street lights when it connects, and ends on a number that is too wide."""
    lights = [[1, [0.0, 0.0, 0.0], 1.0, 2, [red, 0, 0], True] for red in (255, 256)]
    sent: list[list[object]] = [["", [light], False] for light in lights]
    assert list(answers(server, "update_lights_state", sent)) == [False, True]
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(10.0)
    world = client.get_world()
    assert world.get_lightmanager().get_all_lights()
    assert len(world.get_actors()) > 0


def answers(server: StandIn, name: str, asked: list[list[object]]) -> Iterator[bool]:
    """For each list of arguments whether the call was refused."""
    with connected(server.rpc_port) as sock:
        sock.settimeout(20.0)
        reader = ResponseReader()
        for msgid, given in enumerate(asked):
            sock.sendall(arguments.packed(msgid, name, given))
            found = []
            while not found:
                data = sock.recv(1 << 20)
                assert data, f"the connection was closed after {name}{given}"
                found = reader.receive(data)
            assert found[0].msgid == msgid
            yield arguments.is_error(found[0].error, None if name in BARE else found[0].result)


@pytest.mark.parametrize("seed", range(3))
def test_connections_survive_any_bytes(server: StandIn, seed: int) -> None:
    chance = random.Random(seed)
    for port in (server.rpc_port, server.streaming_port) * 20:
        with connected(port) as sock:
            sock.sendall(chance.randbytes(chance.randrange(1, 2000)))


def test_a_client_that_goes_in_mid_message_leaves_nothing(server: StandIn) -> None:
    process = psutil.Process(server.process.pid)
    before = process.num_fds()
    whole = arguments.packed(1, "get_actors_by_id", [list(range(1000))])
    for length in (1, 5, 20, len(whole) - 1):
        with connected(server.rpc_port) as sock:
            sock.sendall(whole[:length])
        with connected(server.streaming_port) as sock:
            sock.sendall(subscription(1)[:2])
    eventually(lambda: process.num_fds() <= before)


def test_200_streams_are_read_and_those_that_nobody_reads_hold_nobody_up(server: StandIn) -> None:
    process = psutil.Process(server.process.pid)
    before = process.num_fds()
    with ExitStack() as stack, raw_client(server.rpc_port) as client:
        deaf = [stack.enter_context(raw_subscriber(server.streaming_port, 1)) for _ in range(150)]
        assert deaf
        listeners = [stack.enter_context(raw_subscriber(server.streaming_port, 1)) for _ in range(50)]
        client.sock.settimeout(30.0)
        for listener in listeners:  # subscribed, once a frame of the asynchronous world came
            listener.payload()
        client.call("set_episode_settings", EpisodeSettings(synchronous_mode=True))
        frames = [client.call("tick_cue") for _ in range(20)]
        for listener in listeners:
            while (seen := read_header(listener.payload()).frame) < frames[0]:
                pass
            assert [seen, *(read_header(listener.payload()).frame for _ in frames[1:])] == frames
        client.call("set_episode_settings", EpisodeSettings())
    eventually(lambda: process.num_fds() <= before)


def test_an_unknown_call_is_refused_each_time_and_told_once(server: StandIn) -> None:
    with connected(server.rpc_port) as sock:
        reader, received = ResponseReader(), []
        for msgid in range(5):
            sock.sendall(msgpack.packb([0, msgid, "make_coffee", [[False]]]))
        while len(received) < 5:
            received += reader.receive(sock.recv(1 << 16))
    assert all("make_coffee" in str(answer.error) for answer in received)
    assert server.stderr().count("make_coffee") == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot read the OpenDRIVE text"),
        ("<OpenDRIVE>", "cannot read the OpenDRIVE text"),
        ("<svg/>", "its root is <svg>"),
        ("<OpenDRIVE/>", "cannot make a map"),
        ("<OpenDRIVE><road id='x' length='-5' junction='z'/></OpenDRIVE>", "cannot make a map"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><OpenDRIVE>&b;</OpenDRIVE>", "cannot"),
    ],
)
def test_a_map_that_is_none_is_refused_with_the_reason(server: StandIn, text: str, why: str) -> None:
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(30.0)
    with pytest.raises(RuntimeError, match=why):
        client.generate_opendrive_world(text, carla.OpendriveGenerationParameters())


def test_a_lane_that_leads_nowhere_after_a_few_metres_is_driven_to_its_end(server: StandIn) -> None:
    """CARLA's library crashes where it is asked for the end of a lane without a successor."""
    lane = '<lane id="-1" type="driving"><link>{}</link><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>'
    section = '<laneSection s="{}"><center><lane id="0" type="none"/></center><right>{}</right></laneSection>'
    sections = section.format(0, lane.format('<successor id="-1"/>'))
    sections += section.format(50, lane.format('<predecessor id="-1"/>'))
    plan = '<geometry s="0" x="0" y="0" hdg="0" length="60"><line/></geometry>'
    road = (
        f'<road id="1" length="60" junction="-1"><planView>{plan}</planView><lanes>{sections}</lanes></road>'
    )
    header = '<header revMajor="1" revMinor="4" name="" version="1" north="0" south="0" east="0" west="0"/>'
    client = carla.Client("127.0.0.1", server.rpc_port)
    client.set_timeout(30.0)
    world = client.generate_opendrive_world(
        f"<OpenDRIVE>{header}{road}</OpenDRIVE>", carla.OpendriveGenerationParameters()
    )
    assert len(world.get_map().get_topology()) == 1
    assert world.wait_for_tick().frame > 0


def test_a_stream_that_never_was_is_nobody_s(server: StandIn) -> None:
    with socket.create_connection(("127.0.0.1", server.streaming_port), 5.0) as sock:
        sock.sendall(subscription(4_000_000_000))
        with raw_client(server.rpc_port) as client:
            assert Token.decode(client.call("get_episode_info").token.token).stream_id == 1

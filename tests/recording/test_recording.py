import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from carlad.recording import Reader, Recorder, RecordingError
from carlad.telemetry import Actor, Control, Ego, Frame, Lane, Lanes
from tests.telemetry.watching import bundle_of, wait_until

LANES = Lanes(
    "Grid", [Lane(np.zeros((3, 2), np.float32), np.ones((2, 2), np.float32), "shoulder", "solid", "broken")]
)
FULL = bundle_of(
    7,
    ego=Ego(1.0, -2.0, 90.0, 8.5, lamps=["brake"]),
    control=Control(-0.25, 0.5, 0.0, reverse=True),
    actors=[Actor(12, "vehicle", 3.0, 4.0, 180.0, 2.3, 0.9)],
    route=[(1.0, 2.0), (3.0, 4.0)],
    reward_terms={"progress": 0.5},
    success_rate=0.5,
    note="server lost",
)
IMAGE = np.linspace(0, 255, 48 * 64).astype(np.uint8).reshape(48, 64)[..., None].repeat(3, axis=2)
CLOUD = np.random.default_rng(1).random((100, 5), np.float32)
MASKS = np.random.default_rng(2).integers(0, 2, (4, 32, 32), np.uint8)

KILLED = """
import sys, numpy
from pathlib import Path
from carlad.recording import Recorder
recorder = Recorder(Path(sys.argv[1]))
noise = numpy.random.default_rng(0).integers(0, 256, 100_000, numpy.uint8)
for number in range(10_000):
    recorder.arrays("/step", {"number": numpy.array(number), "noise": noise})
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drive.mcap"


def test_a_frame_is_read_as_it_was_recorded(path: Path) -> None:
    arrays = {"camera": IMAGE, "lidar": CLOUD, "bev": MASKS}
    with Recorder(path) as recorder:
        recorder.lanes(LANES)
        recorder.frame(Frame(FULL, arrays))
    with Reader(path) as reader:
        bundle, read = reader.frame(0)
        lanes = reader.lanes(0)
    assert bundle == FULL
    assert read.keys() == arrays.keys()
    assert (read["bev"] == MASKS).all()
    assert (read["lidar"] == CLOUD).all()
    assert np.abs(read["camera"].astype(int) - IMAGE).max() < 8  # JPEG
    assert lanes is not None
    assert lanes.map == "Grid"
    assert lanes.lanes[0][2:] == LANES.lanes[0][2:]


def test_numbers_that_are_none_are_read_as_such(path: Path) -> None:
    lost = msgspec.structs.replace(FULL, ego=Ego(float("nan"), 1.0, 0.0, float("inf")), success_rate=None)
    with Recorder(path) as recorder:
        recorder.frame(Frame(lost, {}))
    with Reader(path) as reader:
        ego = reader.frame(0).bundle.ego
    assert ego is not None
    assert (np.isnan(ego.x), ego.y, np.isnan(ego.speed_mps)) == (True, 1.0, True)


def test_arrays_of_a_trainer_are_read_exactly(path: Path) -> None:
    rng = np.random.default_rng(3)
    steps = [
        {
            "observation.state": rng.random(24, np.float32),
            "action": rng.random(2),
            "done": np.array(number == 4),
        }
        for number in range(5)
    ]
    with Recorder(path, {"run": "first"}) as recorder:
        for number, step in enumerate(steps):
            recorder.arrays("/step", step, at_ns=1000 + number)
            recorder.values("/step/numbers", {"reward": np.float32(0.5), "reason": None}, at_ns=1000 + number)
    with Reader(path) as reader:
        read = list(reader.arrays("/step"))
        values = list(reader.values("/step/numbers"))
        info = reader.info
    assert [at_ns for at_ns, _ in read] == [1000, 1001, 1002, 1003, 1004]
    for (_, one), other in zip(read, steps, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype
            assert one[name].shape == other[name].shape
            assert (one[name] == other[name]).all()
    assert values[0] == (1000, {"reward": 0.5, "reason": None})
    assert (info.metadata, info.is_complete) == ({"run": "first"}, True)
    assert [(topic.name, topic.schema, topic.messages) for topic in info.topics] == [
        ("/step", "carlad.Arrays", 5),
        ("/step/numbers", "", 5),
    ]


def test_a_map_is_found_for_the_frames_after_it(path: Path) -> None:
    with Recorder(path) as recorder:
        for name in ("Town01", "Town02"):
            recorder.lanes(Lanes(name, LANES.lanes))
            recorder.frame(Frame(bundle_of(1), {}))
            recorder.frame(Frame(bundle_of(2), {}))
    with Reader(path) as reader:
        maps = [lanes.map for number in range(4) if (lanes := reader.lanes(number))]
        assert reader.lanes(0) is reader.lanes(1)
    assert maps == ["Town01", "Town01", "Town02", "Town02"]


def test_a_recorder_that_is_killed_loses_the_chunk_it_was_filling_and_no_more(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        written = [int(process.stdout.readline()) for _ in range(55)][-1]
        process.send_signal(signal.SIGKILL)
        written += len(process.stdout.readlines())
    with Reader(path) as reader:
        numbers = [int(arrays["number"]) for _, arrays in reader.arrays("/step")]
        assert not reader.info.is_complete
    assert numbers == list(range(len(numbers)))
    assert written - numbers[-1] <= 12  # a chunk ends with the message that brings it to a mebibyte


def test_what_was_recorded_is_on_disk_after_a_second(path: Path) -> None:
    with Recorder(path) as recorder:

        def is_there() -> bool:
            recorder.frame(Frame(bundle_of(1), {}))
            time.sleep(0.05)
            with Reader(path) as reader:
                return len(reader.frame_times_ns) > 0

        wait_until(is_there, within_s=30)


@pytest.mark.parametrize("cut", [10, 100, 1000])
def test_a_file_whose_end_is_missing_is_read_up_to_there(path: Path, cut: int) -> None:
    with Recorder(path) as recorder:
        for tick in range(5):
            recorder.frame(Frame(bundle_of(tick), {"camera": IMAGE}))
            recorder.flush()
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Reader(path) as reader:
        ticks = [reader.frame(number).bundle.tick for number in range(len(reader.frame_times_ns))]
        assert not reader.info.is_complete
    assert ticks == list(range(5))


# Of a chunk's record: its data; the length that it says its data have; how large it says they are unpacked.
@pytest.mark.parametrize(
    ("place", "damage"),
    [(60, bytes(30)), (45, b"\xff" * 8), (45, (1 << 45).to_bytes(8, "little")), (25, b"\xff" * 8)],
)
def test_a_damaged_chunk_is_a_clear_error_and_the_others_are_read(
    path: Path, place: int, damage: bytes
) -> None:
    with Recorder(path) as recorder:
        recorder.frame(Frame(bundle_of(0), {}))
        recorder.flush()
        begin = path.stat().st_size
        recorder.frame(Frame(bundle_of(1), {}))
        recorder.flush()
        end = path.stat().st_size
    data = bytearray(path.read_bytes())
    data[begin + place : begin + place + len(damage)] = damage
    assert begin + place + len(damage) < end
    path.write_bytes(data)
    with Reader(path) as reader:
        assert reader.frame(0).bundle.tick == 0
        with pytest.raises(RecordingError, match=r"cannot read frame 1 of .*: the file is damaged"):
            reader.frame(1)


@pytest.mark.parametrize("content", [b"", b"hello", os.urandom(1000)])
def test_what_is_no_recording_is_a_clear_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="it is no MCAP recording"):
        Reader(path)


def test_a_file_that_is_there_is_not_overwritten(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(RecordingError, match="it is there already"):
        Recorder(path)
    assert path.read_text() == "precious"


def test_a_recording_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(RecordingError, match=r"cannot record to /nowhere/a\.mcap: No such file"):
        Recorder(Path("/nowhere/a.mcap"))


def test_a_topic_that_is_not_there_is_a_clear_error(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.values("/numbers", {"a": 1})
    with Reader(path) as reader, pytest.raises(RecordingError, match="its topics are /numbers"):
        list(reader.messages("/step"))


def test_the_schemas_are_foxgloves_and_describe_their_messages(path: Path) -> None:
    """Read with the file's own schemas alone, as Foxglove does."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from mcap.reader import make_reader

    with Recorder(path) as recorder:
        recorder.frame(Frame(FULL, {"camera": IMAGE, "lidar": CLOUD, "bev": MASKS}))
    read = {}
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            if channel.message_encoding == "json":
                assert msgspec.json.decode(schema.data)["type"] == "object"
                continue
            pool = descriptor_pool.DescriptorPool()
            for described in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
                pool.Add(described)
            kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
            read[channel.topic] = kind.FromString(message.data)
    assert read["/image/camera"].format == "jpeg"
    assert [field.name for field in read["/lidar"].fields] == ["x", "y", "z", "intensity", "tag"]
    assert {entity.id for entity in read["/scene"].entities} == {"ego", "12", "route"}
    cube = next(entity for entity in read["/scene"].entities if entity.id == "12").cubes[0]
    assert (cube.pose.position.x, cube.pose.position.y) == (3.0, -4.0)  # right-handed
    assert read["/tf"].child_frame_id == "ego"

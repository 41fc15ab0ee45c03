"""Reads recordings, those too whose recorder was killed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from mcap.records import Message

from carlad.recording import foxglove, schemas
from carlad.recording.errors import RecordingError
from carlad.recording.index import DAMAGES, ChunkRef, Index, load, read_index
from carlad.recording.recorder import ARRAYS_TOPIC, BUNDLE_TOPIC, IMAGE_PREFIX, LANES_TOPIC, LIDAR_TOPIC
from carlad.telemetry.bundle import LIDAR, Array, Bundle, Frame, Lanes
from carlad.telemetry.codec import decode_lanes

_CHUNKS_KEPT = 4  # decompressed: replays step back and forth among neighbours


class Topic(NamedTuple):
    name: str
    schema: str
    encoding: str
    messages: int


class Info(NamedTuple):
    """What is in a recording. Times are nanoseconds of the system clock; a recorder that was killed leaves a
    file that is not complete."""

    start_ns: int
    end_ns: int
    is_complete: bool
    size_bytes: int
    topics: list[Topic]
    metadata: Mapping[str, str]

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


class Reader:
    """A recording. Frames are numbered from 0. Not thread-safe; close it, or use it in a `with`.

    Raises RecordingError for what is no recording, and where a part of it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from error
        try:
            self._index: Index = read_index(self._file)
        except DAMAGES as error:
            self._file.close()
            raise RecordingError(f"cannot read {path}: it is no MCAP recording ({_words(error)})") from error
        self._loaded: dict[int, dict[int, list[Message]]] = {}  # messages by time, of a chunk by its offset
        self._frames = self._times(BUNDLE_TOPIC)
        self._maps = self._times(LANES_TOPIC)
        self._lanes: dict[int, Lanes] = {}

    @property
    def info(self) -> Info:
        index, counts = self._index, defaultdict[int, int](int)
        for chunk in index.chunks:
            for channel, times in chunk.times.items():
                counts[channel] += len(times)
        topics = [
            Topic(channel.topic, index.schema_name(channel), channel.message_encoding, counts[number])
            for number, channel in index.channels.items()
        ]
        return Info(
            start_ns=min((chunk.start_ns for chunk in index.chunks), default=0),
            end_ns=max((chunk.end_ns for chunk in index.chunks), default=0),
            is_complete=index.is_complete,
            size_bytes=self.path.stat().st_size,
            topics=sorted(topics),
            metadata=index.metadata,
        )

    @property
    def frame_times_ns(self) -> list[int]:
        """When each frame was recorded, ascending."""
        return [at_ns for at_ns, _ in self._frames]

    def frame(self, number: int) -> Frame:
        """A frame as it was recorded, but for what JPEG costs an image."""
        at_ns, chunk = self._frames[number]
        bundle: Bundle | None = None
        arrays: dict[str, Array] = {}
        try:
            for message in self._messages_at(chunk, at_ns):
                topic = self._index.channels[message.channel_id].topic
                if topic == BUNDLE_TOPIC:
                    bundle = _bundle(message.data)
                elif topic == ARRAYS_TOPIC:
                    arrays |= schemas.unpack(message.data)
                elif topic == LIDAR_TOPIC:
                    arrays[LIDAR] = foxglove.points(schemas.parsed(PointCloud, message.data))
                elif topic.startswith(IMAGE_PREFIX):
                    image = foxglove.picture(schemas.parsed(CompressedImage, message.data))
                    arrays[topic.removeprefix(IMAGE_PREFIX)] = image
        except DAMAGES as error:
            raise self._damaged(f"frame {number}", error) from error
        if bundle is None:
            raise self._damaged(f"frame {number}", ValueError("its numbers are missing"))
        return Frame(bundle, arrays)

    def lanes(self, number: int) -> Lanes | None:
        """The map that was there at a frame, the same object while it stays the same."""
        at_ns = self._frames[number][0]
        known = [entry for entry in self._maps if entry[0] <= at_ns] or self._maps[:1]
        if not known:
            return None
        map_ns, chunk = known[-1]
        if map_ns not in self._lanes:
            try:
                self._lanes[map_ns] = self._read_lanes(chunk, map_ns)
            except DAMAGES as error:
                raise self._damaged("the map", error) from error
        return self._lanes[map_ns]

    def arrays(self, topic: str) -> Iterator[tuple[int, dict[str, Array]]]:
        """Time and arrays of each message of a topic of arrays."""
        for at_ns, data in self.messages(topic):
            yield at_ns, schemas.unpack(data)

    def values(self, topic: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Time and values of each message of a topic of JSON."""
        for at_ns, data in self.messages(topic):
            yield at_ns, msgspec.json.decode(data)

    def messages(self, topic: str) -> Iterator[tuple[int, bytes]]:
        """Time and bytes of each message of a topic, in the order of their times.

        Raises RecordingError for a topic that is not there.
        """
        numbers = {number for number, channel in self._index.channels.items() if channel.topic == topic}
        if not numbers:
            there = ", ".join(sorted(channel.topic for channel in self._index.channels.values())) or "none"
            raise RecordingError(f"cannot read {topic} of {self.path}: its topics are {there}")
        for chunk in self._index.chunks:
            if not numbers & chunk.times.keys():
                continue
            try:
                by_time = self._messages_of(chunk)
            except DAMAGES as error:
                raise self._damaged(f"{topic} at byte {chunk.offset}", error) from error
            for at_ns in sorted(by_time):
                for message in by_time[at_ns]:
                    if message.channel_id in numbers:
                        yield at_ns, message.data

    def close(self) -> None:
        """May be called again."""
        self._file.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _times(self, topic: str) -> list[tuple[int, ChunkRef]]:
        """When there were messages of a topic, and in which chunks they are."""
        numbers = {number for number, channel in self._index.channels.items() if channel.topic == topic}
        return sorted(
            (
                (at_ns, chunk)
                for chunk in self._index.chunks
                for number in numbers & chunk.times.keys()
                for at_ns in chunk.times[number]
            ),
            key=lambda entry: entry[0],
        )

    def _messages_at(self, chunk: ChunkRef, at_ns: int) -> list[Message]:
        return self._messages_of(chunk).get(at_ns, [])

    def _messages_of(self, chunk: ChunkRef) -> dict[int, list[Message]]:
        if chunk.offset not in self._loaded:
            by_time = defaultdict[int, list[Message]](list)
            for message in load(self._file, chunk):
                by_time[message.log_time].append(message)
            while len(self._loaded) >= _CHUNKS_KEPT:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[chunk.offset] = by_time
        return self._loaded[chunk.offset]

    def _read_lanes(self, chunk: ChunkRef, at_ns: int) -> Lanes:
        for message in self._messages_at(chunk, at_ns):
            if self._index.channels[message.channel_id].topic == LANES_TOPIC:
                (encoded,) = schemas.unpack(message.data).values()
                return decode_lanes(encoded.astype(np.uint8).tobytes())
        raise ValueError("its lanes are missing")

    def _damaged(self, what: str, error: Exception) -> RecordingError:
        return RecordingError(f"cannot read {what} of {self.path}: the file is damaged ({_words(error)})")


def _bundle(data: bytes) -> Bundle:
    """JSON knows no NaN and no infinity, which a diverged simulation may have: they came as null."""
    try:
        return msgspec.json.decode(data, type=Bundle)
    except msgspec.ValidationError:
        return msgspec.convert(_with_nan(msgspec.json.decode(data)), Bundle)


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return float("nan") if value is None else value


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

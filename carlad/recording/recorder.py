"""Writes recordings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from mcap.writer import CompressionType, Writer

from carlad.recording import foxglove, schemas
from carlad.recording.errors import RecordingError
from carlad.recording.schemas import Schema
from carlad.telemetry.bundle import LIDAR, Array, Bundle, Frame, Lanes
from carlad.telemetry.codec import encode_lanes
from carlad.telemetry.jpeg import is_image

BUNDLE_TOPIC, ARRAYS_TOPIC, LIDAR_TOPIC = "/bundle", "/arrays", "/lidar"
IMAGE_PREFIX = "/image/"
LANES_TOPIC = "/lanes"
_SCENE_TOPIC, _ROADS_TOPIC, _POSE_TOPIC = "/scene", "/scene/lanes", "/tf"
_LIBRARY = "carlad"
_METADATA = "carlad"
_CHUNK_BYTES = 1 << 20  # what a kill loses at most
_CHUNK_S = 1.0

Values = msgspec.Struct | Mapping[str, Any]


class Recorder:
    """A new recording. Not thread-safe; close it, or use it in a `with`.

    Times are nanoseconds of the system clock; where none is given it is now, and later than the message
    before. What is written within one call has one time and lies in one chunk. Raises RecordingError where
    the file exists already, or cannot be written.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """`metadata`: what a reader should know about it, such as the run's name."""
        self.path = path
        self.messages = 0
        self._channels: dict[str, tuple[int, Schema]] = {}
        self._schemas: dict[Schema, int] = {}
        self._at_ns = 0
        self._chunk_bytes = 0
        self._chunk_since_s = time.monotonic()
        try:
            self._file = path.open("xb")
        except FileExistsError as error:
            why = "it is there already; choose another name"
            raise RecordingError(f"cannot record to {path}: {why}") from error
        except OSError as error:
            raise RecordingError(f"cannot record to {path}: {error.strerror}") from error
        # Chunks end where we say so, between two calls.
        self._writer = Writer(self._file, chunk_size=1 << 40, compression=CompressionType.ZSTD)
        self._writer.start(library=_LIBRARY)
        if metadata:
            self._writer.add_metadata(_METADATA, dict(metadata))
        self.flush()

    def frame(self, frame: Frame, at_ns: int | None = None) -> None:
        """Write a frame bundle: images, cloud and boxes for Foxglove, and the rest as it is."""
        bundle, at_ns = frame.bundle, self._time(at_ns)
        others = []
        for channel, array in frame.arrays.items():
            if is_image(array):
                data = foxglove.image(array, channel, at_ns)
                self._write(IMAGE_PREFIX + channel, schemas.of_message(CompressedImage), data, at_ns)
            elif channel == LIDAR and array.dtype == np.float32 and array.ndim == 2:
                self._write(LIDAR_TOPIC, schemas.of_message(PointCloud), foxglove.cloud(array, at_ns), at_ns)
            else:
                others.append((channel, array))
        if others:
            self._write_arrays(ARRAYS_TOPIC, others, at_ns)
        if bundle.ego is not None:
            data = foxglove.transform(bundle.ego, at_ns)
            self._write(_POSE_TOPIC, schemas.of_message(FrameTransform), data, at_ns)
            self._write(_SCENE_TOPIC, schemas.of_message(SceneUpdate), foxglove.scene(bundle, at_ns), at_ns)
        self._write(BUNDLE_TOPIC, schemas.of_struct(Bundle), _json(bundle), at_ns)
        self._end()

    def lanes(self, lanes: Lanes, at_ns: int | None = None) -> None:
        """Write a map's geometry: for replays, and as lines for Foxglove."""
        at_ns = self._time(at_ns)
        message = np.frombuffer(encode_lanes(lanes), np.uint8)
        self._write_arrays(LANES_TOPIC, [(lanes.map, message)], at_ns)
        data = foxglove.roads(lanes, at_ns)
        self._write(_ROADS_TOPIC, schemas.of_message(SceneUpdate), data, at_ns)
        self._end()

    def arrays(self, topic: str, arrays: Mapping[str, Array], at_ns: int | None = None) -> None:
        """Write arrays of one time, exactly. Raises ValueError for other dtypes than numbers and bool."""
        self._write_arrays(topic, arrays.items(), self._time(at_ns))
        self._end()

    def values(self, topic: str, values: Values, at_ns: int | None = None) -> None:
        """Write numbers and texts as JSON. A topic is of one Struct, or of mappings."""
        schema = schemas.of_struct(type(values)) if isinstance(values, msgspec.Struct) else schemas.ANY_JSON
        self._write(topic, schema, _json(values), self._time(at_ns))
        self._end()

    def flush(self) -> None:
        """End the chunk: what was written until now is in the file."""
        self._chunk_bytes = 0
        with self._told():
            self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Write what is left, and the index. May be called again."""
        if self._file.closed:
            return
        with self._told():
            try:
                self._writer.finish()  # type: ignore[no-untyped-call]
            finally:
                self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _time(self, at_ns: int | None) -> int:
        self._at_ns = at_ns if at_ns is not None else max(time.time_ns(), self._at_ns + 1)
        return self._at_ns

    def _write_arrays(self, topic: str, arrays: Iterable[tuple[str, Array]], at_ns: int) -> None:
        self._write(topic, schemas.of_message(schemas.Arrays), schemas.pack(at_ns, arrays), at_ns)

    def _write(self, topic: str, schema: Schema, data: bytes, at_ns: int) -> None:
        channel, known = self._channels.get(topic) or self._register(topic, schema)
        if known.name != schema.name:
            raise ValueError(f"cannot record {schema.name or 'a mapping'} on {topic}: it is of {known.name}")
        if not self._chunk_bytes:
            self._chunk_since_s = time.monotonic()
        self._writer.add_message(channel, at_ns, data, at_ns, self.messages)
        self._chunk_bytes += len(data)
        self.messages += 1

    def _register(self, topic: str, schema: Schema) -> tuple[int, Schema]:
        if schema not in self._schemas:
            named = schema.encoding != ""
            self._schemas[schema] = self._writer.register_schema(*schema[:3]) if named else 0
        number = self._writer.register_channel(topic, schema.message_encoding, self._schemas[schema])
        self._channels[topic] = number, schema
        return self._channels[topic]

    def _end(self) -> None:
        """End the chunk if it is large or old."""
        if self._chunk_bytes >= _CHUNK_BYTES or time.monotonic() - self._chunk_since_s >= _CHUNK_S:
            self.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(f"cannot record to {self.path}: {error.strerror}") from error


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot record a {type(value).__name__}")

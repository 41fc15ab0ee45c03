"""Where the chunks of an MCAP file are: from its summary, or by going through it where it has none."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Message, MessageIndex, Metadata, Schema
from mcap.stream_reader import MAGIC_SIZE, StreamReader, breakup_chunk, read_magic
from mcap.summary import Summary

_RECORD_BYTES_MAX = 1 << 30
_RECORD_HEAD_BYTES = 9  # opcode and length
DAMAGES = (
    McapError,
    zstandard.ZstdError,
    ValueError,
    KeyError,
    struct.error,
    OSError,
    EOFError,
    MemoryError,  # a length that is damaged asks for more than there is
    OverflowError,
)


@dataclass(frozen=True)
class ChunkRef:
    """A chunk: where its record begins, and when its messages were written, by channel."""

    offset: int
    start_ns: int
    end_ns: int
    times: dict[int, list[int]]


@dataclass
class Index:
    is_complete: bool
    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    chunks: list[ChunkRef] = field(default_factory=list)

    def schema_name(self, channel: Channel) -> str:
        schema = self.schemas.get(channel.schema_id)
        return schema.name if schema is not None else ""


def read_index(file: IO[bytes]) -> Index:
    """Raises one of DAMAGES for what is no MCAP file."""
    read_magic(ReadDataStream(file))
    file.seek(0)
    try:
        reader = SeekingReader(file)
        summary = reader.get_summary()
        if summary is not None and (summary.chunk_indexes or not summary.channels):
            return _of_summary(file, reader, summary)
    except DAMAGES:
        pass  # its recorder was killed, or its end was cut off
    return _gone_through(file)


def load(file: IO[bytes], chunk: ChunkRef) -> list[Message]:
    """A chunk's messages, verified by its checksum. Raises as `read_index`."""
    file.seek(chunk.offset + _RECORD_HEAD_BYTES)
    record = Chunk.read(ReadDataStream(file))
    return [part for part in breakup_chunk(record, validate_crc=True) if isinstance(part, Message)]


def _of_summary(file: IO[bytes], reader: SeekingReader, summary: Summary) -> Index:
    index = Index(True, summary.channels, summary.schemas)
    for metadata in reader.iter_metadata():
        index.metadata |= metadata.metadata
    for chunk in summary.chunk_indexes:
        times = {}
        for channel, offset in chunk.message_index_offsets.items():
            file.seek(offset + _RECORD_HEAD_BYTES)
            times[channel] = _times(MessageIndex.read(ReadDataStream(file)))
        index.chunks.append(
            ChunkRef(chunk.chunk_start_offset, chunk.message_start_time, chunk.message_end_time, times)
        )
    index.chunks.sort(key=lambda chunk: chunk.start_ns)
    return index


def _gone_through(file: IO[bytes]) -> Index:
    """What is whole, up to where the file breaks off."""
    index = Index(False)
    file.seek(MAGIC_SIZE)
    with suppress(*DAMAGES):
        _go_through(file, index)
    return index


def _go_through(file: IO[bytes], index: Index) -> None:
    at = MAGIC_SIZE
    stream = StreamReader(file, skip_magic=True, emit_chunks=True, record_size_limit=_RECORD_BYTES_MAX)
    for record in stream.records:
        if isinstance(record, Chunk):
            times: dict[int, list[int]] = {}
            for part in breakup_chunk(record, validate_crc=True):
                if isinstance(part, Message):
                    times.setdefault(part.channel_id, []).append(part.log_time)
                elif isinstance(part, Channel):
                    index.channels[part.id] = part
                elif isinstance(part, Schema):
                    index.schemas[part.id] = part
            index.chunks.append(ChunkRef(at, record.message_start_time, record.message_end_time, times))
        elif isinstance(record, Metadata):
            index.metadata |= record.metadata
        at = file.tell()


def _times(index: MessageIndex) -> list[int]:
    return [log_time for log_time, _offset in index.records]

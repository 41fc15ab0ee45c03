"""The schemas of what is in a recording, so that the file explains itself to any program.

Foxglove's (protobuf, from its own package) where they exist. Arrays of any kind are `carlad.Arrays`, protobuf
too; numbers and texts are JSON with a schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from carlad.telemetry.bundle import Array

JSON, PROTOBUF = "json", "protobuf"  # message encodings, as MCAP's registry calls them
DTYPES = {"bool"} | {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
DTYPES |= {f"float{bits}" for bits in (16, 32, 64)}

_Field = descriptor_pb2.FieldDescriptorProto


class Schema(NamedTuple):
    """As MCAP writes it down. `encoding` is empty where there is none."""

    name: str
    encoding: str
    data: bytes
    message_encoding: str


@lru_cache
def of_message(kind: type[Message]) -> Schema:
    """Of a protobuf message."""
    files: dict[str, FileDescriptor] = {}
    _collect(kind.DESCRIPTOR.file, files)
    described = descriptor_pb2.FileDescriptorSet(file=[_proto(file) for file in files.values()])
    return Schema(kind.DESCRIPTOR.full_name, "protobuf", described.SerializeToString(), PROTOBUF)


@lru_cache
def of_struct(kind: type[msgspec.Struct]) -> Schema:
    """Of a Struct that is written as JSON."""
    schema = msgspec.json.schema(kind)
    definitions = schema["$defs"]
    root = definitions[schema["$ref"].rpartition("/")[2]] | {"$defs": definitions}
    data = msgspec.json.encode(_without_tuples(root))
    return Schema(f"carlad.{kind.__name__}", "jsonschema", data, JSON)


ANY_JSON = Schema("", "", b"", JSON)


def pack(at_ns: int, arrays: Iterable[tuple[str, Array]]) -> bytes:
    """The bytes of a `carlad.Arrays`. Raises ValueError for a dtype that has no plain bytes."""
    message = Arrays()
    message.timestamp.FromNanoseconds(at_ns)
    for name, array in arrays:
        if array.dtype.name not in DTYPES:
            raise ValueError(f"cannot record {name!r} of {array.dtype}: numbers and bool only")
        added = message.arrays.add()
        added.name, added.dtype, added.data = name, array.dtype.name, array.tobytes()
        added.shape.extend(array.shape)
    data: bytes = message.SerializeToString()
    return data


def unpack(data: bytes) -> dict[str, Array]:
    """The arrays of a `carlad.Arrays`; read-only. Raises ValueError for anything malformed."""
    message = parsed(Arrays, data)
    return {a.name: _array(a.dtype, tuple(a.shape), a.data) for a in message.arrays}


def parsed(kind: type[Any], data: bytes) -> Any:
    """Raises ValueError for anything malformed."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise ValueError(f"cannot read a {kind.DESCRIPTOR.full_name}: {error}") from error


def _array(dtype: str, shape: tuple[int, ...], data: bytes) -> Array:
    if dtype not in DTYPES:
        raise ValueError(f"cannot read an array of {dtype!r}")
    return np.frombuffer(data, dtype).reshape(shape)


def _collect(file: FileDescriptor, files: dict[str, FileDescriptor]) -> None:
    for needed in file.dependencies:
        _collect(needed, files)
    files[file.name] = file


def _proto(file: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


def _without_tuples(schema: Any) -> Any:
    """Foxglove knows arrays of one kind only, so a pair of numbers is an array of numbers."""
    if isinstance(schema, list):
        return [_without_tuples(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "prefixItems" in schema:
        return {"type": "array", "items": _without_tuples(schema["prefixItems"][0])}
    return {key: _without_tuples(value) for key, value in schema.items()}


def _arrays_class() -> Any:
    """The class of `carlad.Arrays`: named arrays at one time, rows first, little-endian."""
    file = descriptor_pb2.FileDescriptorProto(
        name="carlad/arrays.proto", package="carlad", syntax="proto3", dependency=[_TIMESTAMP.name]
    )
    array = file.message_type.add(name="Array")
    for number, (name, kind, label) in enumerate(
        [
            ("name", _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
            ("dtype", _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
            ("shape", _Field.TYPE_UINT32, _Field.LABEL_REPEATED),
            ("data", _Field.TYPE_BYTES, _Field.LABEL_OPTIONAL),
        ],
        start=1,
    ):
        array.field.add(name=name, number=number, type=kind, label=label)
    arrays = file.message_type.add(name="Arrays")
    for number, (name, type_name, label) in enumerate(
        [
            ("timestamp", ".google.protobuf.Timestamp", _Field.LABEL_OPTIONAL),
            ("arrays", ".carlad.Array", _Field.LABEL_REPEATED),
        ],
        start=1,
    ):
        arrays.field.add(name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=type_name, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_proto(_TIMESTAMP))
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("carlad.Arrays"))


_TIMESTAMP: FileDescriptor = timestamp_pb2.DESCRIPTOR
Arrays = _arrays_class()

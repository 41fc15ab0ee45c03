"""The step protocol between a session's client and its env host: one request, then one reply.

A message is several ZeroMQ frames: the first is msgpack (a tagged Struct and one header for each array), the
others are the arrays' raw bytes in the headers' order. An observation or action that is one array has the
name ""; the arrays of a Dict space go by their keys. Nothing is pickled, so neither side trusts the other.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

VERSION = 1

Array = NDArray[Any]
Arrays = Mapping[str, Array]
MessageT = TypeVar("MessageT")

_DTYPES = {name: np.dtype(name) for name in ("bool", "uint8", "int32", "int64", "float32", "float64")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}  # in this machine's byte order only


class ProtocolError(ValueError):
    """A message that is not one of this protocol; says what is wrong with it."""


class FailureKind(enum.Enum):
    """Whose fault a failed request was."""

    SIMULATOR_LOST = "simulator lost"
    """The server does not answer: the session is over, and a new one needs another server."""
    ENVIRONMENT_ERROR = "environment error"
    """The environment raised something else: a defect in its code or its configuration."""
    BAD_REQUEST = "bad request"
    """The request was refused and changed nothing; the session goes on."""


class Box(msgspec.Struct, frozen=True, tag="box"):
    """A box of numbers; `low` and `high` hold one number for all elements or one for each (flat, C order)."""

    low: list[float]
    high: list[float]
    shape: list[int]
    dtype: str


class Discrete(msgspec.Struct, frozen=True, tag="discrete"):
    """The integers start, ..., start + n - 1."""

    n: int
    start: int = 0


class DictOf(msgspec.Struct, frozen=True, tag="dict"):
    """Several boxes by name."""

    spaces: dict[str, Box]


Space = Union[Box, Discrete, DictOf]  # noqa: UP007 - msgspec reads it at run time on Python 3.10


class Attach(msgspec.Struct, frozen=True, kw_only=True, tag="attach"):
    """Create the environment with `config` as its keyword arguments and connect it to a CARLA server."""

    version: int = VERSION
    host: str
    rpc_port: int
    traffic_manager_port: int
    map: str | None = None
    config: dict[str, Any] = {}


class Reset(msgspec.Struct, frozen=True, tag="reset"):
    """Begin an episode; may come in the middle of one."""

    seed: int | None = None
    options: dict[str, Any] = {}


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Take the action that comes as the arrays of this message."""


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Close the environment and end the host. It is not answered: the process ends."""


class Attached(msgspec.Struct, frozen=True, kw_only=True, tag="attached"):
    """The environment is there, connected, and waits for Reset."""

    version: int = VERSION
    observation_space: Space
    action_space: Space


class ResetDone(msgspec.Struct, frozen=True, tag="reset_done"):
    """An episode began; its first observation comes as arrays."""

    info: dict[str, Any] = {}


class Stepped(msgspec.Struct, frozen=True, tag="stepped"):
    """One step was taken; its observation comes as arrays."""

    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any] = {}


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The request was not done."""

    kind: FailureKind
    reason: str


Request = Union[Attach, Reset, Step, Close]  # noqa: UP007
Reply = Union[Attached, ResetDone, Stepped, Failed]  # noqa: UP007


class _ArrayHeader(msgspec.Struct, frozen=True, array_like=True):
    name: str
    dtype: str
    shape: tuple[int, ...]


class _Head(msgspec.Struct, Generic[MessageT], frozen=True, array_like=True):
    message: MessageT
    arrays: list[_ArrayHeader]


def encode(message: Request | Reply, arrays: Arrays | None = None) -> list[bytes]:
    """The frames of a message. Raises ProtocolError for a value or dtype that cannot travel."""
    contents = {name: np.asarray(array) for name, array in (arrays or {}).items()}
    try:
        headers = [_ArrayHeader(name, _NAMES[array.dtype], array.shape) for name, array in contents.items()]
    except KeyError as error:
        raise ProtocolError(f"cannot send an array of {error}: known are {', '.join(_DTYPES)}") from error
    try:
        head = _encode(_Head(message, headers))
    except (NotImplementedError, TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"cannot send {type(message).__name__}: {error}") from error
    return [head, *(array.tobytes() for array in contents.values())]


def decode_request(frames: Sequence[bytes]) -> tuple[Request, dict[str, Array]]:
    """A client's message and its arrays (read-only views). Raises ProtocolError for anything else."""
    return _decode(_decode_request_head, frames)


def decode_reply(frames: Sequence[bytes]) -> tuple[Reply, dict[str, Array]]:
    """A host's message and its arrays (read-only views). Raises ProtocolError for anything else."""
    return _decode(_decode_reply_head, frames)


def _decode(
    decode_head: Callable[[bytes], _Head[MessageT]], frames: Sequence[bytes]
) -> tuple[MessageT, dict[str, Array]]:
    if not frames:
        raise ProtocolError("cannot read a message of no frames")
    try:
        head = decode_head(frames[0])
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"cannot read the message: {error}") from error
    if len(head.arrays) != len(frames) - 1:
        raise ProtocolError(f"cannot read {len(head.arrays)} arrays from {len(frames) - 1} frames")
    return head.message, {h.name: _array(h, frame) for h, frame in zip(head.arrays, frames[1:], strict=True)}


def _array(header: _ArrayHeader, frame: bytes) -> Array:
    dtype = _DTYPES.get(header.dtype)
    if dtype is None or min(header.shape, default=0) < 0:
        raise ProtocolError(f"cannot read array {header.name!r}: {header.dtype} {header.shape}")
    expected = math.prod(header.shape) * dtype.itemsize
    if len(frame) != expected:
        raise ProtocolError(f"cannot read array {header.name!r}: {len(frame)} bytes, {expected} expected")
    return np.frombuffer(frame, dtype).reshape(header.shape)


def _plain(value: object) -> object:
    """NumPy numbers and small arrays in an `info` travel as plain numbers and lists."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"a {type(value).__name__} is no part of a step message")


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decode_request_head = msgspec.msgpack.Decoder(_Head[Request]).decode
_decode_reply_head = msgspec.msgpack.Decoder(_Head[Reply]).decode

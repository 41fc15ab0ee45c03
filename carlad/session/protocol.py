"""The step protocol between a session's client and its env host: one request, then one reply.

It runs over a Unix socket, and from other machines through `carlad.session.tunnel`. A message is two
little-endian uint32, the bytes of its head and of its body; then the head, msgpack of a tagged Struct and
one header for each array; then the body, the arrays' raw bytes in the headers' order, less those that lie in
shared memory (`carlad.session.shared`). An observation or action that is one array has the name ""; the
parts of a Dict space go by their keys. Nothing is pickled, so neither side trusts the other. A connection
begins with Hello, which a host without its secret refuses.

This file knows no numpy: the daemon speaks the protocol too, to prepare a host before its client comes.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar, Union

import msgspec

from carlad.errors import CarladError
from carlad.spaces import ITEM_BYTES, Space

VERSION = 1
HEAD_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 1 << 28
HELLO_BYTES_MAX = 1 << 10  # of a peer that has not said the secret yet

LENGTHS = struct.Struct("<II")

MessageT = TypeVar("MessageT")


class ProtocolError(CarladError, ValueError):
    """A message that is not one of this protocol, or not now; says what is wrong with it."""


class FailureKind(enum.Enum):
    """Whose fault a failed request was."""

    SIMULATOR_LOST = "simulator lost"
    """The server does not answer: the session is over, and a new one needs another server."""
    ENVIRONMENT_ERROR = "environment error"
    """The environment raised something else: a defect in its code or its configuration."""
    BAD_REQUEST = "bad request"
    """The request was refused and changed nothing; the session goes on."""


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all messages."""


# --- what clients ask ------------------------------------------------------------------------------


class Hello(_Message, frozen=True, tag="hello"):
    """The first message of a connection. A later connection that says it replaces the one before."""

    secret: str = ""
    version: int = VERSION


class Construct(_Message, frozen=True, tag="construct"):
    """Create the environment with `config` as its keyword arguments; it is not connected yet."""

    config: dict[str, Any] = {}


class Attach(_Message, frozen=True, kw_only=True, tag="attach"):
    """Connect the environment to a CARLA server."""

    host: str
    rpc_port: int
    traffic_manager_port: int
    map: str | None = None


class Share(_Message, frozen=True, tag="share"):
    """Put large arrays into memory that both ends map; answered with a descriptor. On one machine only."""


class Reset(_Message, frozen=True, tag="reset"):
    """Begin an episode; may come in the middle of one. `slot` of the shared memory takes large arrays."""

    seed: int | None = None
    options: dict[str, Any] = {}
    slot: int | None = None


class Step(_Message, frozen=True, tag="step"):
    """Take the action that comes as the arrays of this message."""

    slot: int | None = None


class Close(_Message, frozen=True, tag="close"):
    """Close the environment and end the host. It is not answered: the process ends."""


# --- what hosts answer -----------------------------------------------------------------------------


class Welcome(_Message, frozen=True, tag="welcome"):
    """The secret was right."""

    version: int = VERSION


class Constructed(_Message, frozen=True, kw_only=True, tag="constructed"):
    observation_space: Space
    action_space: Space


class Attached(_Message, frozen=True, tag="attached"):
    """The environment is connected and waits for Reset."""


class Shared(_Message, frozen=True, tag="shared"):
    """With a descriptor of `slots` times `slot_bytes`; without one, and 0 slots, no array is large."""

    slots: int = 0
    slot_bytes: int = 0


class ResetDone(_Message, frozen=True, tag="reset_done"):
    """An episode began; its first observation comes as arrays."""

    info: dict[str, Any] = {}


class Stepped(_Message, frozen=True, tag="stepped"):
    """One step was taken; its observation comes as arrays."""

    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any] = {}


class Held(_Message, frozen=True, tag="held"):
    """Not the reply, which is still to come: a viewer has the session stand still. Repeated every second."""


class Failed(_Message, frozen=True, tag="failed"):
    """The request was not done."""

    kind: FailureKind
    reason: str


# The unions stay in this form because msgspec reads them at run time, on Python 3.10 too.
Request = Union[Hello, Construct, Attach, Share, Reset, Step, Close]  # noqa: UP007
Reply = Union[Welcome, Constructed, Attached, Shared, ResetDone, Stepped, Held, Failed]  # noqa: UP007


class ArrayHeader(msgspec.Struct, frozen=True, array_like=True):
    """`offset`: where in the shared memory it begins; None: its bytes are in the body."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int | None = None

    @property
    def size_bytes(self) -> int:
        """Raises ProtocolError for a dtype or a shape that is none."""
        size_bytes = _size_bytes(self.dtype, self.shape)
        if size_bytes is None:
            raise ProtocolError(f"cannot read array {self.name!r}: {self.dtype} {list(self.shape)}")
        return size_bytes


@lru_cache(maxsize=256)  # an environment's arrays are of the same few shapes, and each is asked for often
def _size_bytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """None for what is no array."""
    item_bytes = ITEM_BYTES.get(dtype)
    if item_bytes is None or min(shape, default=0) < 0:
        return None
    return math.prod(shape) * item_bytes


class Head(msgspec.Struct, Generic[MessageT], frozen=True, array_like=True):
    message: MessageT
    arrays: list[ArrayHeader] = []

    @property
    def body_bytes(self) -> int:
        return sum(header.size_bytes for header in self.arrays if header.offset is None)


def encode_head(message: Request | Reply, arrays: Sequence[ArrayHeader] = ()) -> list[bytes]:
    """The first two parts of a message; its body follows.

    Raises ProtocolError for content that cannot travel, such as an `info` with an object of the simulator.
    """
    try:
        head = _encode(Head(message, list(arrays)))
    except (NotImplementedError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"cannot send {type(message).__name__}: {error}") from error
    body_bytes = sum(header.size_bytes for header in arrays if header.offset is None)
    if len(head) > HEAD_BYTES_MAX or body_bytes > BODY_BYTES_MAX:
        raise ProtocolError(
            f"cannot send {type(message).__name__}: {len(head)} bytes and arrays of {body_bytes} bytes; "
            f"{HEAD_BYTES_MAX} and {BODY_BYTES_MAX} is the most"
        )
    return [LENGTHS.pack(len(head), body_bytes), head]


def decode_request(head: bytes | memoryview) -> Head[Request]:
    """A client's message. Raises ProtocolError for anything else."""
    return _decoded(_decode_request, head)


def decode_reply(head: bytes | memoryview) -> Head[Reply]:
    """A host's message. Raises ProtocolError for anything else."""
    return _decoded(_decode_reply, head)


def _decoded(
    decode: Callable[[bytes | memoryview], Head[MessageT]], head: bytes | memoryview
) -> Head[MessageT]:
    try:
        return decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"cannot read the message: {error}") from error


def _plain(value: object) -> object:
    """NumPy's numbers and small arrays in an `info` travel as plain numbers and lists."""
    plain = getattr(value, "tolist", None)
    if type(value).__module__ != "numpy" or plain is None:
        raise NotImplementedError(f"a {type(value).__name__} is no part of a step message")
    return plain()


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decode_request = msgspec.msgpack.Decoder(Head[Request]).decode
_decode_reply = msgspec.msgpack.Decoder(Head[Reply]).decode

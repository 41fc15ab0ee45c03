"""Between clients and whichever daemon there is: frames, as ZeroMQ carries them, but by a network that may
lose, double, delay and so reorder them. The daemon's end is its real router, desk and notices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import msgspec
import trio

from carlad.messages import PROTOCOL_VERSION, Queued, Refused, Reply, ReplyBody, Request, RequestBody
from tests.simulation.virtual import Bell

if TYPE_CHECKING:
    from tests.simulation.life import Life
    from tests.simulation.world import World

_DELAYS_S = (0.0, 0.0001, 0.001, 0.01)
_BAD_DELAYS_S = (0.0, 0.001, 0.1, 3.0)
_LOST, _DOUBLED, _GARBAGE = 0.3, 0.3, 0.3  # shares, while the post is bad
_GID = 100
_decode = msgspec.msgpack.Decoder(Reply).decode


class Sender(NamedTuple):
    """A client's DEALER, and what the kernel says of the process behind it."""

    name: str
    uid: int
    pid: int


class Frame:
    """As zmq.Frame."""

    def __init__(self, data: bytes, sender: Sender | None = None) -> None:
        self.bytes = data
        self._sender = sender

    def get(self, _property: str) -> str:
        """Its `Peer-Address`."""
        return f"localhost:{self._sender.uid}:{_GID}:{self._sender.pid}" if self._sender else ""


class Door:
    """In the place of a daemon's ZmqSocket, and of the socket that its notices go out by."""

    def __init__(self, life: Life, post: Post) -> None:
        self._life, self._post = life, post
        self._letters, self._inbox = trio.open_memory_channel[list[Frame]](inf)

    def put(self, frames: list[Frame]) -> None:
        self._letters.send_nowait(frames)

    async def pump(self) -> NoReturn:
        await trio.sleep(inf)
        raise AssertionError

    async def receive_frames(self) -> list[Frame]:
        return await self._inbox.receive()

    async def send(self, frames: Sequence[bytes]) -> None:
        await self._post.clock.perhaps_yield()
        if not self._life.is_dead:
            self._post.answered(frames)

    def send_multipart(self, frames: Sequence[bytes], _flags: int) -> None:
        if not self._life.is_dead:
            self._post.published(frames)


class _Awaited:
    """An answer that somebody waits for."""

    def __init__(self) -> None:
        self.bell = Bell(trio.lowlevel.current_task())
        self.body: ReplyBody | None = None


class Post:
    def __init__(self, world: World) -> None:
        self._world = world
        self.clock = world.clock
        self._awaited: dict[tuple[str, str], _Awaited] = {}
        self._subscribers: list[Callable[[bytes], object]] = []
        self._refused: dict[str, int] = {}
        self.is_bad = False
        self.garbage = 0

    async def ask(
        self, sender: Sender, request_id: str, body: RequestBody, patience_s: float
    ) -> ReplyBody | None:
        """The first answer that arrives, or None after so long without one."""
        awaited = self._awaited[sender.name, request_id] = _Awaited()
        self._send(sender, Request(version=PROTOCOL_VERSION, request_id=request_id, body=body))
        self.clock.ring_at(self.clock.now_s + patience_s, awaited.bell)
        try:
            await trio.lowlevel.wait_task_rescheduled(awaited.bell.forget)
        finally:
            if self._awaited.get((sender.name, request_id)) is awaited:
                del self._awaited[sender.name, request_id]
        return awaited.body

    def subscribe(self, hear: Callable[[bytes], object]) -> None:
        """To each notice."""
        self._subscribers.append(hear)

    def forget(self, hear: Callable[[bytes], object]) -> None:
        self._subscribers.remove(hear)

    # --- on the way to the daemon

    def _send(self, sender: Sender, request: Request) -> None:
        data = msgspec.msgpack.encode(request)
        for _ in range(1 + self._happens(_DOUBLED)):
            self._carry(lambda: self._arrive([Frame(sender.name.encode(), sender), Frame(data)]))
        self._world.oracle.asks(sender, request)
        if self._happens(_GARBAGE):
            self._send_garbage(data)

    def _send_garbage(self, data: bytes) -> None:
        """From a program that speaks something else, or another version."""
        self.garbage += 1
        sender = Sender(f"stranger{self.garbage}", 64999, 1)
        chance, request = self._world.chance, msgspec.msgpack.decode(data)
        frames = chance.choice(
            (
                [data[: chance.randrange(len(data))]],
                [chance.randbytes(chance.randrange(200))],
                [msgspec.msgpack.encode(request | {"version": PROTOCOL_VERSION + 1})],
                [msgspec.msgpack.encode(request | {"body": {"type": "Seize"}})],
                [msgspec.msgpack.encode(request | {"more": 1})],
                [data, data],
                [],
            )
        )
        self._arrive([Frame(sender.name.encode(), sender), *map(Frame, frames)])

    def _arrive(self, frames: list[Frame]) -> None:
        life = self._world.life
        if life is not None and life.door is not None and not life.is_dead:
            life.door.put(frames)

    # --- and back

    def answered(self, frames: Sequence[bytes]) -> None:
        sender, data = frames
        name = sender.decode()
        if name.startswith("stranger"):
            self._world.oracle.answered_a_stranger(_decode(data))
            return
        for _ in range(1 + self._happens(_DOUBLED)):
            self._carry(lambda: self._deliver(name, _decode(data)))

    def _deliver(self, name: str, reply: Reply) -> None:
        awaited = self._awaited.get((name, reply.request_id))
        if awaited is not None and awaited.body is None and not isinstance(reply.body, Queued):
            awaited.body = reply.body
            awaited.bell()

    def published(self, frames: Sequence[bytes]) -> None:
        """What is lost is lost; what arrives does so in order, as one connection carries it."""
        _event, data = frames
        for hear in self._subscribers:
            if not self._happens(_LOST):
                hear(data)

    # --- its qualities

    def _carry(self, deliver: Callable[[], object]) -> None:
        if not self._happens(_LOST):
            delays_s = _BAD_DELAYS_S if self.is_bad else _DELAYS_S
            self.clock.call_at(self.clock.now_s + self._world.chance.choice(delays_s), deliver)

    def _happens(self, share: float) -> bool:
        return self.is_bad and self._world.chance.random() < share


def is_final(answer: ReplyBody) -> bool:
    """Else it is to be asked again, in a moment."""
    return not (isinstance(answer, Refused) and answer.code in ("unavailable", "overloaded"))

"""Memory that an env host and its client both map: large arrays cross over at the price of one copy.

It is an anonymous file whose descriptor the host passes on, so there is nothing that could be left behind,
whoever is killed. It is sealed: nobody can shrink it under the other's feet. The client names a slot with
each request, and gives one out again only when no array in it is referenced any more: what `step` returned
never changes.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import weakref

import numpy as np

from carlad.session import arrays
from carlad.session.arrays import Array
from carlad.session.protocol import ArrayHeader, ProtocolError
from carlad.spaces import Box, DictOf, Space

LARGE_BYTES = 32 << 10  # below it a socket is as fast
_SLOTS = 4  # an observation, its successor, one on its way, and one to copy from when all are kept
_REGION_BYTES_MAX = 1 << 30
_ALIGNMENT = 64  # a cache line
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Shelf:
    """The host's end: writes an observation's large parts into a slot. Whoever makes it closes it."""

    def __init__(self, space: Space) -> None:
        """`slots` is 0 where no part of the space is large, or all together are beyond a gigabyte."""
        parts = space.spaces if isinstance(space, DictOf) else {"": space}
        self._places: dict[str, tuple[int, int]] = {}
        self.slot_bytes = 0
        for name, part in parts.items():
            if isinstance(part, Box) and part.size_bytes >= LARGE_BYTES:
                self._places[name] = self.slot_bytes, part.size_bytes
                self.slot_bytes += -(-part.size_bytes // _ALIGNMENT) * _ALIGNMENT
        self.slots = _SLOTS if 0 < self.slot_bytes * _SLOTS <= _REGION_BYTES_MAX else 0
        self.descriptor: int | None = None
        if self.slots:
            self.descriptor = os.memfd_create("carlad-session", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.descriptor, self.slots * self.slot_bytes)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
            self._region = np.frombuffer(mmap.mmap(self.descriptor, 0), np.uint8)

    def place(self, name: str, array: Array, slot: int | None) -> ArrayHeader | None:
        """Where the array lies now; None if it has no place: it is to travel in the message."""
        if slot is None or not 0 <= slot < self.slots or name not in self._places:
            return None
        offset, size_bytes = self._places[name]
        if array.nbytes != size_bytes:
            return None
        start = slot * self.slot_bytes + offset
        place = self._region[start : start + size_bytes].view(array.dtype).reshape(array.shape)
        np.copyto(place, array)
        return arrays.header(name, array, offset)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor, self.slots = None, 0


class Slots:
    """The client's end. Offsets of arrays count from the beginning of a slot."""

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        """Takes the descriptor over. Raises ProtocolError where the memory is not as the host says."""
        try:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
            if not (seals & fcntl.F_SEAL_SHRINK and 0 < slots * slot_bytes == os.fstat(descriptor).st_size):
                raise ProtocolError(f"cannot use memory of {slots} x {slot_bytes} bytes: it differs")
            self._memory = mmap.mmap(descriptor, 0)
        except OSError as error:
            raise ProtocolError(f"cannot use the shared memory: {error}") from error
        finally:
            os.close(descriptor)
        self._slot_type = ctypes.c_ubyte * slot_bytes
        self._slot_bytes = slot_bytes
        self._in_use: list[weakref.ref[object] | None] = [None] * slots

    def take(self) -> tuple[int, memoryview, bool]:
        """A slot that nobody looks at, its memory, and whether its arrays must be copied: it is the last."""
        free = [slot for slot, user in enumerate(self._in_use) if user is None or user() is None]
        memory = self._slot_type.from_buffer(self._memory, free[0] * self._slot_bytes)
        self._in_use[free[0]] = weakref.ref(memory)
        return free[0], memoryview(memory).cast("B"), len(free) == 1

"""Whether SQLite will read all of a write-ahead log that was written.

It stops at the first frame that does not fit its checksum and takes what comes before for the whole, without
a word: right for the end that a power cut tore off, wrong where the middle was damaged, because then tokens
and leases of long ago are the newest. The layout is that of sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct(">8I")  # magic, version, page size, sequence, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, size of the database, two salts, two checksums
_LITTLE, _BIG = 0x377F0682, 0x377F0683  # magic numbers, by the byte order of the checksums
Sums = tuple[int, int]


def is_damaged(wal: Path) -> bool:
    """Whether frames of the newest generation are behind the place where SQLite stops reading.

    A last frame that is not whole is no damage: SQLite writes its header and its page one after the other,
    and a kill may come between the two, also over frames of an older generation. Raises OSError.
    """
    content = wal.read_bytes() if wal.exists() else b""
    if len(content) <= _HEADER.size:
        return False
    magic, _version, page_size, _sequence, *salts, first, second = _HEADER.unpack_from(content)
    order = {_LITTLE: "<", _BIG: ">"}.get(magic)
    if order is None or _sums(content[: _HEADER.size - 8], order, (0, 0)) != (first, second):
        return True
    before, is_over = (first, second), False
    for header, page in _frames(content, page_size):
        _page, _size, salt, other, *said = _FRAME.unpack(header)
        if [salt, other] != salts:
            is_over = True  # of an older generation; or damaged, if others of this one follow
            continue
        if is_over:
            return True
        before = _sums(page, order, _sums(header[:8], order, before))
        is_over = list(before) != said
    return False


def _frames(content: bytes, page_size: int) -> Iterator[tuple[bytes, bytes]]:
    """Headers and pages of those that are whole."""
    size = _FRAME.size + page_size
    for at in range(_HEADER.size, len(content) - size + 1, size):
        yield content[at : at + _FRAME.size], content[at + _FRAME.size : at + size]


def _sums(data: bytes, order: str, before: Sums) -> Sums:
    """SQLite's running checksum over words of 32 bits."""
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second

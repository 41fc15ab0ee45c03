"""Where a slot's servers write, their newest lines, and what came since, across rotation.

A place in a log is a file, known by its inode and a checksum of its beginning (inodes are used again), and
an offset. Clients carry it as a word that they do not look into.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

BYTES_MAX = 16 << 20  # of one file
FILES_MAX = 4  # 64 MiB a slot: CARLA writes about 1 MiB an hour, and a flood must not fill a disk
STARTED = "[carlad] starting "  # how a shim begins the log of each server
_TAIL_BYTES_MAX = 4 << 20
_WORDS_MAX = 200  # lines: a crash handler of the engine writes some dozens
_LINE_BYTES_MAX = 4 << 10  # on average; longer lines mean fewer of them
_SINCE_BYTES_MAX = 1 << 20
_BEGINNING_BYTES = 256
_NOWHERE = "-"  # the place in a log that is not there yet


class Excerpt(NamedTuple):
    """Lines, oldest first, the place behind them, and the line that is not ended yet. `is_gap`: lines that
    should come before these are gone."""

    lines: tuple[str, ...]
    place: str
    unfinished: str | None = None
    is_gap: bool = False


def log_path(log_dir: Path, slot: int) -> Path:
    """The newest file; older ones have .1, .2 and so on appended. Makes the folder."""
    folder = log_dir / f"slot-{slot}"
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return folder / "server.log"


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """The last `lines` lines, oldest first, as far as they fit into 4 MiB, one that is not ended included.
    Bytes that are not UTF-8 show as replacement characters."""
    excerpt = newest(path, lines)
    unfinished = () if excerpt.unfinished is None else (excerpt.unfinished,)
    return (*excerpt.lines, *unfinished)[-lines:]


def last_words(path: Path) -> tuple[str, ...]:
    """The newest lines of the newest server: what may tell why it ended."""
    lines = tail(path, _WORDS_MAX)
    starts = [k for k, line in enumerate(lines) if line.startswith(STARTED)]
    return lines[starts[-1] + 1 :] if starts else lines


def size(path: Path) -> int:
    """Bytes of all files of the log."""
    return sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())


def newest(path: Path, lines: int) -> Excerpt:
    """The last `lines` ended lines, as far as they fit into 4 MiB."""
    with _opened(path) as files:
        start = _before_the_end(files, min(lines * _LINE_BYTES_MAX, _TAIL_BYTES_MAX))
        data = _read(files, start, _TAIL_BYTES_MAX)
        ended = data.rfind(b"\n") + 1
        found = data[:ended].split(b"\n")[:-1]
        if start != (0, 0):
            found = found[1:]  # its beginning may have been left out
        unfinished = _text(data[ended:]) if ended < len(data) and (found or start == (0, 0)) else None
        return Excerpt(tuple(map(_text, found[-lines:])), _place(files, start, ended), unfinished)


def since(path: Path, place: str, lines: int) -> Excerpt:
    """The next ended lines behind `place`, at most `lines` and 1 MiB; a longer line is cut.

    A place that is not in the log any more, or never was, counts as the log's beginning.
    """
    with _opened(path) as files:
        found = _find(files, place)
        start = found or (0, 0)
        data = _read(files, start, _SINCE_BYTES_MAX)
        ended = data.rfind(b"\n") + 1 or (len(data) if len(data) == _SINCE_BYTES_MAX else 0)
        pieces = data[:ended].split(b"\n", lines)
        rest = pieces.pop() if len(pieces) > lines or not pieces[-1] else b""
        after = _place(files, start, ended - len(rest))
        return Excerpt(tuple(map(_text, pieces)), after, is_gap=found is None and place != _NOWHERE)


@contextmanager
def _opened(path: Path) -> Iterator[list[BinaryIO]]:
    """The log's files, oldest first. One that is rotated while they are opened is there once."""
    with ExitStack() as stack:
        files: dict[int, BinaryIO] = {}
        for name in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, FILES_MAX))):
            try:
                file = stack.enter_context(name.open("rb"))
            except FileNotFoundError:
                continue
            files.setdefault(os.fstat(file.fileno()).st_ino, file)
        yield list(files.values())[::-1]


def _before_the_end(files: list[BinaryIO], size: int) -> tuple[int, int]:
    """Index and offset of what is `size` bytes before the end, or of the beginning."""
    for index in range(len(files) - 1, -1, -1):
        in_file = _size(files[index])
        if in_file >= size:
            return index, in_file - size
        size -= in_file
    return 0, 0


def _read(files: list[BinaryIO], start: tuple[int, int], bytes_max: int) -> bytes:
    index, offset = start
    data = b""
    for file in files[index:]:
        data += os.pread(file.fileno(), bytes_max - len(data), offset)
        offset = 0
    return data


def _place(files: list[BinaryIO], start: tuple[int, int], size: int) -> str:
    """The place `size` bytes behind `start`, which may be in a newer file."""
    if not files:
        return _NOWHERE
    index, offset = start
    while index < len(files) - 1 and offset + size >= _size(files[index]):
        size -= _size(files[index]) - offset
        index, offset = index + 1, 0
    file, offset = files[index], offset + size
    return f"{os.fstat(file.fileno()).st_ino:x}.{_checksum(file, offset):x}.{offset:x}"


def _find(files: list[BinaryIO], place: str) -> tuple[int, int] | None:
    """Index and offset of `place`."""
    try:
        inode, checksum, offset = (int(part, 16) for part in place.split("."))
    except ValueError:
        return None
    for index, file in enumerate(files):
        is_it = os.fstat(file.fileno()).st_ino == inode and 0 <= offset <= _size(file)
        if is_it and _checksum(file, offset) == checksum:
            return index, offset
    return None


def _checksum(file: BinaryIO, offset: int) -> int:
    """Of what stands before `offset`, but of no more than the file's beginning."""
    return zlib.crc32(os.pread(file.fileno(), min(offset, _BEGINNING_BYTES), 0))


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")

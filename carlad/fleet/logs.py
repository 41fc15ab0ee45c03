"""Where a slot's servers write, their newest lines, and what came since, across rotation.

A place in a log is a file, known by its inode and a checksum of its beginning (inodes are used again), and
an offset. Clients carry it as a word that they do not look into.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

COMPRESSED = ".gz"
STARTED = "[carlad] starting "  # how a shim begins the log of each server
_TAIL_BYTES_MAX = 4 << 20
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")  # with logs.stamps
_WORD_CHARS_MAX = 300
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
    """The file that is written; closed ones have a number, the newest the highest. Makes the folder."""
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
    """The newest lines of the newest server, each cut: what may tell why it ended."""
    lines = tuple(_STAMP.sub("", line)[:_WORD_CHARS_MAX] for line in tail(path, _WORDS_MAX))
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


class _File:
    """One file of a log. A compressed one does not change any more, and is read whole when it is needed."""

    def __init__(self, file: BinaryIO, *, is_compressed: bool) -> None:
        self._file = file
        self._is_compressed = is_compressed
        self.inode = os.fstat(file.fileno()).st_ino

    @property
    def size(self) -> int:
        return len(self._plain) if self._is_compressed else os.fstat(self._file.fileno()).st_size

    def read(self, bytes_max: int, offset: int) -> bytes:
        if self._is_compressed:
            return self._plain[offset : offset + bytes_max]
        return os.pread(self._file.fileno(), bytes_max, offset)

    def checksum(self, offset: int) -> int:
        """Of what stands before `offset`, but of no more than the file's beginning."""
        return zlib.crc32(self.read(min(offset, _BEGINNING_BYTES), 0))

    @cached_property
    def _plain(self) -> bytes:
        try:
            return gzip.decompress(self._file.read())
        except (EOFError, OSError, zlib.error):  # damaged: the other files can still be read
            return b""


@contextmanager
def _opened(path: Path) -> Iterator[list[_File]]:
    """The log's files, oldest first. One that is rotated while they are opened is there once."""
    with ExitStack() as stack:
        files: dict[int, _File] = {}
        for name in (path, *sorted(path.parent.glob(f"{path.name}.[0-9]*"), key=_age)):
            try:
                file = stack.enter_context(name.open("rb"))
            except FileNotFoundError:
                continue
            one = _File(file, is_compressed=name.suffix == COMPRESSED)
            files.setdefault(one.inode, one)
        yield list(files.values())[::-1]


def _age(name: Path) -> int:
    """Of server.log.2 or server.log.2.gz: the more, the older."""
    number = name.name.removesuffix(COMPRESSED).rpartition(".")[2]
    return -int(number) if number.isdigit() else 0


def _before_the_end(files: list[_File], size: int) -> tuple[int, int]:
    """Index and offset of what is `size` bytes before the end, or of the beginning."""
    for index in range(len(files) - 1, -1, -1):
        in_file = files[index].size
        if in_file >= size:
            return index, in_file - size
        size -= in_file
    return 0, 0


def _read(files: list[_File], start: tuple[int, int], bytes_max: int) -> bytes:
    index, offset = start
    data = b""
    for file in files[index:]:
        data += file.read(bytes_max - len(data), offset)
        offset = 0
    return data


def _place(files: list[_File], start: tuple[int, int], size: int) -> str:
    """The place `size` bytes behind `start`, which may be in a newer file."""
    if not files:
        return _NOWHERE
    index, offset = start
    while index < len(files) - 1 and offset + size >= files[index].size:
        size -= files[index].size - offset
        index, offset = index + 1, 0
    file, offset = files[index], offset + size
    return f"{file.inode:x}.{file.checksum(offset):x}.{offset:x}"


def _find(files: list[_File], place: str) -> tuple[int, int] | None:
    """Index and offset of `place`."""
    try:
        inode, checksum, offset = (int(part, 16) for part in place.split("."))
    except ValueError:
        return None
    for index, file in enumerate(files):
        if file.inode == inode and 0 <= offset <= file.size and file.checksum(offset) == checksum:
            return index, offset
    return None


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")

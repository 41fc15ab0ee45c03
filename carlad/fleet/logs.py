"""Where a slot's servers write, and their newest lines across rotation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

BYTES_MAX = 16 << 20  # of one file
FILES_MAX = 4  # 64 MiB a slot: CARLA writes about 1 MiB an hour, and a flood must not fill a disk
_TAIL_BYTES_MAX = 4 << 20
_LINE_BYTES_MAX = 4 << 10  # on average; longer lines mean fewer of them


def log_path(log_dir: Path, slot: int) -> Path:
    """The newest file; older ones have .1, .2 and so on appended. Makes the folder."""
    folder = log_dir / f"slot-{slot}"
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return folder / "server.log"


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """The last `lines` lines, oldest first, as far as they fit into 4 MiB. Bytes that are not UTF-8 show
    as replacement characters."""
    newest_first: list[str] = []
    budget = min(lines * _LINE_BYTES_MAX, _TAIL_BYTES_MAX)
    for file in _newest_first(path):
        data, is_whole = _end_of(file, budget)
        budget -= len(data)
        found = data.decode(errors="replace").split("\n")
        if found[-1] == "":
            found.pop()
        newest_first += reversed(found if is_whole else found[1:])
        if len(newest_first) >= lines or budget <= 0:
            break
    return tuple(line.rstrip("\r") for line in reversed(newest_first[:lines]))


def _newest_first(path: Path) -> Iterator[Path]:
    yield path
    for number in range(1, FILES_MAX):
        yield path.with_name(f"{path.name}.{number}")


def _end_of(file: Path, bytes_max: int) -> tuple[bytes, bool]:
    """The last bytes, and whether they are all."""
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            opened.seek(max(0, size - bytes_max))
            return opened.read(bytes_max), size <= bytes_max
    except FileNotFoundError:
        return b"", True

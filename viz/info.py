"""What is in a recording, in words."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from carlad.recording import Info, Reader


def print_info(path: Path, *, as_json: bool) -> None:
    """Raises RecordingError."""
    with Reader(path) as reader:
        info, frames = reader.info, len(reader.frame_times_ns)
    if as_json:
        print(json.dumps(_plain(info, frames)))
        return
    console = Console(soft_wrap=True, highlight=False)
    state = "complete" if info.is_complete else "not complete: its recorder was ended; what is whole is read"
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.start_ns / 1e9))
    console.print(f"{path}: {info.size_bytes / 1e6:.1f} MB, {state}")
    console.print(f"{info.duration_s:.1f} s from {began}, {frames} frames")
    for name, value in info.metadata.items():
        console.print(f"{name}: {value}")
    table = Table("topic", "messages", "schema", "encoding")
    for topic in info.topics:
        table.add_row(topic.name, f"{topic.messages:,}", topic.schema or "–", topic.encoding)
    console.print(table)


def _plain(info: Info, frames: int) -> dict[str, object]:
    return {
        **info._asdict(),
        "duration_s": info.duration_s,
        "frames": frames,
        "topics": [topic._asdict() for topic in info.topics],
    }

"""What /proc says of other processes, as far as we may look; nothing of one that has ended."""

from __future__ import annotations

import os
from pathlib import Path


def socket_inodes(pid: int) -> set[str]:
    """Inodes of the sockets that `pid` has open; empty for one that ended or may not be looked at."""
    try:
        targets = [_target(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return set()
    return {target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")}


def _target(link: str) -> str:
    """Empty for one that was closed since it was listed, as the listing's own is."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"

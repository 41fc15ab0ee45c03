"""A cgroup for tests to divide: one that the kernel made, or a folder that looks like one."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carlad.fleet import cgroup

# This machine's memory may be version 1's: any controller shows how cgroups are divided.
_WANTED = ("memory", "hugetlb", "pids", "cpu")


class Undivided(cgroup.MemoryLimit):
    """A real cgroup for each incarnation, without the memory controller's files where there are none."""

    def place(self, mark: str) -> Path | None:
        return cgroup.claim(controller()) / f"server-{mark}"

    def make(self, own: Path) -> None:
        super().make(own) if controller() == "memory" else own.mkdir()


def top() -> Path:
    """Of the tree of cgroups, as far as it is seen from here."""
    mounted = re.search(r"^\S+ (\S+) cgroup2 ", Path("/proc/self/mounts").read_text(), re.MULTILINE)
    return Path(mounted[1]) if mounted is not None else Path("/nowhere")


def controller() -> str:
    """One that this user can pass on from the top; empty where there is none."""
    control = top() / "cgroup.subtree_control"
    if not all(os.access(file, os.W_OK) for file in (top(), control, top() / "cgroup.procs")):
        return ""
    is_root = not (top() / "cgroup.type").exists()  # it alone may have processes and pass on controllers
    offered = (top() / "cgroup.controllers" if is_root else control).read_text().split()
    return next((name for name in _WANTED if name in offered), "")


@contextmanager
def delegated() -> Iterator[Path]:
    """A new cgroup with this process in it, as a service manager would have it; nothing is left of it."""
    before, control = cgroup.own_cgroup(), top() / "cgroup.subtree_control"
    passed_on = set(control.read_text().split())
    ours = top() / f"carlad-test-{secrets.token_hex(4)}"
    ours.mkdir()
    try:
        control.write_text(f"+{controller()}")
        enter(ours)
        yield ours
    finally:
        enter(before)
        for folder in (*ours.glob("*/"), ours):
            folder.rmdir()
        if controller() not in passed_on:
            control.write_text(f"-{controller()}")


def enter(folder: Path, pid: int = 0) -> None:
    (folder / "cgroup.procs").write_text(str(pid))


def members(folder: Path) -> set[int]:
    return set(map(int, (folder / "cgroup.procs").read_text().split()))


@contextmanager
def lookalike(folder: Path, monkeypatch) -> Iterator[Path]:
    """Where this process seems to be, delegated and with memory. Unlike the kernel it moves nobody, and a
    folder does not go before its files."""
    ours = folder / "cgroup" / "carlad.service"
    ours.mkdir(parents=True)
    (ours / "cgroup.controllers").write_text("cpu memory\n")
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (ours / name).write_text("")
    (folder / "mounts").write_text(f"tmpfs /tmp tmpfs rw 0 0\ncgroup2 {folder / 'cgroup'} cgroup2 rw 0 0\n")
    (folder / "own").write_text("4:memory:/elsewhere\n0::/carlad.service\n")
    with monkeypatch.context() as patch:
        patch.setattr(cgroup, "_MOUNTS", folder / "mounts")
        patch.setattr(cgroup, "_OWN", folder / "own")
        yield ours

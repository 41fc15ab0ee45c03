"""What `carlactl install --systemd` puts where, and what it may take away again. Decides; touches nothing.

Each file begins with a line that names the sum of the rest, so that one which somebody has edited since is
known, and neither replaced nor removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

import msgspec

# In the sources' folder systemd/, and where they go.
UNITS = ("carlad.service", "carlad-reap.service", "carlad-trainer@.service", "carlad-tensorboard.service")
PLACES: Mapping[str, str] = {
    **{unit: f"etc/systemd/system/{unit}" for unit in UNITS},
    "sysusers.d/carlad.conf": "etc/sysusers.d/carlad.conf",
    "tmpfiles.d/carlad.conf": "etc/tmpfiles.d/carlad.conf",
    "carlad.toml": "etc/carlad/carlad.toml",
}
_CONFIGURATION = "carlad.toml"  # made to be edited

_SCRIPTS = "/opt/carlad/bin/"  # what the units name; replaced by where carlad is
# Before systemd had DelegateSubgroup= a service that had divided its cgroup could not be started again while
# processes of it were left (cgroups(7), "no internal processes"), as servers are: nothing is delegated then.
# Since the same version OnFailure= would end the servers at each crash, and not only when the daemon is given
# up: RestartMode= makes it as it was, and is unknown before.
SUBGROUPS_SINCE = 254
_SINCE_THEN = ("Delegate=", "DelegateSubgroup=", "RestartMode=")
_HEADER = re.compile(r"\A# Written by carlactl install; sha256 of the rest: ([0-9a-f]{64})\n")


class Act(Enum):
    """What happens to one file."""

    WRITE = "write"
    REPLACE = "replace"
    KEEP = "keep"
    REMOVE = "remove"
    REFUSE = "cannot replace"


class Step(msgspec.Struct, frozen=True):
    """`text`: of the file, where it is written. `why`: what is not as it would be expected."""

    act: Act
    path: Path
    text: str = ""
    why: str = ""


def rendered(template: str, scripts: Path, systemd: int) -> str:
    """A unit for programs in `scripts` and that version of systemd, with its header."""
    text = template.replace(_SCRIPTS, f"{scripts}/")
    if systemd < SUBGROUPS_SINCE:
        lines = text.splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith(_SINCE_THEN))
    return f"# Written by carlactl install; sha256 of the rest: {_sum(text)}\n{text}"


def installation(texts: Mapping[str, str], found: Mapping[Path, str], root: Path) -> Iterator[Step]:
    """`texts` by name, rendered; `found`: what lies in their places."""
    for name, text in texts.items():
        path = root / PLACES[name]
        there = found.get(path)
        if there is None:
            yield Step(Act.WRITE, path, text)
        elif there == text:
            yield Step(Act.KEEP, path, why="it is the same")
        elif is_untouched(there):
            yield Step(Act.REPLACE, path, text)
        elif name == _CONFIGURATION:
            yield Step(Act.KEEP, path, why="it is yours")
        else:
            yield Step(Act.REFUSE, path, why="it was not written by carlactl install, or was edited since")


def removal(found: Mapping[Path, str]) -> Iterator[Step]:
    for path, text in found.items():
        if is_untouched(text):
            yield Step(Act.REMOVE, path)
        else:
            yield Step(Act.KEEP, path, why="it was edited, or not written by carlactl install")


def is_untouched(text: str) -> bool:
    """Whether `rendered` wrote exactly this, whichever version of carlad it was of."""
    header = _HEADER.match(text)
    return header is not None and header[1] == _sum(text[header.end() :])


def unreachable(path: Path, modes: Mapping[Path, int]) -> str | None:
    """Why the services' users cannot run `path`, or None. `modes`: permissions of the folders above it."""
    for private in ("/tmp", "/var/tmp", "/run/user"):
        if path.is_relative_to(private):
            return f"services do not see {private}"
    closed = [folder for folder, mode in modes.items() if not mode & 0o001]
    return f"{closed[0]} is closed to other users (mode {modes[closed[0]] & 0o777:04o})" if closed else None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

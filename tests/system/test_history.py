"""The checker of real histories bites: each planted violation is found, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tests.system.history import (
    LATE_S,
    MARKS_FROM,
    Command,
    Ended,
    Failed,
    Granted,
    History,
    LeaseEnd,
    Saw,
    read_commands,
    read_entries,
    violations,
)

A, B = MARKS_FROM + 1, MARKS_FROM + 2
# One server, two holders one after the other; the first one goes on sending until the scrub shuts it out.
SOUND = History(
    entries=(
        Granted(1.0, A, 2000, 17),
        Saw(1.1, A, 0, first=True),
        Saw(1.5, A, A),
        Ended(2.0, A, "released"),
        LeaseEnd(2.01, 17, "lease.released"),
        Granted(3.0, B, 2000, 18),
        Saw(3.1, B, 0, first=True),
        Ended(5.0, B, "lost"),
        LeaseEnd(4.9, 18, "lease.expired"),
    ),
    commands={
        "2000-1": (Command(1.2, A), Command(1.4, A), Command(2.2, A), Command(3.2, B), Command(4.0, B)),
        "2004-2": (),
    },
)


def test_a_sound_history_has_no_violations() -> None:
    assert violations(SOUND) == []


def plant(*entries: object, commands: tuple[Command, ...] | None = None, **fields: object) -> History:
    changed = msgspec.structs.replace(SOUND, entries=(*SOUND.entries, *entries), **fields)
    if commands is None:
        return changed
    return msgspec.structs.replace(changed, commands={**SOUND.commands, "2000-1": commands})


FIRST = SOUND.commands["2000-1"]


@pytest.mark.parametrize(
    ("history", "says"),
    [
        (plant(commands=(*FIRST, Command(6.0, A))), "2000-1: commands of 100001 and 100002 interleaved"),
        (
            plant(commands=(*FIRST[:3], Command(3.05, A), *FIRST[3:])),
            "2000-1: a command of 100001 0.050 s after 100002 had got it",
        ),
        (
            plant(commands=(*FIRST, Command(4.9 + LATE_S + 1, B))),
            "2000-1: a command of 100002 took effect 11.0 s after the end of its lease (lease.expired)",
        ),
        (plant(Saw(3.1, B, A, first=True)), "100002 found the mark of 100001 at its server"),
        (plant(Saw(3.3, B, A)), "100002 met the mark of 100001 at its server"),
        (plant(Saw(3.3, B, 0)), "100002 met the mark of nobody at its server"),
        (plant(Granted(9.0, A + 9, 2004, 18)), "token 18 was given out twice"),
        (plant(Granted(9.0, A + 9, 2000, 16)), "port 2000: token 16 was given out after 18"),
        (plant(Failed(9.0, "KeyError: 7")), "failed: KeyError: 7"),
        (plant(leftovers=("process 17",)), "left behind: process 17"),
    ],
)
def test_a_planted_violation_is_found(history: History, says: str) -> None:
    assert violations(history) == [says]


def test_histories_of_processes_that_were_killed_can_be_read(tmp_path: Path) -> None:
    entry = msgspec.json.encode(Granted(1.0, A, 2000, 17))
    (tmp_path / "holder.jsonl").write_bytes(entry + b"\n" + entry[:9])
    assert read_entries([tmp_path / "holder.jsonl"]) == (Granted(1.0, A, 2000, 17),)
    call = {
        "at_s": 2.0,
        "peer": 5,
        "call": "set_weather_parameters",
        "arguments": [[False], [0.0] * 7 + [float(A)]],
    }
    others = {**call, "arguments": [[False], [0.0] * 8]}, {**call, "call": "tick_cue", "arguments": [[False]]}
    log = tmp_path / "2000-1.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in (call, *others)))
    assert read_commands([log]) == {"2000-1": (Command(2.0, A),)}

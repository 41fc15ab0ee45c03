"""Which faults there are, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Kind:
    """`argument` is what it is called in the help, "" where there is none. `start`: only before the start."""

    does: str
    argument: str = ""
    start: bool = False


WHEN, SECONDS, RATE, TEXT = "WHEN", "SECONDS", "MB_PER_S", "VERSION"

# WHEN is seconds ("2.5") or ticks ("100ticks"), counted from ready or, at run time, from the order.
KINDS: dict[str, Kind] = {
    "crash-at-start": Kind("ends by SIGSEGV before any port is open", start=True),
    "crash-after": Kind("ends by SIGSEGV", WHEN),
    "crash-on-load": Kind("ends by SIGSEGV when a map is to be loaded"),
    "crash-at-sigterm": Kind("SIGTERM and SIGINT end it by SIGSEGV, 139 in a shell, as they do the real one"),
    "hang-after": Kind("answers nothing any more and ignores SIGTERM; its ports stay open", WHEN),
    "hang-game-after": Kind("answers version and get_available_maps only, and does not tick", WHEN),
    "stuck-tick-after": Kind("carries out no tick until somebody leaves synchronous mode", WHEN),
    "never-ready": Kind("starts, opens no port and logs nothing", start=True),
    "slow-start": Kind("opens its ports that much later", SECONDS, start=True),
    "slow-load": Kind("a map takes that much longer and fills memory meanwhile; as hang-game-after", SECONDS),
    "leak": Kind("takes that much more memory for ever", RATE),
    "stderr-flood": Kind("writes that much to stderr, and blocks where nobody reads", RATE),
    "ignore-sigterm": Kind("SIGTERM and SIGINT change nothing"),
    "fork": Kind("the process waits for a child, the server, and forwards no signal", start=True),
    "wrong-version": Kind("gives itself out as another version", TEXT),
    "drop-streams-after": Kind("closes all streams once; clients come back for them", WHEN),
    "mute-streams-after": Kind("sends nothing on any stream, and answers calls as ever", WHEN),
}
_TICKS = "ticks"


class FaultError(Exception):
    """There is no such fault, or its argument makes no sense."""


@dataclass(frozen=True)
class Fault:
    """`amount` in the unit of its kind, in ticks where `ticks`; `text` for a kind that takes one."""

    name: str
    amount: float = 0.0
    ticks: bool = False
    text: str = ""


def parse_fault(text: str) -> Fault:
    """A fault from `NAME` or `NAME=ARGUMENT`. Raises FaultError."""
    name, equals, argument = text.partition("=")
    if name not in KINDS:
        raise FaultError(f"cannot make the fault {name!r}: there are {', '.join(KINDS)}")
    wanted = KINDS[name].argument
    if not wanted:
        if equals:
            raise FaultError(f"cannot make the fault {text!r}: {name} takes no argument")
        return Fault(name)
    if not argument:
        raise FaultError(f"cannot make the fault {text!r}: write {name}={wanted}")
    if wanted == TEXT:
        return Fault(name, text=argument)
    ticks = wanted == WHEN and argument.endswith(_TICKS)
    return Fault(name, _amount(text, argument.removesuffix(_TICKS) if ticks else argument), ticks)


def _amount(text: str, argument: str) -> float:
    unit = KINDS[text.partition("=")[0]].argument
    hint = 'WHEN is seconds, as "2.5", or ticks, as "100ticks"' if unit == WHEN else f"{unit} is a number"
    try:
        amount = float(argument)
    except ValueError:
        raise FaultError(f"cannot make the fault {text!r}: {hint}") from None
    if not 0 <= amount < inf:
        raise FaultError(f"cannot make the fault {text!r}: {unit} must be 0 or more")
    return amount


def table() -> str:
    """All faults for --help, two lines each where one is too long."""
    rows = []
    for name, kind in KINDS.items():
        written = f"{name}={kind.argument}" if kind.argument else name
        rows.append(f"  {written:24} {kind.does}")
    return "\n".join(rows)

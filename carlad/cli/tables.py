"""What `carlactl` shows to people."""

from __future__ import annotations

import time

from rich.console import Group
from rich.table import Table
from rich.text import Text

from carlad.messages import LeaseStatus, Notice, Queued, SlotState, SlotStatus, Status

_STYLES: dict[SlotState, str] = {
    "READY": "green",
    "LEASED": "cyan",
    "STARTING": "yellow",
    "SCRUBBING": "yellow",
    "STOPPING": "yellow",
    "BACKOFF": "magenta",
    "QUARANTINED": "bold red",
    "STOPPED": "dim",
}


def status(shown: Status) -> Group:
    daemon = shown.daemon
    head = f"carlad {daemon.version}, pid {daemon.pid}, up {duration(daemon.uptime_s)}"
    waiting = f", {shown.waiting} waiting for a server" if shown.waiting else ""
    parts: list[Text | Table] = [Text(head + waiting), _slots(shown.slots)]
    if shown.leases:
        parts.append(_leases(shown.leases))
    return Group(*parts)


def _slots(slots: tuple[SlotStatus, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("SLOT", "STATE", "SERVER", "MAP", "LEASE", "PID", "RUN", "RESTARTS", "REASON"):
        table.add_column(name, no_wrap=name != "REASON")
    for slot in slots:
        table.add_row(
            str(slot.slot),
            Text(slot.state, _STYLES[slot.state]),
            f"{slot.host}:{slot.rpc_port}" if slot.rpc_port else "",
            slot.map or "",
            slot.lease_id or "",
            str(slot.pid or ""),
            str(slot.incarnation),
            str(slot.restarts),
            Text(slot.reason or ""),
        )
    return table


def _leases(leases: tuple[LeaseStatus, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("LEASE", "SLOT", "TOKEN", "ENDS IN", "HOLDER"):
        table.add_column(name)
    for lease in leases:
        ends_in = duration(lease.expires_in_s)
        table.add_row(lease.lease_id, str(lease.slot), str(lease.token), ends_in, Text(lease.holder))
    return table


def notice(shown: Notice) -> str:
    """`07:00:00.123  lease.lost        slot 0  lease-17  killed by signal 9`"""
    at = time.strftime("%H:%M:%S", time.localtime(shown.at_unix_s))
    slot = "" if shown.slot is None else f"slot {shown.slot}"
    line = f"{at}.{int(shown.at_unix_s * 1000) % 1000:03}  {shown.event:<17}  {slot:<8}"
    return "  ".join([line, *(text for text in (shown.lease_id, shown.reason) if text)]).rstrip()


def queued(where: Queued) -> str:
    if where.loading:
        return f"a server loads {where.loading}"
    if where.position:
        return f"waiting for a server: number {where.position} of {where.waiting}"
    return "a server is being handed over"


def duration(seconds: float) -> str:
    """`7 s`, `3 min 20 s`, `5 h 12 min`, `3 d 4 h`"""
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {smaller_unit}"
    return f"{whole} s"

"""What `carlactl` shows to people."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.control import strip_control_codes
from rich.table import Table
from rich.text import Text

from carlad.messages import LeaseStatus, Notice, Queued, SlotState, SlotStatus, Status, Vitals

if TYPE_CHECKING:
    from carlad.cli.simulators import Simulator

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
    """Fits 80 columns: what is said in sentences stands below the tables."""
    parts: list[Text | Table] = [Text(_head(shown))]
    if shown.slots:
        parts.append(_slots(shown.slots))
    if shown.leases:
        parts += [Text(""), _leases(shown.leases)]
    if remarks := [_remark(slot) for slot in shown.slots if slot.draining or _is_unwell(slot)]:
        parts += [Text(""), *remarks]
    return Group(*parts)


def sessions(shown: Status) -> Table:
    """`LOSSES`: env hosts and servers that were replaced."""
    table = _table("SESSION", "ENV", "STATE", "SERVER", "LEASE", "PID", "LOSSES", "HOLDER")
    for session in shown.sessions:
        table.add_row(
            session.session_id,
            session.env,
            session.state,
            session.server or "",
            session.lease_id or "",
            str(session.pid or ""),
            str(session.losses),
            Text(session.holder),
        )
    return table


def vitals(fleet: Status, shown: Vitals) -> Group:
    """`shown` of the servers in `fleet`; the last line is all of them together."""
    of_slot = {slot.slot: slot for slot in fleet.slots}
    table = _table(
        "SLOT", "STATE", "MAP", "CORES", "MEMORY", "GPU MEM", "ANSWER", "THREADS", "FDS", narrow="MAP"
    )
    for one in shown.slots:
        slot = of_slot.get(one.slot)
        table.add_row(
            str(one.slot),
            Text(slot.state, _STYLES[slot.state]) if slot else "",
            (slot.map if slot else "") or "",
            f"{one.cores:.2f}",
            _size(one.rss_bytes),
            "–" if one.gpu_memory_bytes is None else _size(one.gpu_memory_bytes),
            "–" if one.answer_s is None else f"{1000 * one.answer_s:.1f} ms",
            str(one.threads),
            str(one.fds),
        )
    cores, memory = sum(one.cores for one in shown.slots), sum(one.rss_bytes for one in shown.slots)
    return Group(table, Text(f"\n{len(shown.slots)} servers: {cores:.2f} cores, {_size(memory)}"))


def servers(of_port: Mapping[int, Status]) -> Table:
    """Of private daemons, each with one."""
    table = _table(
        "PORT", "STATE", "MAP", "SERVER PID", "CARLAD PID", "UP", "RESTARTS", "REASON", narrow="REASON"
    )
    for port, shown in of_port.items():
        (slot, *_), daemon = shown.slots, shown.daemon
        state = "READY" if slot.state == "LEASED" else slot.state  # it is held for whoever connects
        table.add_row(
            str(port),
            Text(state, _STYLES[slot.state]),
            slot.map or "",
            str(slot.pid or ""),
            str(daemon.pid),
            duration(daemon.uptime_s),
            str(slot.restarts),
            Text((slot.reason or "") if _is_unwell(slot) else ""),
        )
    return table


def simulators(shown: Sequence[Simulator]) -> Table:
    table = _table("PID", "USER", "AGE", "LISTENS ON", "UNDER A CARLAD", "COMMAND", narrow="COMMAND")
    for one in shown:
        ports = ", ".join(map(str, one.ports))
        watched = "yes" if one.watched else ""
        table.add_row(str(one.process.pid), one.user, duration(one.age_s), ports, watched, Text(one.command))
    return table


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:.0f} MiB"


def _head(shown: Status) -> str:
    daemon = shown.daemon
    counts = Counter(slot.state for slot in shown.slots)
    servers = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    parts = [
        f"carlad {daemon.version}, pid {daemon.pid}, up {duration(daemon.uptime_s)}",
        servers or "no slots: fleet.size is 0, or `carlactl scale N` was",
    ]
    if shown.waiting:
        parts.append(f"{shown.waiting} waiting for a server")
    return "; ".join(parts)


def _slots(slots: tuple[SlotStatus, ...]) -> Table:
    table = _table("SLOT", "STATE", "SERVER", "MAP", "LEASE", "PID", "RUN", "RESTARTS", narrow="MAP")
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
        )
    return table


def _leases(leases: tuple[LeaseStatus, ...]) -> Table:
    table = _table("LEASE", "SLOT", "TOKEN", "ENDS IN", "HOLDER", narrow="HOLDER")
    for lease in leases:
        ends_in = duration(lease.expires_in_s)
        table.add_row(lease.lease_id, str(lease.slot), str(lease.token), ends_in, Text(lease.holder))
    return table


def _is_unwell(slot: SlotStatus) -> bool:
    return slot.reason is not None and slot.state not in ("READY", "LEASED", "SCRUBBING")


def _remark(slot: SlotStatus) -> Text:
    """Why it is not what it should be, and below it what its server wrote last."""
    reason = (slot.reason or "") if _is_unwell(slot) else ""
    words = ("draining" if slot.draining else "", reason)
    if slot.draining and slot.state == "STOPPED":
        words = ("drained", f"`carlactl undrain {slot.slot}` brings it back")
    remark = Text.assemble((f"slot {slot.slot}: ", _STYLES[slot.state]), "; ".join(filter(None, words)))
    for line in slot.last_words if _is_unwell(slot) else ():
        remark.append(f"\n  | {strip_control_codes(line)}", "dim")
    return remark


def _table(*columns: str, narrow: str = "") -> Table:
    """`narrow`: the column that gives way where the terminal is narrow."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name != narrow, overflow="ellipsis")
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
        expected = "" if where.expected_wait_s is None else f", about {duration(where.expected_wait_s)} to go"
        return f"waiting for a server: number {where.position} of {where.waiting}{expected}"
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

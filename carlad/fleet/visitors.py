"""Who but us, and the server's own processes, has been at a server's ports."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import trio

from carlad.fleet.connections import Connection, Connections, connections, describe
from carlad.fleet.looks import Looks
from carlad.fleet.ports import LOOPBACK
from carlad.fleet.processes import socket_inodes
from carlad.fleet.reach import Reach
from carlad.fleet.sockets import Socket

# Ended connections stay in the kernel's table for 60 s (TIME_WAIT). Where nobody looked for longer than that,
# less what a look may be late, somebody may have come and gone unseen.
_REMEMBERED_S = 50.0


class Visitors:
    """Looks at a server's connections, each time from where it looked before."""

    def __init__(self, reach: Reach, tree: Callable[[], Iterable[int]], looks: Looks | None = None) -> None:
        """`tree`: the server's processes; `looks`: shared with others."""
        self._reach = reach
        self._tree = tree
        self._looks = Looks() if looks is None else looks
        self._before = Connections()
        self._looked_at_s: float | None = None
        self._may_be_missed = False

    @property
    def may_be_missed(self) -> bool:
        """Whether somebody may have come and gone between two looks, since the server was put right last."""
        return self._may_be_missed

    def put_right(self) -> None:
        """The server is as if nobody had been there."""
        self._may_be_missed = False

    async def look(self, age_max_s: float = 0.0) -> Connections:
        """Those of others, as they were not longer ago than that; `came` counts from then on. Of servers
        elsewhere nothing is seen."""
        if self._reach.ports.host == LOOPBACK:
            now_s = trio.current_time()
            self._may_be_missed |= self._looked_at_s is not None and now_s - self._looked_at_s > _REMEMBERED_S
            self._looked_at_s = now_s
            served = self._reach.ports.served
            table = await self._looks.at(served, age_max_s)
            found = connections(table, served, self._reach.own_ports)
            self._before = self._without_the_servers_own(found, table)
        return self._before

    async def came(self, age_max_s: float = 0.0) -> frozenset[Connection]:
        """Those of others that were there at some time since the last look."""
        before = self._before
        return (await self.look(age_max_s)).since(before)

    def _without_the_servers_own(self, found: Connections, table: Iterable[Socket]) -> Connections:
        if not found.open:  # as a rule, and then the server's processes need not be looked at
            return found
        inodes = set().union(*map(socket_inodes, self._tree()))
        ends = {end.port for end in table if end.inode in inodes and end.port not in self._reach.ports.served}
        others = (connection for connection in found.open if connection.peer_port not in ends)
        return msgspec.structs.replace(found, open=frozenset(others))


async def one_of(found: Iterable[Connection]) -> tuple[str, int]:
    """Whose connection one of them is, such as `process 123 (python3)`, and to what port."""
    one = min(found, key=lambda connection: connection.peer_port)
    return await trio.to_thread.run_sync(describe, one), one.port

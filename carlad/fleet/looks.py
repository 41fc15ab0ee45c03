"""Looks at the kernel's table of sockets that all slots share: one takes about a millisecond, mostly for its
way through all of the table's buckets, whatever it is asked for."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Collection
from functools import partial

import trio

from carlad.fleet.sockets import Socket, sockets


class Looks:
    def __init__(self) -> None:
        self._turn = trio.Lock()
        self._ports = (0xFFFF, 0)  # the lowest and the highest that anybody asked for
        self._seen = (0xFFFF, 0)  # those of the newest look
        self._taken_at_s = -math.inf
        self._by_port: dict[int, list[Socket]] = {}

    async def at(self, ports: Collection[int], age_max_s: float = 0.0) -> list[Socket]:
        """Those with one of `ports` at either end, as they were not longer ago than that, and never as they
        were before what an earlier call told."""
        since_s = trio.current_time() - age_max_s
        self._ports = (min(self._ports[0], *ports), max(self._ports[1], *ports))
        async with self._turn:
            if self._taken_at_s <= since_s or self._seen != self._ports:
                await self._take()
        return [found for port in ports for found in self._by_port.get(port, ())]

    async def _take(self) -> None:
        began_s, ports = trio.current_time(), self._ports
        by_port = defaultdict(list)
        for found in await trio.to_thread.run_sync(partial(sockets, os.getpid(), ports=ports)):
            for port in {found.port, found.peer_port}:
                by_port[port].append(found)
        self._by_port, self._seen, self._taken_at_s = by_port, ports, began_s

"""An environment that marks its server in each step, for env hosts in the chaos."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from carlad.session.environment import Server
from tests.session.environments import Watched
from tests.standin.raw import RawClient
from tests.system.diary import Diary, mark_at, new_mark, set_mark
from tests.system.history import Granted, Saw

_SILENCE_MAX_S = 5.0


class Marking(Watched):
    """Its server is its own from `attach` on. What it meets there goes into `history`."""

    def __init__(self, history: str) -> None:
        super().__init__(length=50)
        self._history = history

    def attach(self, server: Server) -> None:
        self._diary = Diary(Path(self._history))
        self._mark = new_mark()
        sock = socket.create_connection((server.host, server.rpc_port), _SILENCE_MAX_S)
        self._server = RawClient(sock)
        self._diary.write(Granted(time.monotonic(), self._mark, server.rpc_port))
        self._diary.write(Saw(time.monotonic(), self._mark, mark_at(self._server), first=True))
        set_mark(self._server, self._mark)

    def step(self, action: Any) -> Any:
        try:
            set_mark(self._server, self._mark)
            self._diary.write(Saw(time.monotonic(), self._mark, mark_at(self._server)))
        except OSError as error:
            raise RuntimeError("time-out while waiting for the simulator") from error
        time.sleep(0.01)
        return super().step(action)

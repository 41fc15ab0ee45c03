"""`python -m tests.system.participants holder|stepper|viewer ENDPOINT HISTORY`: who takes part in the chaos.

Each goes on until SIGTERM, whatever happens to daemon and servers, and writes what it meets into its history.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

import carlad
from carlad.client import Client
from carlad.errors import CarladError
from carlad.telemetry import Subscriber
from tests.standin.raw import RawClient
from tests.system.diary import Diary, mark_at, new_mark, set_mark
from tests.system.history import Ended, Failed, Granted, Saw, Watched

TTL_S = 4.0
_WAIT_S = 20.0
_TURN_S = 3.0  # the longest that a holder keeps a server
_COMMAND_EVERY_S = 0.02
_PAUSE_S = 0.2
_SILENCE_MAX_S = 5.0  # of a server
_CLINGS_S = 4.0  # that a holder who does not let go goes on sending


def holder(endpoint: str, diary: Diary, chance: random.Random, ended: threading.Event) -> None:
    """Takes a server, marks it for a while, gives it back; now and then it does not let go of it."""
    while not ended.is_set():
        with suppress(CarladError):  # no daemon, no server, no journal: it is so, for a while
            with carlad.lease(ttl_s=TTL_S, wait_s=_WAIT_S, endpoint=endpoint) as lease:
                _hold(lease, diary, chance, ended)
            continue
        ended.wait(_PAUSE_S)


def _hold(lease: carlad.Lease, diary: Diary, chance: random.Random, ended: threading.Event) -> None:
    mark, until_s = new_mark(), time.monotonic() + chance.uniform(0.1, _TURN_S)
    diary.write(Granted(time.monotonic(), mark, lease.port, lease.token))
    how, sock = "released", None
    try:
        sock = socket.create_connection((lease.host, lease.port), _SILENCE_MAX_S)
        server = RawClient(sock)
        _mark(lease, server, diary, mark, until_s, ended)
    except OSError as error:
        how = f"its server is gone: {error}"
    if lease.lost.is_set():
        how = f"lost: {lease.lost_reason}"
    diary.write(Ended(time.monotonic(), mark, how))
    if sock is not None and how == "released" and chance.random() < 0.25:
        threading.Thread(target=_cling, args=(sock, mark), daemon=True).start()
    elif sock is not None:
        sock.close()


def _mark(
    lease: carlad.Lease,
    server: RawClient,
    diary: Diary,
    mark: int,
    until_s: float,
    ended: threading.Event,
) -> None:
    found, at_s = mark_at(server), time.monotonic()
    if not lease.lost.is_set():
        diary.write(Saw(at_s, mark, found, first=True))
    set_mark(server, mark)
    while time.monotonic() < until_s and not lease.lost.is_set() and not ended.is_set():
        time.sleep(_COMMAND_EVERY_S)
        found, at_s = mark_at(server), time.monotonic()
        if not lease.lost.is_set():
            diary.write(Saw(at_s, mark, found))
        set_mark(server, mark)


def _cling(sock: socket.socket, mark: int) -> None:
    """Goes on sending to a server that is not its own any more, as long as anybody listens."""
    server, until_s = RawClient(sock), time.monotonic() + _CLINGS_S
    with suppress(OSError), sock:
        while time.monotonic() < until_s:
            set_mark(server, mark)
            time.sleep(_COMMAND_EVERY_S)


def stepper(endpoint: str, diary: Diary, chance: random.Random, ended: threading.Event) -> None:
    """Steps an environment that marks its server (environment.py), through all losses."""
    action = np.zeros(2, np.float32)
    config = {"history": sys.argv[3]}
    while not ended.is_set():
        with suppress(CarladError):
            with carlad.session("marking", config, ttl_s=TTL_S, wait_s=_WAIT_S, endpoint=endpoint) as env:
                env.reset(seed=chance.randrange(1000))
                while not ended.is_set():
                    *_, terminated, truncated, _info = env.step(action)
                    if terminated or truncated:
                        env.reset()
            continue
        ended.wait(_PAUSE_S)


def viewer(endpoint: str, diary: Diary, chance: random.Random, ended: threading.Event) -> None:
    """Looks into any session for a while, then into another one."""
    while not ended.is_set():
        try:
            with Client(endpoint) as client:
                sessions = client.status().sessions
        except CarladError:
            sessions = ()
        if not sessions:
            ended.wait(_PAUSE_S)
            continue
        subscriber = Subscriber(chance.choice(sessions).telemetry)
        until_s, bundles = time.monotonic() + chance.uniform(0.5, 5.0), 0
        while time.monotonic() < until_s and not ended.is_set():
            bundles += subscriber.newest(_PAUSE_S) is not None
        subscriber.close()
        diary.write(Watched(time.monotonic(), bundles))


Role = Callable[[str, Diary, random.Random, threading.Event], None]
ROLES: dict[str, Role] = {"holder": holder, "stepper": stepper, "viewer": viewer}


def main(role: str, endpoint: str, history: str) -> int:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    diary = Diary(Path(history))
    try:
        ROLES[role](endpoint, diary, random.Random(os.getpid()), ended)
    except Exception:
        diary.write(Failed(time.monotonic(), f"{role}: {traceback.format_exc()}"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

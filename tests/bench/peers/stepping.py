"""A learner's way of stepping, without learning, for benchmarks of what a lost simulator costs.

`python -m tests.bench.peers.stepping RECORD PORT...`: Gymnasium's AsyncVectorEnv on servers that somebody
else starts; it ends when one is lost, as learners on it do. `RECORD --daemon ENDPOINT COUNT`: a vector of
sessions. RECORD gets a line for each step of the vector: when it was done, by the machine's monotonic clock,
and how many environments took part.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, VectorEnv

from carlad.session.environment import Server
from tests.bench.peers.environments import ROUTE, StateRoute

Envs = VectorEnv[Any, Any, Any]
_CONNECT_WITHIN_S = 30.0
_MAX_STEP_S = 15.0  # beyond the client's own time-out, for a learner that would wait for ever


def main(record: Path, *where: str) -> None:
    if where[0] == "--daemon":
        endpoint, count = where[1], int(where[2])
        envs = gymnasium.make_vec(
            "carlad.gym:Route-v0", num_envs=count, endpoint=endpoint, config={"config": ROUTE}
        )
    else:
        envs = async_envs([Server("127.0.0.1", int(port), 8000) for port in where])
    with record.open("a", buffering=1) as file:
        for taking_part in steps(envs):
            file.write(f"{time.monotonic()} {taking_part}\n")


def async_envs(servers: list[Server]) -> Envs:
    return AsyncVectorEnv([partial(connected, server) for server in servers], context="forkserver")


def connected(server: Server) -> StateRoute:
    """Its server may have been started a moment ago."""
    deadline_s = time.monotonic() + _CONNECT_WITHIN_S
    while time.monotonic() < deadline_s:
        with suppress(RuntimeError):
            return StateRoute(server, slow=False)
        time.sleep(0.1)
    return StateRoute(server, slow=False)


def steps(envs: Envs) -> Iterator[int]:
    """For each step of all of them how many were real: one that waits for a server is truncated each time."""
    envs.reset(seed=1)
    actions = np.tile(np.array([0.0, 0.3], np.float32), (envs.num_envs, 1))
    before = np.zeros(envs.num_envs, bool)
    while True:
        if isinstance(envs, AsyncVectorEnv):
            envs.step_async(actions)
            _, _, _, truncated, _ = envs.step_wait(timeout=_MAX_STEP_S)
        else:
            _, _, _, truncated, _ = envs.step(actions)
        yield int(envs.num_envs - (truncated & before).sum())
        before = truncated


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except Exception:
        traceback.print_exc()
    os._exit(1)  # whatever its environments' processes are doing

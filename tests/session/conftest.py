from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from carlad.session.environment import Server
from carlad.session.remote import RemoteEnv
from tests.session.leaks import nothing_left_behind

NO_SERVER = Server("127.0.0.1", 2000, 8000)
WAIT_S = 20.0

Start = Callable[..., RemoteEnv]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a host for a class of tests.session.environments, attached unless told not to."""
    with ExitStack() as stack:

        def start(name: str, attach: bool = True, **config: object) -> RemoteEnv:
            env = RemoteEnv(f"tests.session.environments:{name}", tmp_path, log=tmp_path / "log")
            stack.callback(env.close, kill=True)
            if attach:
                env.attach(NO_SERVER, config, WAIT_S)
            return env

        yield start

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from carlad.session.environment import Server
from tests.session.leaks import nothing_left_behind
from tests.trainer.standins import standin
from trainer.env.world import client_of

torch.set_num_threads(1)  # as trainings do: threads that wait for each other starve a busy machine


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A stand-in that the tests of one run share, and one client; each leaves its world as it was."""
    with standin() as address:
        client = client_of(address)
        yield address
        del client


@pytest.fixture
def clean() -> Iterator[None]:
    with nothing_left_behind():
        yield

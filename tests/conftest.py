"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.leftovers import Leftovers

# A shell ignores it for what it starts in the background, and every child of ours would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails at the end where anything is left of what the tests started or made, and names it."""
    leftovers = Leftovers(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("t", numbered=False))
    with pytest.MonkeyPatch.context() as patch:
        leftovers.enter(patch)
        yield
    found = leftovers.found()
    assert not found, "the tests left behind:\n" + "\n".join(found)


@pytest.fixture(scope="session", autouse=True)
def home(nothing_stays: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own: the `carla` client keeps the maps' navigation meshes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield

"""What all tests share."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import Leftovers
from tests.ports import lane_of_this_process

# A shell ignores it for what it starts in the background, and every child of ours would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nothing_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails at the end where anything is left of what the tests started or made, and names it."""
    with tempfile.TemporaryDirectory(prefix="carlad-t-", ignore_cleanup_errors=True) as temporary:
        os.chmod(temporary, 0o1777)  # some tests become another user, who may not enter pytest's own folder
        leftovers = Leftovers(tmp_path_factory.getbasetemp(), Path(temporary))
        with pytest.MonkeyPatch.context() as patch:
            leftovers.enter(patch)
            yield
        found = leftovers.found()
    assert not found, "the tests left behind:\n" + "\n".join(found)


@pytest.fixture(scope="session", autouse=True)
def lane() -> None:
    """Held before a test counts what is open."""
    lane_of_this_process()


@pytest.fixture(scope="session", autouse=True)
def home(nothing_stays: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own: the `carla` client keeps the maps' navigation meshes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield

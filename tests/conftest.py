"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

# A shell ignores it for what it starts in the background, and every child of ours would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own: the `carla` client keeps the maps' navigation meshes there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield

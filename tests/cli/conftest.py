"""A daemon for all tests of commands that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.daemons import FakeDaemon, fake_daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon(size=2, ttl_s=30.0) as running:
        yield running

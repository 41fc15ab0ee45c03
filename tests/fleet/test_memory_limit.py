"""Limits of memory, kept by a kernel with cgroups of version 2, whichever this machine has: in one of our own
the tests of cgroups are run as they are, and none of them is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.user_mode_linux import in_own_kernel


@pytest.mark.system
def test_the_kernel_keeps_servers_within_their_memory(tmp_path: Path) -> None:
    in_own_kernel("tests/fleet/test_cgroup.py", tmp_path)

"""How much is tried."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_TIMES = int(os.environ.get("CARLAD_FUZZ_TIMES", "1"))


def tried(examples: int) -> settings:
    """That many, or a multiple of that."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples * _TIMES, deadline=None, suppress_health_check=checks)

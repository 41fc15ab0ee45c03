"""The machine as carlad will find it: everything that was looked at, in the order that people ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from carlad.checkup import installation, machine
from carlad.checkup.finding import Finding
from carlad.config import Config

_LOOKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    installation.packages,
    installation.backend,
    installation.carla,
    installation.gpu,
    installation.ports,
    machine.disk,
    machine.memory,
    machine.limits,
    machine.clock,
    machine.service,
)


def look_around(config: Config) -> tuple[Finding, ...]:
    """Changes nothing, and starts nothing that lasts."""
    return tuple(finding for look in _LOOKS for finding in look(config))

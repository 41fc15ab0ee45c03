"""What all slots of a fleet share: how servers are started, checked, restarted and replaced."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import trio

from carlad.config import Config, ProbeSection, RecycleSection
from carlad.fleet.backends.interface import Backend
from carlad.fleet.looks import Looks
from carlad.fleet.outbreak import Outbreak
from carlad.fleet.records import made_from, map_of
from carlad.runtime import RestartPolicy


class Plan(msgspec.Struct, frozen=True):
    backend: Backend
    outbreak: Outbreak
    looks: Looks
    is_open: bool  # for whoever connects: nobody is a stranger
    host: str
    map_of: Callable[[int], str]  # by slot, see records
    probe: ProbeSection
    park_after_s: float  # 0: never
    restart: RestartPolicy
    recycle: RecycleSection
    hurry: trio.Event  # when it is set, servers are killed without a grace after TERM
    runs: Path
    log_dir: Path
    made_from: Callable[[int], str]  # by slot: tells configurations apart from which other servers would come


def plan_of(
    config: Config, backend: Backend, outbreak: Outbreak, looks: Looks, hurry: trio.Event, runs: Path
) -> Plan:
    configured = RestartPolicy(
        backoff_s=config.restart.backoff_s,
        backoff_max_s=config.restart.backoff_max_s,
        restarts_max=config.restart.restarts_max,
        period_s=config.restart.period_s,
    )
    return Plan(
        backend=backend,
        outbreak=outbreak,
        looks=looks,
        is_open=config.fleet.open,
        host=config.fleet.advertise_host,
        map_of=partial(map_of, config.fleet),
        probe=config.probe,
        park_after_s=config.fleet.park_after_s,
        restart=backend.policy(configured),
        recycle=config.recycle,
        hurry=hurry,
        runs=runs,
        log_dir=Path(config.daemon.log_dir),
        made_from=partial(made_from, config),
    )

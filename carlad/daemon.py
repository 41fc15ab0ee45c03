"""The daemon from top to bottom: configuration → units → shutdown. Read this first.

    fleet       the servers, one unit for each slot (carlad.fleet)
    broker      who holds which server (carlad.broker), on top of a journal
    sessions    env hosts on leased servers (carlad.hosts)
    router      requests and replies (carlad.gateway), on top of a desk that knows who answers what
    doorkeeper  whose key may come in by TCP, where other machines may (carlad.gateway)
    notices     what happened, for who listens
    control     what signals and operators tell the daemon as a whole (carlad.control)

A service manager's watchdog is fed only while each of them answers, but for the last (carlad.service).
The router and the broker are restarted when they fail. A slot that fails too often ends the daemon, and so
does everything else that is past its limit of restarts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import trio

import carlad
from carlad.broker.broker import Broker
from carlad.config import Config, Source
from carlad.control import Control, terms
from carlad.errors import CarladError
from carlad.fleet.backends.choice import choose
from carlad.fleet.fleet import Fleet
from carlad.fleet.leftovers import is_used, state_directory
from carlad.fleet.ports import PortRegistry
from carlad.gateway.desk import Desk
from carlad.gateway.doorbell import Doorbell
from carlad.gateway.doors import open_doors
from carlad.gateway.notices import Notices
from carlad.gateway.operator import Operator
from carlad.gateway.router import Router
from carlad.hosts.host import Premises
from carlad.hosts.sessions import Sessions
from carlad.journal import Journal, open_journal
from carlad.log import get_logger
from carlad.metrics import Exposition, Snapshot, Tally, serving
from carlad.occupant import Occupant
from carlad.runtime import RestartPolicy, supervise
from carlad.service import ServiceManager, summary
from carlad.upgrade import become_successor

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

log = get_logger(__name__)

# For failures of carlad's own units: anything but a fault in the code would be answered, not raised.
_LAST_ANSWERS_S = 1.0  # for what is asked still
_LAST_WORDS_S = 0.1  # for replies and notices to leave, where nothing lingers for them
_SERVERS_END_S = 60.0  # at most, with what kills and sweeps take on a loaded machine
_UNIT_POLICY = RestartPolicy(backoff_s=0.1, backoff_max_s=5.0, restarts_max=5, period_s=60.0)


def run(source: Source, environ: Mapping[str, str] = os.environ) -> int:
    """Serves until SIGTERM or SIGINT, then ends all servers. Returns the exit code: 0, or 1 after a failure.

    `source` is read now and whenever the configuration is to be read again. Raises ConfigError before
    anything was started.
    """
    try:
        with source.blamed():
            trio.run(_serve, source, environ)
    except BaseExceptionGroup as failures:
        _log_failures(failures)
        return 1
    return 0


def check(source: Source, environ: Mapping[str, str] = os.environ) -> None:
    """Raises ConfigError where `run` would refuse the configuration. Starts nothing."""
    config = source.load()
    with source.blamed():
        choose(config, environ, PortRegistry(*config.fleet.ports), owner="")


async def _serve(source: Source, environ: Mapping[str, str]) -> None:
    config = source.load()
    state_dir = Path(config.daemon.state_dir)
    was_used = is_used(state_dir)
    with (
        state_directory(state_dir) as runs,
        _journal(state_dir, was_used) as (journal, lost),
        open_doors(config.daemon, config.remote) as doors,
        closing(ServiceManager(environ)) as manager,
        ExitStack() as at_the_end,
    ):
        tally = Tally()
        notices = Notices(doors.published, tally.note)
        fleet = Fleet(config, runs, journal, notices.publish, environ)
        broker = Broker(fleet, journal, terms(config), lambda event, **about: tell(event, **about))
        sessions = Sessions(config, _premises(config, runs, environ), broker, journal, notices.publish)

        def tell(
            event: str, slot: int | None = None, lease_id: str | None = None, reason: str | None = None
        ) -> None:
            notices.publish(event, slot, lease_id, reason)
            sessions.hear(event, lease_id, reason)
            occupant.hear(event, lease_id)

        occupant = Occupant(broker, config.fleet.size)
        control = Control(config, source, fleet, broker, sessions, doors.reread_keys, notices.publish)
        operator, operators = Operator(fleet, control), config.remote.operators
        desk = Desk(broker, fleet, sessions, notices, operator, config.probe.load_max_s, operators)
        doorbell = Doorbell(doors.context, config.daemon.endpoint, notices)
        units = {
            "fleet": fleet.ping,
            "broker": broker.ping,
            "sessions": sessions.ping,
            "router": doorbell.ring_router,
            "notices": doorbell.ring_notices,
            **({"doorkeeper": doors.doorkeeper.ping} if doors.doorkeeper is not None else {}),
        }
        exposition = Exposition(tally, partial(_snapshot, broker, fleet, sessions), carlad.__version__)
        if lost is not None:
            notices.publish("journal.lost", reason=lost)
        at_the_end.enter_context(serving(config.metrics.listen, exposition))
        async with trio.open_nursery() as nursery:
            await nursery.start(control.obey_signals)
            open_sessions = await sessions.records()
            await fleet.adopt(sessions.folders(open_sessions))
            router = Router(doors.requests, desk, doors.admitted)
            nursery.start_soon(supervise, router.run, _UNIT_POLICY, "router")
            if doors.doorkeeper is not None:
                nursery.start_soon(supervise, doors.doorkeeper.run, _UNIT_POLICY, "doorkeeper")
            async with trio.open_nursery() as servers:
                await servers.start(fleet.run)
                nursery.start_soon(supervise, broker.run, _UNIT_POLICY, "broker")  # it knows the slots now
                await servers.start(sessions.run, open_sessions)
                if config.fleet.open:
                    servers.start_soon(supervise, occupant.run, _UNIT_POLICY, "occupant")
                servers.start_soon(manager.watch, units, partial(_say, broker, fleet, sessions))
                manager.ready()
                notices.publish("daemon.started")
                log.info("daemon.started", version=carlad.__version__, endpoint=config.daemon.endpoint)
                while await control.told_to_make_way():
                    await _make_way(notices, manager)
                manager.stopping(control.drain_s + _SERVERS_END_S)
                notices.publish("daemon.stopping")
                log.info("daemon.stopping", leases=len(broker.leases()))
                await control.drain()
                await sessions.stop()
                await broker.stop()
                servers.cancel_scope.cancel()
            with trio.move_on_after(_LAST_ANSWERS_S):
                await router.answered()  # whoever had it end is, too, however quickly it does
            nursery.cancel_scope.cancel()  # last, so that clients could see how the servers ended
        log.info("daemon.stopped")


def _premises(config: Config, runs: Path, environ: Mapping[str, str]) -> Premises:
    """Env hosts' sockets lie beside the daemon's: who may reach the one may reach the others."""
    return Premises(
        runs=runs,
        sockets=Path(config.daemon.endpoint.removeprefix("ipc://")).parent,
        logs=Path(config.daemon.log_dir) / "sessions",
        environ=environ,
    )


@contextmanager
def _journal(state_dir: Path, was_used: bool) -> Iterator[tuple[Journal, str | None]]:
    journal, lost = open_journal(state_dir / "journal.sqlite", was_used=was_used)
    if lost is not None:
        log.error("journal.lost", reason=lost, consequence="all servers and leases that it knew are ended")
    with closing(journal):
        yield journal, lost


async def _make_way(notices: Notices, manager: ServiceManager) -> None:
    """Returns only where the system refuses."""
    notices.publish("daemon.upgrading")
    log.info("daemon.upgrading", pid=os.getpid())
    await trio.sleep(_LAST_WORDS_S)
    manager.making_way()
    try:
        become_successor()
    except OSError as error:
        manager.ready()
        log.error("upgrade.failed", reason=error)  # noqa: TRY400 a traceback would help nobody


def _say(broker: Broker, fleet: Fleet, sessions: Sessions) -> str:
    return summary(fleet.statuses(), len(sessions.statuses()), broker.waiting)


def _snapshot(broker: Broker, fleet: Fleet, sessions: Sessions) -> Snapshot:
    return Snapshot(
        slots=fleet.statuses(),
        vitals=fleet.vitals(),
        leases=len(broker.leases()),
        sessions=len(sessions.statuses()),
        waiting=broker.waiting,
    )


def _log_failures(failures: BaseExceptionGroup[BaseException]) -> None:
    """Each in a line where it was raised on purpose, with its traceback where not."""
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            _log_failures(failure)
        elif isinstance(failure, CarladError):
            log.error("daemon.failed", reason=failure)
        else:
            log.error("daemon.failed", exc_info=failure)

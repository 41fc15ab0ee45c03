"""What signals and operators tell the daemon as a whole: to end, to scale, to read its configuration anew."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import msgspec
import trio

from carlad import reload, upgrade
from carlad.broker.broker import Broker
from carlad.broker.servers import Notify
from carlad.broker.terms import Quota, Terms
from carlad.config import Config, Source, check
from carlad.errors import CarladError, ConfigError
from carlad.fleet.fleet import Fleet
from carlad.hosts.sessions import Sessions
from carlad.log import get_logger
from carlad.messages import Changed, Reloaded
from carlad.runtime import Changes

log = get_logger(__name__)


class Control:
    """`source` is read again for a reload, and with `reread_keys` the keys of clients on other machines."""

    def __init__(
        self,
        config: Config,
        source: Source,
        fleet: Fleet,
        broker: Broker,
        sessions: Sessions,
        reread_keys: Callable[[], Awaitable[None]],
        notify: Notify,
    ) -> None:
        self._config = config
        self._source = source
        self._fleet = fleet
        self._broker = broker
        self._sessions = sessions
        self._reread_keys = reread_keys
        self._notify = notify
        self._told = Changes()
        self._end = trio.Event()
        self._at_once = trio.Event()

    async def obey_signals(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The first SIGTERM or SIGINT begins the shutdown, a further one hastens it. Until cancelled."""
        with trio.open_signal_receiver(*upgrade.SIGNALS) as signals:
            upgrade.listen()
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    await self._reload_or_say_why_not()
                elif number == signal.SIGUSR2:
                    await self._upgrade_or_say_why_not()
                else:
                    self.shut_down(now=self._end.is_set())

    def shut_down(self, *, now: bool) -> None:
        """`now`: neither leases nor servers are given time."""
        if now:
            self._at_once.set()
            self._fleet.hasten()
        self._end.set()
        self._told.mark()

    async def upgrade(self) -> None:
        """Raises ConfigError where the successor would not start, JournalError where it would not know of
        all servers; everything goes on then."""
        await upgrade.check_successor()
        await self._fleet.keep()
        self._told.mark()

    async def told_to_make_way(self) -> bool:
        """Waits for either; False: to end."""
        await self._told.wait()
        return not self._end.is_set()

    @property
    def drain_s(self) -> float:
        """How long holders of leases get at the end."""
        return self._config.daemon.drain_s

    async def drain(self) -> None:
        """No lease is granted from now on. Returns when none is left, or when its time is up."""
        await self._broker.drain()
        with trio.move_on_after(self.drain_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_for_holders, nursery.cancel_scope)
                await self._at_once.wait()
                nursery.cancel_scope.cancel()

    async def _wait_for_holders(self, waiting: trio.CancelScope) -> None:
        while self._broker.leases():
            await self._broker.changes.wait()
        waiting.cancel()

    async def scale(self, size: int) -> None:
        """Raises ConfigError where there are not ports enough."""
        fleet = msgspec.structs.replace(
            self._config.fleet, size=size, spares=min(self._config.fleet.spares, size)
        )
        config = msgspec.structs.replace(self._config, fleet=fleet)
        check(config)
        await self._use(config, reload.changes(self._config, config))

    async def reload(self) -> Reloaded:
        """Raises ConfigError where the configuration cannot be used; nothing has changed then."""
        new = await trio.to_thread.run_sync(self._source.load)
        with self._source.blamed():
            await self._reread_keys()
            changes = reload.changes(self._config, new)
            await self._use(reload.effective(self._config, new), changes)
        return Reloaded(changes=changes)

    async def _use(self, config: Config, changes: tuple[Changed, ...]) -> None:
        self._fleet.use(config)
        self._sessions.use(config)
        self._config = config
        await self._broker.use(terms(config))
        for change in changes:
            log.info("config.changed", key=change.key, old=change.old, new=change.new, applies=change.applies)
            what = f"{change.key} is {change.new} instead of {change.old}, {change.applies}"
            self._notify("config.changed", reason=what)

    async def _upgrade_or_say_why_not(self) -> None:
        try:
            await self.upgrade()
        except CarladError as error:
            log.error("upgrade.refused", reason=error)  # noqa: TRY400 a traceback would help nobody

    async def _reload_or_say_why_not(self) -> None:
        try:
            reloaded = await self.reload()
        except ConfigError as error:
            log.error("config.refused", reason=error)  # noqa: TRY400 a traceback would help nobody
        else:
            log.info("config.reloaded", changes=len(reloaded.changes))


def terms(config: Config) -> Terms:
    """Under which servers are leased."""
    lease = config.lease
    return Terms(
        ttl_s=lease.ttl_s,
        ttl_max_s=lease.ttl_max_s,
        spares=config.fleet.spares,
        lease_max_s=lease.max_s or None,
        idle_max_s=lease.idle_max_s or None,
        head_start_s=lease.head_start_s,
        quota=Quota(leases_max=lease.quota or None, users=lease.quotas),
    )

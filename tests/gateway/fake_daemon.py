"""A real broker and gateway over a fleet without processes.

`python -m tests.gateway.fake_daemon ENDPOINT LISTEN SESSION_PORT KEYS_DIR STATE_DIR SIZE TTL_S RESTART_S`
prints `ready`, ends with its stdin, and takes commands there: `crash SLOT`, `hold-down SLOT`, and `reread` of
the clients' keys. LISTEN may be empty, SESSION_PORT 0; else it is the first of as many as the slots need.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from carlad.broker.broker import Broker
from carlad.broker.terms import Terms
from carlad.config import Config, DaemonSection, EnvSection, LeaseSection, RemoteSection, SessionSection
from carlad.gateway.desk import Desk
from carlad.gateway.doors import Doors, open_doors
from carlad.gateway.notices import Notices
from carlad.gateway.operator import Operator
from carlad.gateway.router import Router
from carlad.hosts.host import Premises
from carlad.hosts.sessions import Sessions
from carlad.journal import Journal
from tests.broker.fake_servers import FakeServers

ROOT = Path(__file__).resolve().parents[2]


async def serve(
    state_dir: Path, size: int, ttl_s: float, restart_s: float, doors: Doors, remote: RemoteSection
) -> None:
    journal = Journal(state_dir / "journal.sqlite", busy_s=60.0)  # tests look into it for long
    servers = FakeServers(size, load_s=0.8, restart_s=restart_s, scrub_s=min(restart_s, 0.02))
    notices = Notices(doors.published)
    broker = Broker(servers, journal, Terms(ttl_s, 3600.0), lambda *a, **k: tell(*a, **k))
    sessions = Sessions(_config(ttl_s, remote), _premises(state_dir), broker, journal, notices.publish)

    def tell(
        event: str, slot: int | None = None, lease_id: str | None = None, reason: str | None = None
    ) -> None:
        notices.publish(event, slot, lease_id, reason)
        sessions.hear(event, lease_id, reason)

    operator = Operator(servers, servers)
    desk = Desk(broker, servers, sessions, notices, operator, load_max_s=5.0, remote_operators=("ann",))
    router = Router(doors.requests, desk, doors.admitted)
    async with trio.open_nursery() as nursery:
        for run in (servers.run, broker.run, router.run):
            nursery.start_soon(run)
        await nursery.start(sessions.run, await sessions.records())
        if doors.doorkeeper is not None:
            nursery.start_soon(doors.doorkeeper.run)
        print("ready", flush=True)
        await _obey(servers, doors)
        nursery.cancel_scope.cancel()
    journal.close()


async def _main(endpoint: str, listen: str, session_port: str, keys_dir: str, *rest: str) -> None:
    state_dir, size, ttl_s, restart_s = rest
    first = int(session_port)
    ports = (first, first + 2 * int(size) - 1) if first else ()
    remote = RemoteSection(listen=(listen,) if listen else (), keys_dir=keys_dir, session_ports=ports)
    with open_doors(DaemonSection(endpoint=endpoint), remote) as doors:
        await serve(Path(state_dir), int(size), float(ttl_s), float(restart_s), doors, remote)


def _config(ttl_s: float, remote: RemoteSection) -> Config:
    """Every class of tests.session.environments may be opened, by its name in lower case."""
    module = "tests.session.environments"
    names = ("Quiet", "Failing", "Aborting", "Hanging", "OnceOnly", "Camera", "Watched", "Shown", "Rude")
    names += ("Missing", "Sluggish")
    envs = {name.lower(): EnvSection(env=f"{module}:{name}", path=(str(ROOT),)) for name in names}
    session = SessionSection(envs={**envs, "nowhere": EnvSection(env="no.such.module:Env")}, start_max_s=20.0)
    return Config(session=session, lease=LeaseSection(ttl_s=ttl_s), remote=remote)


def _premises(state_dir: Path) -> Premises:
    runs = state_dir / "incarnations"
    runs.mkdir(exist_ok=True)
    return Premises(runs, state_dir / "run", state_dir / "logs", os.environ)


async def _obey(servers: FakeServers, doors: Doors) -> None:
    async for line in trio.wrap_file(sys.stdin):
        match line.split():
            case ["crash", slot]:
                servers.crash(int(slot), "killed by signal 9")
            case ["hold-down", slot]:
                servers.show(int(slot), state="QUARANTINED", lease_id=None, reason="held down")
            case ["reread"]:
                await doors.reread_keys()


if __name__ == "__main__":
    trio.run(_main, *sys.argv[1:])

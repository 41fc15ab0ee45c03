"""A real broker and gateway over a fleet without processes.

`python -m tests.gateway.fake_daemon ENDPOINT STATE_DIR SIZE TTL_S RESTART_S` prints `ready`, ends with its
stdin, and takes commands there: `crash SLOT` and `hold-down SLOT`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio
import zmq

from carlad.broker.broker import Broker
from carlad.broker.terms import Terms
from carlad.gateway.desk import Desk
from carlad.gateway.endpoint import listening
from carlad.gateway.notices import Notices
from carlad.gateway.operator import Operator
from carlad.gateway.router import Router, router_socket
from carlad.gateway.zmq_socket import ZmqSocket
from carlad.journal import Journal
from carlad.messages import notices_endpoint
from tests.broker.fake_servers import FakeServers


async def serve(endpoint: str, state_dir: Path, size: int, ttl_s: float, restart_s: float) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    requests, published = router_socket(context), context.socket(zmq.PUB)
    journal = Journal(state_dir / "journal.sqlite")
    servers = FakeServers(size, load_s=0.8, restart_s=restart_s)
    with listening(requests, endpoint), listening(published, notices_endpoint(endpoint)):
        notices = Notices(published)
        broker = Broker(servers, journal, Terms(ttl_s, 3600.0), notices.publish)
        router = Router(
            ZmqSocket(requests), Desk(broker, servers, notices, Operator(servers, servers), load_max_s=5.0)
        )
        async with trio.open_nursery() as nursery:
            for run in (servers.run, broker.run, router.run):
                nursery.start_soon(run)
            print("ready", flush=True)
            await _obey(servers)
            nursery.cancel_scope.cancel()
    context.term()
    journal.close()


async def _obey(servers: FakeServers) -> None:
    async for line in trio.wrap_file(sys.stdin):
        match line.split():
            case ["crash", slot]:
                servers.crash(int(slot), "killed by signal 9")
            case ["hold-down", slot]:
                servers.show(int(slot), state="QUARANTINED", lease_id=None, reason="held down")


if __name__ == "__main__":
    _, given_endpoint, given_dir, given_size, given_ttl, given_restart = sys.argv
    trio.run(serve, given_endpoint, Path(given_dir), int(given_size), float(given_ttl), float(given_restart))

"""A run's environment sessions: a daemon's, or children of ours on servers that one elsewhere leases or that
none knows."""

from __future__ import annotations

from pathlib import Path

import msgspec

from carlad.endpoints import are_elsewhere, client_endpoints
from carlad.errors import ConfigError
from carlad.session.environment import Server
from carlad.session.leased import LeaseSource
from carlad.session.members import Members
from carlad.session.sources import ChildSource, DaemonSource, Source, Terms
from trainer.config import Config
from trainer.distributed import ALONE, Ranks

ENVIRONMENT = "trainer.env.route_env:RouteEnv"
SESSIONS_FILE = "sessions.json"  # tells viewers where the telemetry is
HOST_LOGS = "logs"  # in the run's folder
_REPLY_MARGIN_S = 10.0  # beyond the client's own time-out, for which a call into a lost server takes
_TRAFFIC_MANAGER_PORT = 8000  # CARLA's default; the session at address i takes the i-th after it


def started(config: Config, logs: Path, ranks: Ranks = ALONE, capture: Path | None = None) -> Members:
    """This process's sessions; the caller closes them. `logs` takes what hosts of our own say.

    Where the configuration wants recordings of episodes, they go to `capture`, if that is given.
    """
    sessions, addresses = config.servers.sessions, config.servers.addresses
    if addresses and len(addresses) != sessions * ranks.size:
        raise ConfigError(
            f"servers.addresses: {len(addresses)} given, but {ranks.size} processes "
            f"with servers.sessions = {sessions} each need {sessions * ranks.size}"
        )
    first = ranks.rank * sessions
    sources = [_source(config, logs, index) for index in range(first, first + sessions)]
    reply_within_s = config.env.client_timeout_s + _REPLY_MARGIN_S
    if capture is None or config.record.every_s == 0:
        return Members(sources, reply_within_s)
    from trainer.recording import RecordedMembers, Recordings

    return RecordedMembers(sources, reply_within_s, Recordings(capture, config.record))


def _source(config: Config, logs: Path, index: int) -> Source:
    """A session of this machine's daemon; a child of ours on another's server, or at the address given."""
    servers, env = config.servers, {"config": msgspec.to_builtins(config.env)}
    name, log = f"env-{index}", logs / f"env-{index}.log"
    terms = Terms(servers.env, env, servers.map or None, None, servers.wait_s, servers.endpoint or None)
    if not servers.addresses and not are_elsewhere(client_endpoints(terms.endpoint)):
        return DaemonSource(terms)
    logs.mkdir(parents=True, exist_ok=True)
    if not servers.addresses:
        return LeaseSource(ENVIRONMENT, terms, name, log)
    host, _, port = servers.addresses[index].rpartition(":")
    server = Server(host, int(port), _TRAFFIC_MANAGER_PORT + index)
    return ChildSource(ENVIRONMENT, env, server, name, log)


class Listing:
    """The file that tells viewers where the sessions' telemetry is, written whenever that changes."""

    def __init__(self, run: Path, ranks: Ranks) -> None:
        self._path = run / SESSIONS_FILE
        self._ranks = ranks
        self._written: list[str | None] = []

    def update(self, telemetry: list[str | None]) -> None:
        """Those of the first process: viewers see as many as they could look at."""
        if telemetry == self._written or not self._ranks.is_first:
            return
        self._written = telemetry
        sessions = [{"session": f"env-{i}", "telemetry": where} for i, where in enumerate(telemetry) if where]
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode({"sessions": sessions}))
        new.replace(self._path)

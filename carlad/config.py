"""carlad.toml, decoded once into frozen structs; every default carries its unit and its reason.

An empty file is a working configuration: a fleet of two stand-ins. No other module looks
for settings in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from carlad import toml
from carlad.endpoints import PORT_MAX, check_listen, check_local, default_endpoint, endpoint_from, parsed
from carlad.errors import ConfigError

Seconds = Annotated[float, msgspec.Meta(ge=0.01)]
Limit = Annotated[float, msgspec.Meta(ge=0)]  # 0: none
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the sections: unknown keys are errors."""


class DaemonSection(Section, frozen=True):
    """Where the daemon lives. Empty strings stand for the defaults of `default_*` below."""

    endpoint: str = ""  # ipc://PATH; a plain path is understood as one
    state_dir: str = ""  # tokens and run files: what must survive a restart
    log_dir: str = ""  # servers' output
    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0  # at its end: for holders to release
    group: str = ""  # whose members may connect; of root's daemon "carlad", where there is that group


class RemoteSection(Section, frozen=True):
    """Clients on other machines, by TCP with CURVE: encrypted, and for those alone whose key is known."""

    listen: tuple[str, ...] = ()  # tcp://ADDRESS:PORT; the notices take PORT + 1
    keys_dir: str = ""  # server.key_secret, and clients/USER.key of each who may come in
    operators: tuple[str, ...] = ()  # users who may drain, restart and stop things from there
    session_ports: tuple[Port, ...] = ()  # first and last, two a session; empty: sessions stay here


class FleetSection(Section, frozen=True):
    """The servers. One slot each; a slot is a permanent place, an incarnation one run of it."""

    size: Annotated[int, msgspec.Meta(ge=0, le=512)] = 2
    spares: Annotated[int, msgspec.Meta(ge=0)] = 0  # slots kept back for replacements
    backend: Literal["standin", "binary", "docker", "external"] = "standin"
    carla_root: str = ""  # the folder of CarlaUE4.sh, for backend = "binary"
    servers: tuple[str, ...] = ()  # for backend = "external": host:port each, and so many slots
    maps: tuple[
        str, ...
    ] = ()  # in turn: slot 0 the first, and so on, so that each is there when it is wanted
    user: str = ""  # as whom a root daemon starts servers: CARLA refuses root
    map: str = ""  # loaded at the start; empty: the one that the server starts with
    quality: Literal["Low", "Medium", "High", "Epic"] = "Low"  # learning seldom needs Epic's 3.5 GB
    rendering: Literal["offscreen", "none", "window"] = (
        "offscreen"  # none: no GPU is used, cameras see nothing
    )
    resolution: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]*x[1-9][0-9]*$")] = "800x600"
    park_after_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # 0: never; then an idle server draws nothing
    ports: tuple[Port, Port] = (2000, 2999)  # first and last; outside Linux's ephemeral 32768+
    advertise_host: str = "127.0.0.1"  # what leases name: CARLA has no authentication
    extra_args: tuple[str, ...] = ()  # appended to the server's command line
    open: bool = (
        False  # for whoever connects, without leases and on the same ports, as `carlactl server` has it
    )


class DockerSection(Section, frozen=True):
    """For fleet.backend = "docker"."""

    image: str = "carlasim/carla:0.9.16"
    command: tuple[str, ...] = ("bash", "CarlaUE4.sh")  # in the image; CARLA's flags are appended
    gpus: str = "all"  # "all": carlad chooses one, see gpu; else as `docker run --gpus` takes it; empty: none
    network: Literal["bridge", "host"] = "bridge"  # host: CARLA listens on all of the machine's addresses
    run_args: tuple[str, ...] = ()  # to `docker run`


class GpuSection(Section, frozen=True):
    """Which graphics cards servers draw on; without NVML (carlad[gpu]) they choose themselves."""

    devices: tuple[str, ...] = ()  # by index, UUID or PCI bus; empty: all
    memory_mib: Annotated[int, msgspec.Meta(ge=0)] = 3500  # that a server may take; about 3500 at Epic


class ResourcesSection(Section, frozen=True):
    """Under which conditions servers run beside learners."""

    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 0  # 19: whatever others leave
    oom_score_adj: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 300  # a server is replaced, a learner not
    cpus: str = ""  # as taskset takes it, such as "0-15"; "gpu": those near the server's card; empty: all
    memory_max_mb: Annotated[int, msgspec.Meta(ge=0)] = 0  # of a server; 0: no limit
    files_max: Annotated[int, msgspec.Meta(ge=0)] = 0  # open at once; 0: as carlad's own limit


class LeaseSection(Section, frozen=True):
    ttl_s: Seconds = 30.0  # a holder on another machine that dies costs its server for this long
    ttl_max_s: Seconds = 3600.0
    max_s: Limit = 0.0  # however often it is renewed
    idle_max_s: Limit = 0.0  # without any connection to the server
    head_start_s: Seconds = 60.0  # of one step of priority: at most nine minutes before any other
    quota: Annotated[int, msgspec.Meta(ge=0)] = 0  # servers that one user may have at once; 0: no limit
    quotas: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}  # by user, instead of `quota`


class EnvSection(Section, frozen=True):
    """An environment that sessions may open."""

    env: Annotated[str, msgspec.Meta(pattern=r"^[\w.]+:\w+$")]  # MODULE:CLASS
    python: str = ""  # the interpreter of its host; empty: the daemon's own
    path: tuple[str, ...] = ()  # folders of modules, before the interpreter's own


_ENVIRONMENTS = {"route": "trainer.env.route_env:RouteEnv"}


class SessionSection(Section, frozen=True):
    """Env sessions: only these environments, by these names; clients cannot name code of their own."""

    envs: dict[str, str | EnvSection] = msgspec.field(default_factory=lambda: dict(_ENVIRONMENTS))
    start_max_s: Seconds = 60.0  # an interpreter with its imports, on a loaded machine
    attach_max_s: Seconds = 60.0  # a real server loads for seconds
    sessions_max: Annotated[int, msgspec.Meta(ge=0)] = 512

    def environments(self) -> dict[str, EnvSection]:
        """By name. Raises ConfigError for one that is not MODULE:CLASS, or whose path begins nowhere."""
        try:
            environments = {
                name: msgspec.convert({"env": env}, EnvSection) if isinstance(env, str) else env
                for name, env in self.envs.items()
            }
        except msgspec.ValidationError:
            raise ConfigError(
                "session.envs: write MODULE:CLASS, such as trainer.env.route_env:RouteEnv"
            ) from None
        for name, env in environments.items():
            for folder in env.path:
                if not Path(folder).is_absolute():
                    raise ConfigError(f'session.envs.{name}.path: write "{folder}" out, from / on')
        return environments


class ProbeSection(Section, frozen=True):
    """A hang is seen after at most period_s + failures * timeout_s."""

    period_s: Seconds = 1.0
    timeout_s: Seconds = 2.0  # a busy game thread answers within a few hundred milliseconds
    failures: Annotated[int, msgspec.Meta(ge=1)] = 3
    start_max_s: Seconds = 180.0  # CARLA takes 5 to 30 s, a cold disk much longer
    load_max_s: Seconds = 120.0  # a map load above 20 s is common with four servers
    loop_max_s: Seconds = 30.0  # CARLA's own limit for a thread that waits for another is 60 s


class RestartSection(Section, frozen=True):
    backoff_s: Seconds = 0.5  # doubles with each restart in the period
    backoff_max_s: Seconds = 30.0
    restarts_max: Annotated[int, msgspec.Meta(ge=1)] = 5  # within period_s; then quarantine
    period_s: Seconds = 60.0


class LogsSection(Section, frozen=True):
    """Servers' output: at most files_max * file_mib for each slot, however much is written."""

    file_mib: Annotated[float, msgspec.Meta(ge=0.01, le=1e6)] = 16.0  # then another file is begun
    files_max: Annotated[int, msgspec.Meta(ge=2)] = 4  # CARLA writes about 1 MiB an hour
    age_max_s: Limit = 0.0  # then another file is begun, too
    compress: bool = True  # all but the newest two
    stamps: bool = True  # each line begins with the time of day at which it came


class RecycleSection(Section, frozen=True):
    """When a server is replaced between two leases, because real ones leak. 0: never for that reason.

    What it had before anybody used it is no wear, see fleet/wear.py.
    """

    age_max_s: Limit = 0.0
    leases_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    map_loads_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    rss_max_mb: Limit = 0.0
    gpu_memory_max_mb: Limit = 0.0
    growth_max_mb_per_h: Limit = 0.0  # of memory; believed after ten minutes on one map
    period_s: Seconds = 5.0  # how often servers' resources are looked at


class MetricsSection(Section, frozen=True):
    listen: Annotated[str, msgspec.Meta(pattern=r"^(.+:[0-9]{1,5})?$")] = ""  # host:port for Prometheus


class Config(Section, frozen=True):
    daemon: DaemonSection = DaemonSection()
    remote: RemoteSection = RemoteSection()
    fleet: FleetSection = FleetSection()
    docker: DockerSection = DockerSection()
    gpu: GpuSection = GpuSection()
    resources: ResourcesSection = ResourcesSection()
    lease: LeaseSection = LeaseSection()
    session: SessionSection = SessionSection()
    probe: ProbeSection = ProbeSection()
    restart: RestartSection = RestartSection()
    logs: LogsSection = LogsSection()
    recycle: RecycleSection = RecycleSection()
    metrics: MetricsSection = MetricsSection()


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path`, or the defaults for None. Raises ConfigError naming file and key."""
    if path is None:
        return resolve(Config(), environ)
    text = toml.read(path)
    try:
        return resolve(decode(text), environ)
    except ConfigError as error:
        raise ConfigError(_placed(path, text, str(error))) from error


class Source:
    """What a daemon is configured by: a file, or the defaults for None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self) -> Config:
        """As the file is now. Raises ConfigError naming file, line and key."""
        return load(self._path)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What turns out only when a key is used, such as a folder that is not there, is told with file
        and line, too."""
        try:
            yield
        except ConfigError as error:
            if self._path is None or key_of(str(error)).partition(".")[0] not in Config.__struct_fields__:
                raise
            raise ConfigError(_placed(self._path, toml.read(self._path), str(error))) from error


def _placed(path: Path, text: str, problem: str) -> str:
    line = toml.line_of(text, key_of(problem))
    where = f", line {line}" if line else ""
    return f"cannot use configuration {path}{where}: {problem}"


def problems(text: str) -> list[str]:
    """All that is wrong with a configuration, each as `section.key: why` where it is about a key."""
    try:
        found = list(toml.problems(toml.parse(text), Config))
        if not found:
            decode(text)
    except ConfigError as error:
        return [str(error)]
    return found


def key_of(problem: str) -> str:
    """`fleet.ports` of `fleet.ports[1]: expected ...`."""
    return problem.partition(":")[0].partition("[")[0]


def decode(text: str) -> Config:
    """Raises ConfigError with the key, and the likely one for a key that does not exist."""
    config = _sized(toml.decode(toml.parse(text), Config))
    check(config)
    return config


def _sized(config: Config) -> Config:
    """Of external servers there are as many as are named."""
    if config.fleet.backend != "external":
        return config
    return msgspec.structs.replace(
        config, fleet=msgspec.structs.replace(config.fleet, size=len(config.fleet.servers))
    )


def resolve(config: Config, environ: Mapping[str, str] = os.environ) -> Config:
    """`config` with every default that depends on the environment filled in."""
    daemon = config.daemon
    state_dir = Path(daemon.state_dir or default_state_dir(environ)).expanduser().absolute()
    log_dir = Path(daemon.log_dir or default_log_dir(environ, state_dir)).expanduser().absolute()
    daemon = msgspec.structs.replace(
        daemon,
        endpoint=endpoint_from(daemon.endpoint) if daemon.endpoint else default_endpoint(environ),
        state_dir=str(state_dir),
        log_dir=str(log_dir),
    )
    if daemon.endpoint.startswith("tcp:"):
        raise ConfigError(
            "daemon.endpoint: this is the Unix socket for this machine; TCP for others is remote.listen, "
            "which admits those alone who have a key"
        )
    check_local("daemon.endpoint", daemon.endpoint)
    keys_dir = Path(config.remote.keys_dir or default_keys_dir(environ)).expanduser().absolute()
    remote = msgspec.structs.replace(config.remote, keys_dir=str(keys_dir))
    return msgspec.structs.replace(config, daemon=daemon, remote=remote)


def default_state_dir(environ: Mapping[str, str]) -> Path:
    if "STATE_DIRECTORY" in environ:
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]) / "carlad"
    return Path.home() / ".local" / "state" / "carlad"


def default_log_dir(environ: Mapping[str, str], state_dir: Path) -> Path:
    if "LOGS_DIRECTORY" in environ:
        return Path(environ["LOGS_DIRECTORY"].split(":")[0])
    return state_dir / "logs"


def default_keys_dir(environ: Mapping[str, str]) -> Path:
    if "CONFIGURATION_DIRECTORY" in environ:
        return Path(environ["CONFIGURATION_DIRECTORY"].split(":")[0]) / "keys"
    if os.geteuid() == 0:
        return Path("/etc/carlad/keys")
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "carlad" / "keys"


# Ports of one server: RPC, streaming (+1), secondary (+2), and one for the holder's Traffic Manager.
PORTS_PER_SLOT = 4
# Ports of one env session for other machines: its holder's steps, and what viewers see (+1).
PORTS_PER_SESSION = 2


def check(config: Config) -> None:
    """What keys say together. Raises ConfigError."""
    fleet, lease = config.fleet, config.lease
    first, last = fleet.ports
    blocks = max(0, last - first + 1) // PORTS_PER_SLOT
    if fleet.backend != "external" and blocks < fleet.size + (not fleet.open):
        raise ConfigError(
            f"fleet.ports: {first} to {last} holds {blocks} blocks of {PORTS_PER_SLOT} ports; fleet.size, "
            f"{fleet.size}, takes {fleet.size + 1}, as a new incarnation never gets the ports before it"
        )
    if fleet.map and fleet.maps:
        raise ConfigError("fleet.maps: fleet.map is given, too; name one map there, or several here")
    for name in fleet.servers:
        if not re.fullmatch(r"[^:\s]+:[1-9][0-9]{0,4}", name):
            raise ConfigError(f'fleet.servers: "{name}" is not host:port, such as "sim1:2000"')
    if not re.fullmatch(r"(gpu|[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?", config.resources.cpus):
        raise ConfigError(
            f'resources.cpus: "{config.resources.cpus}" is neither processors, such as "0-7,16", nor "gpu"'
        )
    if fleet.backend == "external" and not fleet.servers:
        raise ConfigError('fleet.servers: backend "external" needs host:port of each server')
    for address in config.remote.listen:
        check_listen("remote.listen", address)
    if config.remote.session_ports:
        _check_session_ports(config.remote, fleet)
    config.session.environments()
    if fleet.spares > fleet.size:
        raise ConfigError(f"fleet.spares: {fleet.spares} of {fleet.size} slots cannot be kept back")
    if lease.ttl_s > lease.ttl_max_s:
        raise ConfigError(f"lease.ttl_s: {lease.ttl_s} exceeds lease.ttl_max_s, {lease.ttl_max_s}")
    if config.restart.backoff_s > config.restart.backoff_max_s:
        raise ConfigError("restart.backoff_s: exceeds restart.backoff_max_s")


def _check_session_ports(remote: RemoteSection, fleet: FleetSection) -> None:
    if len(remote.session_ports) != 2:
        raise ConfigError(f"remote.session_ports: {list(remote.session_ports)} is not [first, last]")
    first, last = remote.session_ports
    theirs = range(first, last + 1)
    sessions, wanted = len(theirs) // PORTS_PER_SESSION, max(1, fleet.size)
    if not remote.listen:
        raise ConfigError(
            "remote.session_ports: nobody comes in by TCP; name an address in remote.listen, too"
        )
    if sessions < wanted:
        raise ConfigError(
            f"remote.session_ports: {first} to {last} is enough for {sessions} sessions of "
            f"{PORTS_PER_SESSION} ports; fleet.size, {fleet.size}, needs {wanted * PORTS_PER_SESSION} ports"
        )
    if last > PORT_MAX:
        raise ConfigError(f"remote.session_ports: {last} is above {PORT_MAX}, the last port for clients")
    if fleet.backend != "external" and first <= fleet.ports[1] and fleet.ports[0] <= last:
        raise ConfigError(
            f"remote.session_ports: {first} to {last} overlaps fleet.ports, {fleet.ports[0]} to "
            f"{fleet.ports[1]}: servers would find their ports taken"
        )
    for address in remote.listen:
        taken = parsed(address).port
        if taken in theirs or taken + 1 in theirs:
            raise ConfigError(
                f"remote.session_ports: {first} to {last} overlaps remote.listen, whose {address} takes "
                f"{taken} and {taken + 1}"
            )

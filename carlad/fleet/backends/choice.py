"""From configuration to backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from carlad.config import Config, FleetSection, GpuSection
from carlad.fleet.backends.aim import Aim, binary_aim, binary_chooses, docker_aim, docker_chooses
from carlad.fleet.backends.binary import binary_advice, binary_launcher
from carlad.fleet.backends.conditions import container_conditions, near_the_card, under_conditions
from carlad.fleet.backends.container import Containers
from carlad.fleet.backends.docker import docker_launcher
from carlad.fleet.backends.external import External, servers_of
from carlad.fleet.backends.flags import flag_advice
from carlad.fleet.backends.interface import Backend, Launcher
from carlad.fleet.backends.local import Local
from carlad.fleet.backends.seated import Seated
from carlad.fleet.backends.standin import standin_launcher
from carlad.fleet.cgroup import memory_limit
from carlad.fleet.gpu.cards import Cards
from carlad.fleet.ports import PortRegistry, ephemeral_advice

# What the service manager told the daemon is not for its children: they would answer in its name.
_DAEMONS_OWN = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)


def choose(
    config: Config,
    environ: Mapping[str, str],
    registry: PortRegistry,
    owner: str,
    launch: Launcher | None = None,
    cards: Cards | None = None,
) -> Backend:
    """The configured backend; `launch` replaces what it would start.

    `registry` and `cards` know what is taken, whatever the configuration was then. `owner` is what this
    daemon's servers are known by where they are not its processes. Raises ConfigError.
    """
    fleet, for_them = config.fleet, for_servers(environ)
    seats = partial(_on_cards, cards=cards or Cards(for_them), gpu=config.gpu)
    local = partial(
        Local, registry=registry, limits=config.logs, memory=memory_limit(config.resources.memory_max_mb)
    )
    if launch is not None:
        return local(launch)
    if fleet.backend == "external":
        return External(servers_of(fleet.servers), registry, config.probe)
    if fleet.backend == "docker":
        docker = container_conditions(config.docker, config.resources)
        launch = docker_launcher(fleet, docker, owner, for_them)
        containers = partial(Containers, registry=registry, limits=config.logs, owner=owner, environ=for_them)
        return seats(containers, launch, docker_aim, docker_chooses(config.docker))
    if fleet.backend == "binary":
        launch = under_conditions(binary_launcher(fleet, for_them), config.resources)
        aim = near_the_card(binary_aim, config.resources)
        return seats(local, launch, aim, binary_chooses(fleet))
    launch = under_conditions(standin_launcher(fleet, for_them), config.resources)
    return local(launch)


def _on_cards(
    inner: Callable[[Launcher], Backend],
    launch: Launcher,
    aim: Aim,
    chooses_itself: bool,
    cards: Cards,
    gpu: GpuSection,
) -> Backend:
    """Where carlad can look at graphics cards, and nobody else has chosen one."""
    if chooses_itself or not cards.can_be_looked_at:
        return inner(launch)
    return Seated(inner, launch, aim, cards, gpu)


def advice(config: FleetSection, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What of a configuration that can be used will not be as expected, each in a sentence."""
    ports = ephemeral_advice(*config.ports) if config.backend != "external" else ()
    flags = flag_advice(config) if config.backend in ("binary", "docker") else ()
    folders = binary_advice(config, for_servers(environ)) if config.backend == "binary" else ()
    return (*ports, *flags, *folders)


def for_servers(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _DAEMONS_OWN}

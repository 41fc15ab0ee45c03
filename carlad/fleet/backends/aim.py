"""How a launch is sent to a graphics card. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from carlad.config import DockerSection, FleetSection
from carlad.fleet.backends.interface import Launch
from carlad.fleet.gpu.placement import Seat


class Ticket(msgspec.Struct, frozen=True):
    """Where a server is to draw. `adapter`: the card's number for Vulkan, None where that is unknown; `cpus`:
    a list of the processors near it, empty where that is unknown."""

    seat: Seat
    adapter: int | None
    cpus: str = ""


Aim = Callable[[Launch, Ticket], Launch]


def binary_aim(launch: Launch, ticket: Ticket) -> Launch:
    """By Vulkan's number; where that is unknown the server chooses."""
    if ticket.adapter is None:
        return launch
    return msgspec.structs.replace(launch, argv=(*launch.argv, f"-graphicsadapter={ticket.adapter}"))


def docker_aim(launch: Launch, ticket: Ticket) -> Launch:
    """By its UUID: the container sees no other card."""
    argv = [argument for argument in launch.argv if not argument.startswith("--gpus=")]
    run = argv.index("run") + 1
    aimed = (*argv[:run], f"--gpus=device={ticket.seat.uuid}", *argv[run:])
    return msgspec.structs.replace(launch, argv=aimed)


def binary_chooses(fleet: FleetSection) -> bool:
    """Whether the operator has chosen, or no card is needed."""
    chosen = any("graphicsadapter" in argument.lower() for argument in fleet.extra_args)
    return chosen or fleet.rendering == "none"


def docker_chooses(docker: DockerSection) -> bool:
    return docker.gpus != "all"

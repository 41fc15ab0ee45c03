"""The command line that CarlaUE4.sh takes, and the stand-in with it.

Facts: https://carla.readthedocs.io/en/0.9.16/start_quickstart and adv_rendering_options.
"""

from __future__ import annotations

import ipaddress

from carlad.config import FleetSection
from carlad.fleet.ports import Ports

_KNOWN_QUALITIES = ("Low", "Epic")
_RENDERING = {"offscreen": ("-RenderOffScreen",), "none": ("-nullrhi",), "window": ()}


def carla_flags(config: FleetSection, ports: Ports) -> tuple[str, ...]:
    """In front of the operator's own arguments, which so have the last word."""
    width, _, height = config.resolution.partition("x")
    return (
        *_RENDERING[config.rendering],
        "-nosound",
        f"-quality-level={config.quality}",
        f"-ResX={width}",
        f"-ResY={height}",
        f"-carla-rpc-port={ports.rpc}",
        f"-carla-streaming-port={ports.streaming}",
        *config.extra_args,
    )


def listens_on(advertise_host: str) -> str:
    """Loopback, unless others are told to come from elsewhere."""
    try:
        is_loopback = ipaddress.ip_address(advertise_host).is_loopback
    except ValueError:
        is_loopback = advertise_host == "localhost"
    return "127.0.0.1" if is_loopback else "0.0.0.0"


def flag_advice(config: FleetSection) -> tuple[str, ...]:
    """What the real CARLA takes otherwise than it was meant."""
    if config.quality in _KNOWN_QUALITIES:
        return ()
    return (
        f'fleet.quality: CARLA knows "Low" and "Epic" only and renders "{config.quality}" as Epic, '
        "with about 3.5 GB of GPU memory a server",
    )

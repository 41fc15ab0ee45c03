"""`python -m carlad.image server`: the daemon's configuration out of a container's environment variables.

What /etc/carlad/carlad.toml says, where somebody has mounted one, goes before what follows from variables.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carlad import toml
from carlad.config import PORTS_PER_SESSION, PORTS_PER_SLOT
from carlad.errors import ConfigError
from carlad.image.folders import Folders
from carlad.image.simulator import number, port_of, simulator, truth

PORT = 7000  # of the daemon; the notices take the next one

_Sections = dict[str, dict[str, Any]]


def write(environ: Mapping[str, str], folders: Folders, keys: Path) -> Path:
    """The file that the daemon reads, and its folder of keys. Raises ConfigError."""
    mounted = folders.configuration / "carlad.toml"
    given = toml.parse(toml.read(mounted)) if mounted.exists() else {}
    path = folders.runtime / "carlad.toml"
    path.write_text(toml.dumps(merged(sections(environ, folders, keys), given)))
    return path


def sections(environ: Mapping[str, str], folders: Folders, keys: Path) -> _Sections:
    """What the variables decide. Raises ConfigError."""
    port = daemon_port(environ)
    return {
        "daemon": {
            "endpoint": str(folders.socket),
            "state_dir": str(folders.state),
            "drain_s": number(environ, "CARLAD_DRAIN_S", 10.0),
        },
        "remote": {
            "listen": [f"tcp://0.0.0.0:{port}"],
            "keys_dir": str(keys),
            "session_ports": _session_ports(environ),
        },
        "fleet": _fleet(environ),
        "metrics": {"listen": environ.get("CARLAD_METRICS", "")},
    }


def _session_ports(environ: Mapping[str, str]) -> list[int]:
    """For a session on each server; none unless CARLAD_SESSION_PORT says where they begin."""
    if not environ.get("CARLAD_SESSION_PORT"):
        return []
    first = port_of(environ, "CARLAD_SESSION_PORT")
    return [first, first + PORTS_PER_SESSION * _servers(environ) - 1]


def _servers(environ: Mapping[str, str]) -> int:
    return round(number(environ, "CARLAD_SERVERS", 1))


def _fleet(environ: Mapping[str, str]) -> dict[str, Any]:
    asked, root = simulator(environ), environ.get("CARLA_ROOT", "")
    size = _servers(environ)
    is_open = truth(environ, "CARLAD_OPEN", default=False)
    if asked.rendering == "window" and not environ.get("DISPLAY") and shutil.which("xvfb-run") is None:
        raise ConfigError(
            "CARLA_HEADLESS: false wants a window, and DISPLAY names no screen; give the container one "
            "(DISPLAY and /tmp/.X11-unix), install Xvfb in the image, or leave CARLA_HEADLESS true"
        )
    blocks = size if is_open else size + 1  # a new incarnation never gets the ports before it
    optional = {"quality": asked.quality, "resolution": asked.resolution, "map": asked.map}
    return {
        "backend": "binary" if root else "standin",
        "carla_root": root,
        "size": size,
        "spares": round(number(environ, "CARLAD_SPARES", 0)),
        "open": is_open,
        "ports": [asked.port, asked.port + blocks * PORTS_PER_SLOT - 1],
        "advertise_host": environ.get("CARLAD_ADVERTISE") or socket.gethostname(),
        "rendering": asked.rendering,
        **{key: value for key, value in optional.items() if value},
        "extra_args": list(asked.extra_args),
    }


def daemon_port(environ: Mapping[str, str]) -> int:
    """CARLAD_PORT. Raises ConfigError."""
    return port_of(environ, "CARLAD_PORT", PORT)


def merged(computed: _Sections, given: Mapping[str, Any]) -> dict[str, Any]:
    """Section by section; what is given goes first."""
    both: dict[str, Any] = {**computed, **given}
    for name, section in computed.items():
        both[name] = {**section, **given.get(name, {})}
    return both

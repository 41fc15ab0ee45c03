"""What servers are made of: packages, CARLA's files, the GPU and its driver, ports."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from carlad.checkup.asking import output
from carlad.checkup.finding import Finding, fine, note, warning, wrong
from carlad.config import PORTS_PER_SLOT, Config
from carlad.errors import ConfigError
from carlad.fleet.backends.choice import advice, choose
from carlad.fleet.ports import PortRegistry, can_bind, describe_listener
from carlad.gateway.endpoint import answers

_STANDIN = ("carla", "numpy", "numba", "open3d")
# What the shipping binary is linked with or asks for, and minimal systems lack.
_TOOLS = {"xdg-user-dir": "xdg-user-dirs"}
_LIBRARIES = {"libvulkan.so.1": "libvulkan1", "libomp.so.5": "libomp5"}
_ASKED = "name,driver_version,memory.total,memory.free"
_GPU_MIB_EACH = {"Low": 2_000, "Medium": 2_500, "High": 3_000, "Epic": 3_500}  # about, of CARLA 0.9.16


def packages(config: Config) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield fine("Python", f"{version} in {sys.prefix}")
    missing = [name for name in _STANDIN if importlib.util.find_spec(name) is None]
    if not missing:
        yield fine("stand-in", f"can run; carla {importlib.metadata.version('carla')}")
    elif config.fleet.backend == "standin":
        yield wrong("stand-in", f"{', '.join(missing)} missing", "pip install 'carlad[standin]'")
    else:
        yield note("stand-in", f"cannot run: {', '.join(missing)} missing", "pip install 'carlad[standin]'")


def backend(config: Config) -> Iterator[Finding]:
    """Whether servers can be started as configured; nothing is started."""
    name = f'backend "{config.fleet.backend}"'
    try:
        choose(config, os.environ, PortRegistry(*config.fleet.ports), config.daemon.state_dir)
    except ConfigError as error:
        yield wrong(name, str(error), "correct carlad.toml or what it names")
        return
    yield fine(name, "can start servers")
    for advised in advice(config.fleet, os.environ):
        yield warning(name, advised, "correct carlad.toml")


def carla(config: Config) -> Iterator[Finding]:
    """The installation, where one is used."""
    if config.fleet.backend != "binary" or not config.fleet.carla_root:
        return
    version = Path(config.fleet.carla_root).expanduser() / "VERSION"
    yield fine("CARLA", version.read_text().strip() if version.is_file() else "says no version")
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            yield warning(tool, "missing; CARLA's script asks for it", f"apt install {package}")
    cache = output("ldconfig", "-p") or output("/sbin/ldconfig", "-p")
    for library, package in _LIBRARIES.items():
        if cache and library not in cache:
            yield warning(library, "missing", f"apt install {package}")


def gpu(config: Config) -> Iterator[Finding]:
    needs = config.fleet.backend in ("binary", "docker") and config.fleet.rendering != "none"
    listed = output("nvidia-smi", f"--query-gpu={_ASKED}", "--format=csv,noheader,nounits")
    if listed is None:
        if needs:
            yield wrong(
                "GPU",
                "nvidia-smi does not answer: no NVIDIA driver, or it hangs",
                'install the driver and look at dmesg, or set fleet.rendering = "none"',
            )
        else:
            yield note("GPU", "none is seen; the stand-in needs none")
        return
    rows = [tuple(part.strip() for part in line.split(",")) for line in listed.splitlines() if line.strip()]
    for number, (name, driver, total, free) in enumerate(rows):
        yield fine(f"GPU {number}", f"{name}, driver {driver}, {free} of {total} MiB free")
    if needs:
        yield from _room(config, sum(int(row[3]) for row in rows))


def _room(config: Config, free_mib: int) -> Iterator[Finding]:
    each = _GPU_MIB_EACH[config.fleet.quality]
    fit = free_mib // each
    if fit < config.fleet.size:
        yield warning(
            "GPU memory",
            f"{free_mib} MiB free; {config.fleet.size} servers at quality {config.fleet.quality} take about "
            f"{each * config.fleet.size}",
            f"fleet.size = {fit}, or a lower fleet.quality",
        )


def ports(config: Config) -> Iterator[Finding]:
    if config.fleet.backend == "external":
        return
    if answers(Path(config.daemon.endpoint.removeprefix("ipc://"))):
        yield note("ports", "not looked at: a carlad runs already and has servers on them")
        return
    first, last = config.fleet.ports
    needed = min(last, first + (config.fleet.size + 1) * PORTS_PER_SLOT - 1)
    busy = [port for port in range(first, needed + 1) if not can_bind("127.0.0.1", port)]
    if not busy:
        yield fine("ports", f"{first} to {needed} are free")
        return
    taken = ", ".join(f"{port} by {describe_listener(port)}" for port in busy[:4])
    remedy = "end them, or move fleet.ports; where they are a carlad's own, name its file by --config"
    yield warning("ports", f"taken: {taken}" + (", and more" if len(busy) > 4 else ""), remedy)

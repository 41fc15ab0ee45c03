"""Which simulator the CARLA_* variables ask for: names that people know from other set-ups. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Literal, NoReturn

import msgspec

from carlad.config import PORTS_PER_SLOT
from carlad.errors import ConfigError

PORT = 2000  # CARLA's own

_PORT_FLAGS = frozenset({"carla-rpc-port", "carla-port", "carla-world-port", "world-port"})
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
_MAP = re.compile(r"(?:/Game/Carla/Maps/)?(Town\w+)$")
_PORT_MAX = 65535 - PORTS_PER_SLOT + 1


class Simulator(msgspec.Struct, frozen=True):
    """Of a fleet's section what these variables decide; an empty string leaves it to carlad's default."""

    port: int = PORT
    rendering: Literal["offscreen", "none", "window"] = "offscreen"
    quality: str = ""
    resolution: str = ""
    map: str = ""
    extra_args: tuple[str, ...] = ()


def simulator(environ: Mapping[str, str]) -> Simulator:
    """CARLA_PORT, CARLA_HEADLESS and CARLA_ARGS together. Raises ConfigError."""
    given = port_of(environ) if environ.get("CARLA_PORT") else None
    try:
        arguments = shlex.split(environ.get("CARLA_ARGS", ""))
    except ValueError as error:
        raise ConfigError(f"CARLA_ARGS: cannot be split into arguments: {error}") from error
    headless = truth(environ, "CARLA_HEADLESS", default=True)
    flags = _Flags()
    for argument in arguments:
        flags.take(argument)
    return flags.simulator(given, "offscreen" if headless or flags.offscreen else "window")


def port_of(environ: Mapping[str, str], name: str = "CARLA_PORT", default: int = PORT) -> int:
    """Raises ConfigError."""
    return _port(name, environ.get(name) or str(default))


def truth(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Raises ConfigError for what is neither true nor false."""
    text = environ.get(name)
    if text is None:
        return default
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ConfigError(f"{name}: cannot understand {text!r}: write true or false")


def number(environ: Mapping[str, str], name: str, default: float) -> float:
    """Raises ConfigError."""
    given = environ.get(name)
    try:
        return float(given) if given else default
    except ValueError:
        raise ConfigError(f"{name}: {given!r} is no number") from None


class _Flags:
    """CARLA_ARGS, one argument after the other: what carlad sets itself is understood, the rest kept."""

    def __init__(self) -> None:
        self.offscreen = False
        self._nullrhi = False
        self._port: tuple[str, int] | None = None
        self._streaming: tuple[str, int] | None = None
        self._quality = self._map = ""
        self._size: dict[str, str] = {}
        self._rest: list[str] = []

    def take(self, argument: str) -> None:
        flag, _, value = argument.partition("=")
        name = flag.lstrip("-").lower() if flag.startswith("-") else ""
        if name in _PORT_FLAGS:
            self._port = argument, _port(f"CARLA_ARGS: {flag}", value)
        elif name == "carla-streaming-port":
            self._streaming = argument, _port(f"CARLA_ARGS: {flag}", value)
        elif name == "nullrhi":
            self._nullrhi = True
        elif name == "renderoffscreen":
            self.offscreen = True
        elif name == "quality-level":
            self._quality = value
        elif name in ("resx", "resy"):
            self._size[name] = value
        elif map_ := _MAP.match(argument):
            self._map = map_[1]
        elif name not in ("carla-server", "nosound"):  # which every server is
            self._rest.append(argument)

    def simulator(self, given: int | None, rendering: Literal["offscreen", "window"]) -> Simulator:
        """`given`: CARLA_PORT, which engines publish, and which so may not be another one."""
        port = self._agreed(given)
        if self._streaming is not None and self._streaming[1] != port + 1:
            _refuse(self._streaming[0], f"streams are served on {port + 1}, one above the port for calls")
        if len(self._size) == 1:
            _refuse(f"{', '.join(self._size)} alone", "a resolution is -ResX=WIDTH and -ResY=HEIGHT")
        return Simulator(
            port,
            "none" if self._nullrhi else rendering,
            self._quality,
            f"{self._size['resx']}x{self._size['resy']}" if self._size else "",
            self._map,
            tuple(self._rest),
        )

    def _agreed(self, given: int | None) -> int:
        if self._port is None:
            return PORT if given is None else given
        argument, port = self._port
        if given not in (None, port):
            _refuse(argument, f"CARLA_PORT is {given}; set CARLA_PORT={port} alone")
        return port


def _port(name: str, text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= _PORT_MAX:
        raise ConfigError(f"{name}: {text!r} is no port from 1 to {_PORT_MAX}")
    return int(text)


def _refuse(what: str, why: str) -> NoReturn:
    raise ConfigError(f"CARLA_ARGS: cannot use {what}: {why}")

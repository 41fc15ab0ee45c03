"""The command line of CarlaUE4.sh, and the few options of our own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from pathlib import Path

from carlad.standin.faults.kinds import Fault, FaultError, parse_fault
from carlad.standin.faults.kinds import table as faults

RPC_PORT = 2000  # CARLA's default
PORT_MAX = 65535
PROJECT = "CarlaUE4"  # what CarlaUE4.sh gives the binary first

USAGE = f"""usage: python -m carlad.standin [-carla-rpc-port=2000] [-carla-streaming-port=PORT] [OPTIONS]
           [/Game/Carla/Maps/NAME] [CarlaUE4.sh flags]
       python -m carlad.standin --make-carla-root DIRECTORY [OPTIONS]

A server that the official CARLA 0.9.16 client can use, without a GPU.

flags of CarlaUE4.sh, with one dash or two, in any case:
  -carla-rpc-port=N        port for calls (default 2000); also -carla-port, -carla-world-port, -world-port
  -carla-streaming-port=N  port for streams (default: the port for calls + 1; 0: any free one)
  -benchmark -fps=N        begin with a fixed time step of 1/N s
  /Game/Carla/Maps/NAME    map to start with
  all others               concern Unreal's rendering, sound and several GPUs, and are ignored

options:
  --map NAME               map to start with (default Town01)
  --maps DIRECTORY         OpenDRIVE files there come before our own of their names; may be repeated
  --carla-root DIRECTORY   likewise the OpenDRIVE files of a CARLA installation; may be repeated
  --host ADDRESS           IPv4 address to listen on (default 127.0.0.1)
  --seed N                 seed of the sensors' noise (default 0)
  --recordings DIRECTORY   where the recorder's files go (default: one in the temporary directory)
  --call-log DIRECTORY     a line of JSON for each call, of when, from whom and what, in PORT-PID.jsonl there
  --process-name NAME      what ps, pkill and top call this process
  --make-carla-root DIRECTORY  write a CarlaUE4.sh there that starts this server with the other options
  --fault FAULT            misbehave from the start on, see below; may be repeated
  --fault-on-signal FAULT  misbehave from each SIGUSR1 on; may be repeated
  --fault-file FILE        misbehave as the file says, one fault a line, from when it says so; what is no
                           longer in it is over. It need not exist; {{port}} in its name is the port for calls

faults (WHEN: seconds, as 2.5, or ticks, as 100ticks, from being ready or from a later order):
{faults()}

examples:
  python -m carlad.standin -carla-rpc-port=3000 --maps ~/my-maps --map Village
  python -m carlad.standin --make-carla-root ~/carla       # then: ~/carla/CarlaUE4.sh
  python -m carlad.standin --fault crash-after=30
  python -m carlad.standin --fault fork --fault ignore-sigterm
  python -m carlad.standin --fault-on-signal hang-game-after=0    # then: kill -USR1 PID
  python -m carlad.standin --fault-file /tmp/faults/{{port}}        # then: echo leak=50 > /tmp/faults/2000"""

_PATHS = ("--maps", "--carla-root", "--recordings", "--call-log", "--fault-file", "--make-carla-root")
_WITH_VALUE = ("--map", "--host", "--seed", "--process-name", "--fault", "--fault-on-signal", *_PATHS)
# By the name without its dashes: Unreal takes one or two, and any case.
_CARLAS = {
    "carla-rpc-port": "-carla-rpc-port",
    "carla-port": "-carla-rpc-port",  # older names that launchers still use
    "carla-world-port": "-carla-rpc-port",
    "world-port": "-carla-rpc-port",
    "carla-streaming-port": "-carla-streaming-port",
    "fps": "-fps",
    "benchmark": "-benchmark",
}
_MAP = re.compile(r"(/Game/.+|Town\d\w*)$")


_ALIKE = 0.8  # a flag that is so like one of our options is a misspelt one, else one of Unreal's


class UsageError(Exception):
    """The command line cannot be understood."""


@dataclass(frozen=True)
class Options:
    """`streaming_port` 0: any free one. `ignored` are flags of Unreal that mean nothing here.

    `fps`: 0 where no fixed time step is wanted. `given`: our options as they were given, paths absolute.
    """

    rpc_port: int = RPC_PORT
    streaming_port: int = RPC_PORT + 1
    host: str = "127.0.0.1"
    map: str = "Town01"
    maps: tuple[Path, ...] = ()
    seed: int = 0
    fps: float = 0.0
    recordings: Path | None = None
    call_log: Path | None = None
    process_name: str = ""
    carla_root_to_make: Path | None = None
    faults: tuple[Fault, ...] = ()
    faults_on_signal: tuple[Fault, ...] = ()
    fault_file: str = ""
    ignored: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


def parse(argv: Sequence[str]) -> Options:
    """Options from the arguments after the program's name. Raises UsageError."""
    ours, ignored = _split(list(argv))
    rpc_port = _port(ours, "-carla-rpc-port", RPC_PORT, lowest=1)
    return Options(
        rpc_port=rpc_port,
        streaming_port=_port(ours, "-carla-streaming-port", min(rpc_port + 1, PORT_MAX), lowest=0),
        host=_last(ours, "--host", Options.host),
        map=_last(ours, "--map", Options.map),
        maps=tuple(Path(path) for name in ("--maps", "--carla-root") for path in ours.get(name, [])),
        seed=_number("--seed", _last(ours, "--seed", "0")),
        fps=_fps(ours),
        recordings=_path(ours, "--recordings"),
        call_log=_path(ours, "--call-log"),
        process_name=_last(ours, "--process-name", Options.process_name),
        carla_root_to_make=_path(ours, "--make-carla-root"),
        faults=_faults(ours, "--fault"),
        faults_on_signal=_faults(ours, "--fault-on-signal"),
        fault_file=_last(ours, "--fault-file", Options.fault_file),
        ignored=tuple(ignored),
        given=tuple(f"{name}={value}" for name, values in ours.items() for value in values),
    )


def _split(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Our flags with their values, and the rest."""
    ours: dict[str, list[str]] = {}
    ignored: list[str] = []
    unreals = False  # whether the arguments were written for Unreal
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.partition("=")
        carlas = _CARLAS.get(name.lstrip("-").lower()) if name.startswith("-") else None
        if carlas is not None:
            ours.setdefault(carlas, []).append(value)
        elif name in _WITH_VALUE:
            if not equals and not arguments:
                raise UsageError(f"cannot use {name}: it needs a value")
            text = value if equals else arguments.pop(0)
            ours.setdefault(name, []).append(_absolute(text) if name in _PATHS else text)
        elif argument == PROJECT:
            unreals = True
        elif _MAP.match(argument):
            ours.setdefault("--map", []).append(argument)
        else:
            if not unreals:
                _refuse_misspelt(name)
            ignored.append(argument)
    return ours, ignored


def _refuse_misspelt(name: str) -> None:
    meant = get_close_matches("--" + name.lstrip("-"), _WITH_VALUE, 1, _ALIKE)
    if meant:
        raise UsageError(f"cannot use {name}: did you mean {meant[0]}?")


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _last(ours: dict[str, list[str]], name: str, default: str) -> str:
    return ours.get(name, [default])[-1]


def _path(ours: dict[str, list[str]], name: str) -> Path | None:
    return Path(ours[name][-1]) if name in ours else None


def _port(ours: dict[str, list[str]], name: str, default: int, lowest: int) -> int:
    port = _number(name, _last(ours, name, str(default)))
    if not lowest <= port <= PORT_MAX:
        raise UsageError(f"cannot use {name}={port}: a port is {lowest} to {PORT_MAX}")
    return port


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"cannot use {name}={text}: not a number") from None


def _fps(ours: dict[str, list[str]]) -> float:
    """Unreal heeds -fps with -benchmark only."""
    text = _last(ours, "-fps", "0")
    try:
        fps = float(text)
    except ValueError:
        raise UsageError(f"cannot use -fps={text}: not a number") from None
    return fps if "-benchmark" in ours and 0.0 < fps < inf else 0.0


def _faults(ours: dict[str, list[str]], name: str) -> tuple[Fault, ...]:
    try:
        return tuple(parse_fault(text) for text in ours.get(name, []))
    except FaultError as error:
        raise UsageError(str(error)) from error

"""The command line of CarlaUE4.sh, and the few options of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carlad.standin.faults.kinds import Fault, FaultError, parse_fault, table

RPC_PORT = 2000  # CARLA's default
PORT_MAX = 65535

USAGE = f"""usage: python -m carlad.standin [-carla-rpc-port=2000] [-carla-streaming-port=PORT]
           [--map NAME] [--host ADDRESS] [--seed N] [--recordings DIRECTORY]
           [--fault FAULT]... [--fault-on-signal FAULT]... [--fault-file FILE]
           [CarlaUE4.sh flags]

A server that the official CARLA 0.9.16 client can use, without a GPU.

  -carla-rpc-port=N        port for calls (default 2000)
  -carla-streaming-port=N  port for streams (default: the port for calls + 1; 0: any free one)
  --map NAME               town to start with (default Town01), also as /Game/Carla/Maps/NAME
  --host ADDRESS           IPv4 address to listen on (default 127.0.0.1)
  --seed N                 seed of the sensors' noise (default 0)
  --recordings DIRECTORY   where the recorder's files go (default: one in the temporary directory)
  --fault FAULT            misbehave from the start on, see below; may be repeated
  --fault-on-signal FAULT  misbehave from each SIGUSR1 on; may be repeated
  --fault-file FILE        misbehave as the file says, one fault a line, from when it says so; what is no
                           longer in it is over. It need not exist; {{port}} in its name is the port for calls

Flags of CarlaUE4.sh that only concern Unreal's rendering and sound are accepted and ignored.

faults (WHEN: seconds, as 2.5, or ticks, as 100ticks, from being ready or from a later order):
{table()}

examples:
  python -m carlad.standin -carla-rpc-port=3000 --fault crash-after=30
  python -m carlad.standin --fault fork --fault ignore-sigterm
  python -m carlad.standin --fault-on-signal hang-game-after=0   # then: kill -USR1 PID
  python -m carlad.standin --fault-file /tmp/faults/{{port}}       # then: echo leak=50 > /tmp/faults/2000"""

_WITH_VALUE = (
    "--map",
    "--host",
    "--seed",
    "--recordings",
    "--fault",
    "--fault-on-signal",
    "--fault-file",
)
_PORTS = {
    "-carla-rpc-port": "-carla-rpc-port",
    "-carla-port": "-carla-rpc-port",  # an older name that the real server still takes
    "-carla-streaming-port": "-carla-streaming-port",
}


class UsageError(Exception):
    """The command line cannot be understood."""


@dataclass(frozen=True)
class Options:
    """`streaming_port` 0: any free one. `ignored` are flags of Unreal that mean nothing here."""

    rpc_port: int = RPC_PORT
    streaming_port: int = RPC_PORT + 1
    host: str = "127.0.0.1"
    map: str = "Town01"
    seed: int = 0
    recordings: str = ""  # empty: the default directory
    faults: tuple[Fault, ...] = ()
    faults_on_signal: tuple[Fault, ...] = ()
    fault_file: str = ""
    ignored: tuple[str, ...] = ()


def parse(argv: Sequence[str]) -> Options:
    """Options from the arguments after the program's name. Raises UsageError."""
    ours, ignored = _split(list(argv))
    rpc_port = _port(ours, "-carla-rpc-port", RPC_PORT, lowest=1)
    return Options(
        rpc_port=rpc_port,
        streaming_port=_port(ours, "-carla-streaming-port", min(rpc_port + 1, PORT_MAX), lowest=0),
        host=_last(ours, "--host", Options.host),
        map=_last(ours, "--map", Options.map),
        seed=_number("--seed", _last(ours, "--seed", "0")),
        recordings=_last(ours, "--recordings", Options.recordings),
        faults=_faults(ours, "--fault"),
        faults_on_signal=_faults(ours, "--fault-on-signal"),
        fault_file=_last(ours, "--fault-file", Options.fault_file),
        ignored=tuple(ignored),
    )


def _split(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Our flags with their values, and the rest. Unreal's flags are case-insensitive."""
    ours: dict[str, list[str]] = {}
    ignored = []
    while arguments:
        argument = arguments.pop(0)
        name, equals, value = argument.partition("=")
        if name.lower() in _PORTS:
            ours.setdefault(_PORTS[name.lower()], []).append(value)
        elif name in _WITH_VALUE:
            if not equals and not arguments:
                raise UsageError(f"cannot use {name}: it needs a value")
            ours.setdefault(name, []).append(value if equals else arguments.pop(0))
        elif name.startswith("--"):
            raise UsageError(f"cannot use {name}: the options are {', '.join(_WITH_VALUE)}")
        elif name.startswith("/Game/"):
            ours.setdefault("--map", []).append(argument)
        else:
            ignored.append(argument)
    return ours, ignored


def _last(ours: dict[str, list[str]], name: str, default: str) -> str:
    return ours.get(name, [default])[-1]


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


def _faults(ours: dict[str, list[str]], name: str) -> tuple[Fault, ...]:
    try:
        return tuple(parse_fault(text) for text in ours.get(name, []))
    except FaultError as error:
        raise UsageError(str(error)) from error

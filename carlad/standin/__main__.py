"""`python -m carlad.standin`: the stand-in as a process, with CarlaUE4.sh's command line."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

# Before numpy is there: its matrices are small here, and threads that spin for them take cores from clients.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from carlad.standin.flags import USAGE, Options, UsageError, parse

log = logging.getLogger("carlad.standin")


def main() -> NoReturn:
    """Serve until SIGTERM or SIGINT. Exit codes: 0 ended by a signal, 1 cannot start, 2 usage."""
    if {"-h", "-help", "--help"} & set(sys.argv[1:]):
        print(USAGE)
        sys.exit(0)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="carlad.standin: %(message)s")
    try:
        options = parse(sys.argv[1:])
    except UsageError as error:
        _give_up(str(error), 2)
    if options.carla_root_to_make:
        _make_carla_root(options, options.carla_root_to_make)
        sys.exit(0)
    if options.process_name:
        Path("/proc/self/comm").write_text(options.process_name)
    if options.ignored:
        log.info("flags without a meaning here were ignored: %s", " ".join(options.ignored))
    _serve(options)
    sys.stderr.flush()
    # A thread may still be importing the renderer; waiting for it would delay the end by seconds.
    os._exit(0)


def _serve(options: Options) -> None:
    from carlad.standin.faults import FaultFile, Faults

    file = FaultFile(options.fault_file, options.rpc_port) if options.fault_file else None
    faults = Faults(options.faults, options.faults_on_signal, file)
    faults.before_start()
    calls = _bind(options.host, options.rpc_port, "-carla-rpc-port")
    streams = _bind(options.host, options.streaming_port, "-carla-streaming-port")

    # Imported only now: a port in use is told at once.
    from carlad.standin import towns
    from carlad.standin.server import Server
    from carlad.standin.setup import Setup

    try:
        setup = Setup.of(options)
        town = towns.load(options.map, setup.map_directories)
    except (towns.UnknownTownError, towns.OpenDriveError, OSError) as error:
        _give_up(str(error), 1)
    server = Server(town, calls, streams, setup, faults)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop() if faults.terminated() else None)
    try:
        server.listen()
    except OSError as error:
        _give_up(f"cannot listen on ports {options.rpc_port} and {options.streaming_port}: {error}", 1)
    log.info(
        "ready: rpc_port=%d streaming_port=%d map=%s", options.rpc_port, streams.getsockname()[1], town.name
    )
    server.run()
    server.close()


def _make_carla_root(options: Options, directory: Path) -> None:
    from carlad.standin import carla_root

    ours = [option for option in options.given if not option.startswith("--make-carla-root")]
    try:
        script = carla_root.make(directory, ours, options.maps)
    except carla_root.NotEmptyError as error:
        _give_up(str(error), 1)
    except OSError as error:
        _give_up(f"cannot make a CARLA root in {directory}: {error}", 1)
    print(script)


def _bind(host: str, port: int, flag: str) -> socket.socket:
    from carlad.standin.connection import listen

    try:
        return listen(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        _give_up(f"cannot listen on {host}:{port}: {reason}; choose another {flag}", 1)


def _give_up(message: str, code: int) -> NoReturn:
    print(f"carlad.standin: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()

"""`carlad`: the daemon in the foreground."""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from carlad import __version__
from carlad.errors import ConfigError

_EXAMPLES = """\
examples:
  carlad                          two bundled stand-in servers, no configuration needed
  carlad --config carlad.toml     what that file says; carlad.toml of the sources lists every key
  carlad & carlactl status        look at it

SIGTERM waits up to daemon.drain_s for leases to be released, then ends all servers and the daemon with
exit code 0; a second one waits for nothing. SIGHUP reads the configuration again, as carlactl reload does.
SIGUSR2 starts carlad anew in the same process, as carlactl upgrade does: servers and leases go on. They do so
as well where the daemon is killed and started again; `carlactl reap` ends them where it is gone for good.
Exit codes: 0 after SIGTERM, 1 failed, 2 bad usage or configuration (nothing was started).
"""


def carlad(argv: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    from carlad import config, log  # what is imported from here on takes time; --help does not
    from carlad.journal import JournalError

    log.configure(journal="JOURNAL_STREAM" in os.environ, debug=arguments.debug)
    faulthandler.enable()  # says where it stood when a watchdog's SIGABRT ends it
    try:
        from carlad import daemon

        source = config.Source(arguments.config)
        if arguments.check:
            daemon.check(source)
            return 0
        return daemon.run(source)
    except ConfigError as error:
        print(f"carlad: {error}", file=sys.stderr)
        return 2
    except JournalError as error:  # a disk that is full: whoever starts daemons is to try again
        print(f"carlad: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carlad",
        description="Turn this machine into a pool of CARLA servers. Runs in the foreground, logs to stderr.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML; without it the defaults")
    parser.add_argument(
        "--check", action="store_true", help="only say whether this configuration can be used, by exit code"
    )
    parser.add_argument("--debug", action="store_true", help="log more")
    parser.add_argument("--version", action="version", version=f"carlad {__version__}")
    return parser

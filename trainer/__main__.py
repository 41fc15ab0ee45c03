"""`python -m trainer`: train a policy on leased CARLA servers, and see how well it drives."""

from __future__ import annotations

import argparse
import sys

from carlad.errors import CarladError, ConfigError
from trainer.cli import check, evaluate, export, train
from trainer.cli.command import EXIT_CODES

_FAMILIES = (train, evaluate, export, check)
_EXAMPLES = """\
examples:
  python -m trainer check
  python -m trainer train --config training --out data/first
  python -m trainer evaluate data/first --episodes 100
  python -m trainer train --help

The configuration's keys are in docs/trainer.md.
The daemon is found by servers.endpoint, else CARLAD_ENDPOINT,
else the user's or the system's default socket; a server without a daemon by CARLA_HOST and CARLA_PORT.
"""


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done or stopped by a signal, 1 failed, 2 usage or configuration, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (ConfigError, ImportError) as error:
        return _refused(error, 2)
    except (CarladError, OSError) as error:
        return _refused(error, 1)
    except KeyboardInterrupt:
        print("trainer: interrupted; what was not saved is lost", file=sys.stderr)
        return 130
    return code


def _refused(error: Exception, code: int) -> int:
    print(f"trainer: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Reinforcement learning on leased CARLA servers.",
        epilog=f"{_EXAMPLES}{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for family in _FAMILIES:
        family.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

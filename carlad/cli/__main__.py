"""`python -m carlad.cli` is `carlactl`."""

import sys

from carlad.cli.control import carlactl

sys.exit(carlactl())

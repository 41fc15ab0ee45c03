"""`python -m carlad.cli` is `carlactl`."""

import sys

from carlad.cli.main import carlactl

sys.exit(carlactl())

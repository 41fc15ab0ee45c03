"""`python -m carlad` is `carlad`."""

import sys

from carlad.cli.serve import carlad

sys.exit(carlad())

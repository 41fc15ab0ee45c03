"""The two commands. Exit codes: 0 done, 1 refused or failed, 2 usage or configuration, 3 no daemon,
4 waited in vain."""

from carlad.cli.control import carlactl
from carlad.cli.serve import carlad

__all__ = ["carlactl", "carlad"]

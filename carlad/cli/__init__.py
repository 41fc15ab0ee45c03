"""The two commands; one file for each family of `carlactl`'s, its parsers beside what they run."""

from carlad.cli.main import carlactl
from carlad.cli.serve import carlad

__all__ = ["carlactl", "carlad"]

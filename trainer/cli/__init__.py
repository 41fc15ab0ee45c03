"""The commands of `python -m trainer`; they import torch and the like when they run, not for --help."""

"""What other programs say."""

from __future__ import annotations

import subprocess

_ANSWER_MAX_S = 10.0  # nvidia-smi hangs where its driver does


def output(*command: str) -> str | None:
    """What a command prints; None where it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_MAX_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout

"""`carlactl` in this process."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

from carlad import cli


def carlactl(endpoint: str, *arguments: str, code: int = 0) -> str:
    """What it printed on stdout; on stderr where it failed, which is then one line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        returned = cli.carlactl(["--endpoint", endpoint, *arguments])
    assert returned == code, err.getvalue()
    if code == 0:
        assert err.getvalue() == ""
        return out.getvalue()
    assert out.getvalue() == ""
    assert err.getvalue().count("\n") == 1
    assert err.getvalue().startswith("carlactl: ")
    return err.getvalue()

"""As whom a server runs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import msgspec

from carlad.errors import ConfigError


class Account(msgspec.Struct, frozen=True):
    """`prefix`: what stands before a command line so that it runs as this user; it replaces itself."""

    name: str
    home: str
    prefix: tuple[str, ...] = ()

    def may(self, test: str, path: Path) -> bool:
        """`test(1)` by this user: "-w" writable, "-x" executable or searchable."""
        return subprocess.run([*self.prefix, "test", test, path], check=False, cwd="/").returncode == 0

    def environ(self, environ: dict[str, str]) -> dict[str, str]:
        """`environ` for this user; what belongs to the session of the daemon's own user is left out."""
        if not self.prefix:
            return environ | {"HOME": self.home}
        kept = {name: value for name, value in environ.items() if not name.startswith("XDG_")}
        return kept | {"HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def account(user: str, environ: dict[str, str]) -> Account:
    """The configured `user`; the daemon's own where it is empty. Raises ConfigError."""
    own = _by_uid(os.geteuid())
    if not user or user == own.pw_name:
        return Account(own.pw_name, environ.get("HOME") or own.pw_dir)
    if os.geteuid() != 0:
        raise ConfigError(
            f"fleet.user: {own.pw_name} cannot start servers as {user}, only root can; "
            "leave fleet.user empty, or run carlad as root"
        )
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"fleet.user: there is no user {user}; create it with: useradd -m {user}") from None
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigError("fleet.user: setpriv is missing; install the package util-linux")
    # The change of user clears the death signal that the shim has set (prctl(2)).
    prefix = (setpriv, f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--init-groups")
    return Account(user, found.pw_dir, (*prefix, "--pdeathsig=KILL", "--"))


def _by_uid(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:  # as in containers that run under any number
        return pwd.struct_passwd((str(uid), "x", uid, os.getegid(), "", "/", "/bin/sh"))

"""A machine with a real systemd as PID 1: this one's files under an overlay, or those of a newer system.

Nothing of this one is changed: what is written there goes into a tmpfs, the network is the machine's own, and
the end of the block is the end of all its processes.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
CARLAD = "/opt/carlad/bin"  # a virtual environment in the machine
SOURCES = "/opt/sources"  # this repository there
_KERNELS = "carlad/standin/motion"
_PROGRAMS = ("systemd-nspawn", "nsenter", "mount", "umount", "dbus-daemon")
_PYTHON = Path(sys.base_prefix)
_SYSTEMD = Path("/usr/lib/systemd/systemd")
_BOOT_MAX_S = 60.0
_NEWER = "trixie"
_NEWER_HAS = (
    *("systemd", "dbus", "procps"),
    # What this machine's Python and its packages are linked to.
    *(
        "libbz2-1.0",
        "libexpat1",
        "libffi8",
        "libidn2-0",
        "liblzma5",
        "libncursesw6",
        "libreadline8t64",
        "libsqlite3-0",
    ),
    *("libssl3t64", "libuuid1", "zlib1g", "libegl1", "libgl1", "libgomp1", "libusb-1.0-0", "libx11-6"),
)
_LOOK_AGAIN_S = 0.05


class Machine:
    """A booted one. `root`: its files as they are seen from here."""

    def __init__(self, root: Path, init: int) -> None:
        self.root = root
        self._enter = ["nsenter", "-t", str(init), "-m", "-u", "-i", "-n", "-p", "-C", "--"]

    def run(self, *command: str, user: str = "", within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """As root or `user`, whatever its exit code."""
        return subprocess.run(
            self._command(command, user),
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
            env=_ENVIRON,
            stdin=subprocess.DEVNULL,
        )

    def do(self, *command: str, user: str = "", within_s: float = 60.0) -> str:
        """What it prints; it must succeed."""
        done = self.run(*command, user=user, within_s=within_s)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def start(self, *command: str, user: str = "") -> subprocess.Popen[bytes]:
        """A process that its starter ends."""
        return subprocess.Popen(self._command(command, user), stdout=subprocess.DEVNULL, env=_ENVIRON)

    def show(self, unit: str, what: str) -> str:
        return self.do("systemctl", "show", "--value", f"--property={what}", unit)

    def until(self, unit: str, what: str, value: str, within_s: float = 60.0) -> None:
        """Waits for `systemctl show` to say so."""
        deadline_s = time.monotonic() + within_s
        while (said := self.show(unit, what)) != value:
            assert time.monotonic() < deadline_s, (
                f"{unit}: {what} is {said}, not {value}\n{self.journal(unit)}"
            )
            time.sleep(_LOOK_AGAIN_S)

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "-n", "400", "-u", unit).stdout

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def configure(self, unit: str, text: str, name: str = "test") -> None:
        """As `systemctl edit` does; empty: as it was."""
        drop_in = f"/etc/systemd/system/{unit}.d/{name}.conf"
        if text:
            self.write(drop_in, text)
        else:
            (self.root / drop_in.lstrip("/")).unlink()
        self.do("systemctl", "daemon-reload")

    def _command(self, command: tuple[str, ...], user: str) -> list[str]:
        return [*self._enter, *(("runuser", "-u", user, "--") if user else ()), *command]


_ENVIRON = {
    "PATH": f"{CARLAD}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


def why_not() -> str | None:
    """Why there can be no such machine here, or None."""
    if os.geteuid() != 0:
        return "a machine with its own systemd takes root"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or not _SYSTEMD.exists():
        return f"not installed: {', '.join(missing) or 'systemd'}; .ci/packages.sh does that"
    if any(_interpreter().is_relative_to(hidden) for hidden in ("/tmp", "/run")):
        return f"the machine has a /tmp of its own, and would not find {_interpreter()}"
    return None


@contextmanager
def booted(system: Path = Path("/")) -> Iterator[Machine]:
    """`system`: whose files it has. Raises OSError or CalledProcessError where mounts are refused."""
    with ExitStack() as stack:
        root = stack.enter_context(_overlay(system))
        paths = _paths() if system == Path("/") else _paths() | {_PYTHON: str(_PYTHON)}
        _furnish(root, paths)
        init = stack.enter_context(_running(root, paths))
        machine = Machine(root, init)
        _await_boot(machine)
        yield machine


def newer_system(folder: Path) -> Path:
    """A Debian with a newer systemd than this machine's. Raises CalledProcessError where it cannot be had."""
    system = folder / _NEWER
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(_NEWER_HAS)}", _NEWER, system]
    subprocess.run(command, check=True, capture_output=True)
    return system


def _await_boot(machine: Machine) -> None:
    deadline_s = time.monotonic() + _BOOT_MAX_S
    while (state := machine.run("systemctl", "is-system-running").stdout.strip()) not in (
        "running",
        "degraded",
    ):
        if time.monotonic() > deadline_s:
            raise OSError(f"the machine does not get beyond {state!r}")
        time.sleep(_LOOK_AGAIN_S)


@contextmanager
def _overlay(system: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="carlad-machine-"))
    try:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", work], check=True, capture_output=True)
        try:
            for name in ("upper", "work", "root"):
                (work / name).mkdir()
            layers = f"lowerdir={system},upperdir={work}/upper,workdir={work}/work"
            mount = ["mount", "-t", "overlay", "overlay", "-o", layers, work / "root"]
            subprocess.run(mount, check=True, capture_output=True)
            try:
                yield work / "root"
            finally:
                subprocess.run(["umount", work / "root"], check=True)
        finally:
            subprocess.run(["umount", work], check=True)
    finally:
        work.rmdir()


def _furnish(root: Path, paths: Mapping[Path, str]) -> None:
    """carlad as in /opt/carlad, and nothing of this machine's own services."""
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("carlad-test\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")  # a minimal Debian has none
    environment = root / CARLAD.removeprefix("/").removesuffix("/bin")
    shutil.rmtree(environment, ignore_errors=True)
    packages = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (environment / "bin").mkdir()
    (environment / "pyvenv.cfg").write_text(f"home = {_interpreter().parent}\n")
    (environment / "bin" / "python").symlink_to(_interpreter())
    (packages / "here.pth").write_text("".join(f"{inside}\n" for inside in _paths().values()))
    for name in ("carlad", "carlactl"):
        script = environment / "bin" / name
        script.write_text(
            f"#!{CARLAD}/python\nimport sys\nfrom carlad.cli import {name}\nsys.exit({name}())\n"
        )
        script.chmod(0o755)
    for inside in paths.values():
        (root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for folder in _interpreter().parents:  # which services may not enter here, as /root
        seen = root / folder.relative_to("/")
        if seen.exists():
            seen.chmod(seen.stat().st_mode | 0o005)


def bring_kernels(root: Path, home: str) -> None:
    """What this machine's stand-ins have compiled, where those with that HOME look: else each first one takes
    its time, in which it answers nobody."""
    from numba.core.caching import UserWideCacheLocator  # names the folder by the one of the source

    here = REPOSITORY / _KERNELS
    name = UserWideCacheLocator.get_suitable_cache_subpath(f"{SOURCES}/{_KERNELS}/kernel.py")
    there = root / home.lstrip("/") / ".cache" / "numba" / name
    there.mkdir(parents=True)
    for file in (here / "__pycache__").glob("*.nb[ci]"):
        shutil.copy2(file, there)


def _paths() -> dict[Path, str]:
    """What this process imports from, and where the machine has it."""
    packages = [Path(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return {REPOSITORY: SOURCES, **{path: f"/opt/packages/{n}" for n, path in enumerate(packages)}}


def _interpreter() -> Path:
    return Path(sys.executable).resolve()


@contextmanager
def _running(root: Path, paths: Mapping[Path, str]) -> Iterator[int]:
    """The pid here of the machine's PID 1."""
    log = root.parent / "boot.log"
    command = ["systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--private-network"]
    command += ["--kill-signal=SIGRTMIN+3", "--console=pipe", "-b"]
    command += [f"--bind-ro={outside}:{inside}" for outside, inside in paths.items()]
    command += ["systemd.unit=basic.target"]
    with _cgroups() as cgroups, log.open("wb") as output:
        enter = "".join(f"echo $$ >{folder}/cgroup.procs && " for folder in cgroups)
        nspawn = subprocess.Popen(
            ["sh", "-c", f'{enter}exec "$@"', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        init = None
        try:
            init = _init(nspawn, log)
            yield init.pid
        finally:
            _end(nspawn, init)


@contextmanager
def _cgroups() -> Iterator[list[Path]]:
    """New ones below this process's own, as a second machine beside this one would be in its way."""
    name = f"carlad-test-{secrets.token_hex(4)}"
    folders = [folder / name for folder in _own_cgroups()]
    try:
        for folder in folders:
            folder.mkdir()
        yield folders
    finally:
        for folder in folders:
            for path, _folders, _files in os.walk(folder, topdown=False):
                os.rmdir(path)


def _own_cgroups() -> Iterator[Path]:
    """Of the hierarchies that systemd keeps its units in: version 2's, and beside version 1 a named one."""
    mounts = Path("/proc/self/mounts").read_text()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            kind = r"cgroup2 " if controllers == "" else r"cgroup \S*\bname=systemd\b"
            mounted = re.search(rf"^\S+ (\S+) {kind}", mounts, re.MULTILINE)
            if mounted is not None:
                yield Path(mounted[1]) / path.lstrip("/")


def _init(nspawn: subprocess.Popen[bytes], log: Path) -> psutil.Process:
    deadline_s = time.monotonic() + _BOOT_MAX_S
    while time.monotonic() < deadline_s and nspawn.poll() is None:
        for child in psutil.Process(nspawn.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                if child.exe() == str(_SYSTEMD.resolve()) and _is_first(child.pid):
                    return child
        time.sleep(_LOOK_AGAIN_S)
    raise OSError(f"the machine does not boot: {log.read_text(errors='replace')[-500:]}")


def _is_first(pid: int) -> bool:
    """In a pid namespace of its own."""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(line.split()[-1] == "1" for line in status.splitlines() if line.startswith("NSpid:"))


def _end(nspawn: subprocess.Popen[bytes], init: psutil.Process | None) -> None:
    """PID 1 takes everything along, even where it is killed."""
    if init is not None:
        with suppress(psutil.NoSuchProcess):
            init.send_signal(signal.SIGRTMIN + 4)  # systemd(1): power off
    try:
        nspawn.wait(_BOOT_MAX_S if init is not None else 0)
    except subprocess.TimeoutExpired:
        for process in (*psutil.Process(nspawn.pid).children(recursive=True), nspawn):
            process.kill()
        nspawn.wait()

"""A Docker engine of our own, a Debian to build on, and packages for it: nothing is pulled, nothing is left.

Images are built while the engine is in this machine's network, for apt. Then it is started again on the same
data in a network namespace of its own, where it may have bridges, names and published ports without touching
this machine's.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = "carlad-test/debian:bookworm"

_NEEDED = ("dockerd", "debootstrap", "iptables", "nsenter", "unshare")
_STARTED_MAX_S, _ENDED_MAX_S = 60.0, 60.0
_FREE_BYTES_MIN = 20 << 30
_DEBIAN_HAS = "python3,python3-venv"


def or_skip(folder: Path) -> None:
    """Skips where no engine can be had, with the reason."""
    if os.geteuid() != 0:
        pytest.skip("an engine needs root")
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing or not Path("/usr/bin/docker").exists():
        pytest.skip(
            f"no engine: {', '.join(missing) or 'docker'} missing; apt-get install docker.io debootstrap"
        )
    if shutil.which("docker-compose", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("no docker-compose: pip install -e '.[dev]' on Python 3.11 or 3.12")
    if (free := shutil.disk_usage(folder).free) < _FREE_BYTES_MIN:
        pytest.skip(f"{free >> 30} GiB free in {folder}, images need {_FREE_BYTES_MIN >> 30}")


class Engine:
    """dockerd with all it has in `folder`, which is short: a socket's path is limited."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "bin").mkdir()
        for name, real in (("docker", "/usr/bin/docker"), ("docker-compose", _compose())):
            (folder / "bin" / name).symlink_to(real)
        self.environ = {
            **os.environ,
            "DOCKER_HOST": f"unix://{folder}/sock",
            "DOCKER_CONFIG": str(folder / "config"),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }

    def start(self, *, alone: bool) -> None:
        """`alone`: in a network of its own, with bridges; else in this machine's, without any."""
        self.stop()
        command = ["dockerd", "-H", self.environ["DOCKER_HOST"], "--pidfile", f"{self._folder}/pid"]
        command += ["--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec"]
        if alone:
            inner = 'ip link set lo up && exec "$@"'
            command = ["unshare", "--net", "sh", "-c", inner, "sh", *command]
        else:
            command += ["--bridge=none", "--iptables=false", "--ip-forward=false"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTED_MAX_S
        while self.run("docker", "version", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "log").read_text().splitlines()
                pytest.skip(f"no engine can be started here: {said[-1] if said else 'it says nothing'}")
            time.sleep(0.2)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_ENDED_MAX_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for namespace in (self._folder / "exec" / "netns").glob("*"):
            subprocess.run(["umount", "--lazy", namespace], check=False, stderr=subprocess.DEVNULL)

    def run(
        self, *command: str, check: bool = True, within_s: float = 300.0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """`docker ...`, or anything else that finds this engine. What failed is shown."""
        done = subprocess.run(
            command,
            env={**self.environ, **environ},
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done

    def inside(self, *command: str) -> list[str]:
        """A command line that runs in the engine's network, where published ports are."""
        assert self._process is not None
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", *command]


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Not started yet. Nothing of it is left afterwards: no process, mount or file."""
    one = Engine(folder)
    try:
        yield one
    finally:
        one.stop()
        for pid in _left_in(folder):  # containers' shims, where a test failed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _unmount_below(folder)
        shutil.rmtree(folder / "data", ignore_errors=True)


def _left_in(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)


def _compose() -> str:
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert found is not None
    return found


# --- what images are made of


def import_debian(engine: Engine, folder: Path) -> None:
    """This machine's release, from the mirrors that its apt uses, as the image DEBIAN."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if release is None or release[1] != "bookworm":
        pytest.skip("the images are built on this machine's Debian, which is no bookworm")
    sources = _sources(release[1])
    root = folder / "debian"
    mirror = sources[0].split()[1]
    made = _ran("debootstrap", "--variant=minbase", f"--include={_DEBIAN_HAS}", release[1], root, mirror)
    if made.returncode != 0:
        pytest.skip(f"no Debian can be had: {made.stdout.splitlines()[-1:]}")
    (root / "etc/apt/sources.list").write_text("".join(f"{line}\n" for line in sources))
    (root / "etc/apt/apt.conf.d/99mirror").write_text('Acquire::Check-Valid-Until "false";\n')
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as archive:
        command = ["docker", "import", "-", DEBIAN]
        subprocess.run(command, stdin=archive.stdout, env=engine.environ, check=True, capture_output=True)
    shutil.rmtree(root)


def _sources(release: str) -> list[str]:
    form = "$(RELEASE) $(REPO_URI) $(COMPONENT)"
    said = _ran("apt-get", "indextargets", "--format", form, "Created-By: Packages").stdout
    places = sorted({tuple(line.split()) for line in said.splitlines()})
    found = [f"deb {uri} {suite} {part}" for suite, uri, part in places if suite.startswith(release)]
    if not found:
        pytest.skip("apt on this machine knows no mirror of its own release")
    return found


def _ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, capture_output=True, check=False)


@contextmanager
def wheels(folder: Path, *requirements: str) -> Iterator[str]:
    """The URL of a folder with all wheels that `requirements` take, gathered by this machine's pip."""
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "-c", "constraints.txt", "-w", str(folder)]
    done = subprocess.run([*pip, *requirements], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, ExitStack() as stack:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    shutil.rmtree(folder)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody wants to read it."""

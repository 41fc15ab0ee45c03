"""A process between daemon and server, one per incarnation; it goes when the last of the tree has gone.

Run as `python -I -S shim.py LISTENING_FD` with a JSON object of `Order`'s fields on stdin. Standard
library only, so that it starts in tens of milliseconds and takes a few megabytes.

It is the subreaper of everything that the server forks, so that "all gone" is known and not guessed:
waitpid says ECHILD. It owns the pipe of the server's stdout and stderr, and so a flood stalls nobody. It
writes the exit status to `exit.json`. Over its Unix socket it says, one JSON object a line,
`{"event": "started", "pid", "start_time"}`, `{"event": "failed", "why"}` where nothing could be executed,
`{"event": "exited", "status", "dropped_bytes"}` for the server's main process (negative: a signal) and
`{"event": "gone"}`; whoever connects later is told from the beginning. It obeys `{"stop": GRACE_S}` and
SIGTERM: TERM to every process of the tree, KILL after the grace. It outlives its daemon: whether and when one
comes back is nothing to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import zlib
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_KILL_AGAIN_S = 0.02  # a process may fork between being listed and being killed
_PIPE_BYTES = 64 << 10
# A flood beyond this is dropped and counted: a disk is not filled with one sentence a million times.
_LOG_BYTES_PER_S = 8 << 20

_PACKED, _PACKING = ".gz", ".packing"

_libc = ctypes.CDLL(None, use_errno=True)


class Order:
    """What the daemon wants; paths are absolute."""

    argv: list[str]
    environ: dict[str, str]
    cwd: str
    run_dir: str
    log_path: str
    log_bytes_max: int  # of one file
    log_files_max: int
    log_age_max_s: float  # 0: none
    log_compress: bool
    log_stamps: bool
    stop_grace_s: float
    cgroup: str = ""  # which the server enters; empty: it stays where the daemon is

    def __init__(self, fields: dict[str, object]) -> None:
        self.__dict__.update(fields)


class RotatedLog:
    """`path`, and what was closed before as `path.N`, the newest with the highest number, of at most
    `bytes_max` each, `files_max` (2 or more) in all, cut at line ends. A file is closed after `age_max_s`,
    too (0: never). `stamps`: each line begins with the time of day at which it came.

    Never raises: what is over the rate, or cannot be written, is counted. The server must not suffer.
    """

    def __init__(
        self,
        path: str,
        bytes_max: int,
        files_max: int,
        age_max_s: float = 0.0,
        compress: bool = False,
        stamps: bool = False,
    ) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._age_max_s = age_max_s
        self._compress = compress
        self._stamps = stamps
        self._is_line_open = False
        self._allowance = float(_LOG_BYTES_PER_S)
        self._allowed_at = time.monotonic()
        self._dropped_since = 0
        self.dropped_bytes = 0
        self._fd: int | None = None
        self._size = 0
        self._begun_at = time.time()
        self._packer: threading.Thread | None = None
        with suppress(OSError):
            self._open()

    def write(self, data: bytes) -> None:
        if not self._allow(len(data)):
            self._drop(len(data))
            return
        if self._dropped_since:
            data = b"\n[carlad] %d bytes of output were dropped here\n" % self._dropped_since + data
            self._dropped_since = 0
        if self._age_max_s and self._size and time.time() - self._begun_at > self._age_max_s:
            self._rotate()
        data = self._stamped(data) if self._stamps else data
        while self._size + len(data) > self._bytes_max:
            room = max(0, self._bytes_max - self._size)
            cut = data.rfind(b"\n", 0, room) + 1 or (room if self._size == 0 else 0)
            self._append(data[:cut])
            data = data[cut:]
            self._rotate()
        self._append(data)

    def _stamped(self, data: bytes) -> bytes:
        """All lines of a piece came at the same time."""
        now = time.time()
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        stamp = f"{seconds}.{int(now % 1 * 1000):03}Z ".encode()
        begins = b"" if self._is_line_open else stamp
        self._is_line_open = not data.endswith(b"\n")
        body = data if self._is_line_open else data[:-1]
        return begins + body.replace(b"\n", b"\n" + stamp) + (b"" if self._is_line_open else b"\n")

    def _allow(self, size: int) -> bool:
        now = time.monotonic()
        self._allowance += (now - self._allowed_at) * _LOG_BYTES_PER_S
        self._allowance = min(self._allowance, float(_LOG_BYTES_PER_S))
        self._allowed_at = now
        if size > self._allowance:
            return False
        self._allowance -= size
        return True

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self._open() if self._fd is None else self._fd, data)
        except OSError:  # no space, or no folder any more
            written = 0
        self._size += written
        if written < len(data):
            self._drop(len(data) - written)

    def _drop(self, size: int) -> None:
        self._dropped_since += size
        self.dropped_bytes += size

    def _rotate(self) -> None:
        """The one before may still be followed: what is older than that is compressed."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._size = None, 0
        with suppress(OSError):  # no folder any more
            numbers = self._rotated()
            os.replace(self._path, f"{self._path}.{numbers[-1] + 1 if numbers else 1}")
            kept = self._files_max - 1  # with the one that is being written and the one just closed
            for number in numbers[: max(0, len(numbers) + 1 - kept)]:
                for name in (f"{self._path}.{number}", f"{self._path}.{number}{_PACKED}"):
                    with suppress(FileNotFoundError):
                        os.unlink(name)
            if self._compress and (self._packer is None or not self._packer.is_alive()):
                self._packer = threading.Thread(target=_pack, args=(self._path, numbers[-kept:]))
                self._packer.start()

    def _rotated(self) -> list[int]:
        """The numbers of the files that were closed, the oldest first."""
        folder, name = os.path.split(self._path)
        found = [
            entry[len(name) + 1 :].removesuffix(_PACKED)
            for entry in os.listdir(folder)
            if entry.startswith(f"{name}.")
        ]
        return sorted({int(number) for number in found if number.isdigit()})

    def _open(self) -> int:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        status = os.fstat(self._fd)
        self._size = status.st_size
        self._begun_at = status.st_ctime if status.st_size else time.time()
        return self._fd


def _pack(path: str, numbers: list[int]) -> None:
    """Gzips those of the closed files that are not compressed yet; in a thread, beside the pump."""
    for number in numbers:
        plain = f"{path}.{number}"
        with suppress(OSError):  # it is gone, or the disk is full: it stays as it is
            packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS + 16)
            try:
                with open(plain, "rb") as source, open(f"{path}{_PACKING}", "wb") as packed:
                    while piece := source.read(_PIPE_BYTES):
                        packed.write(packer.compress(piece))
                    packed.write(packer.flush())
                os.replace(packed.name, f"{plain}{_PACKED}")
                try:
                    os.unlink(plain)
                except FileNotFoundError:  # it was one too many meanwhile
                    os.unlink(f"{plain}{_PACKED}")
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(f"{path}{_PACKING}")


class Shim:
    def __init__(self, order: Order, listener: socket.socket) -> None:
        self._order = order
        self._listener = listener
        self._daemon: socket.socket | None = None
        self._heard = b""
        self._told: list[bytes] = []
        self._log = RotatedLog(
            order.log_path,
            order.log_bytes_max,
            order.log_files_max,
            order.log_age_max_s,
            order.log_compress,
            order.log_stamps,
        )
        self._signals, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (signal.SIGCHLD, *_END_SIGNALS):
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        self._output, self._servers_output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        self._output_ended = False
        self._pid = 0
        self._kill_at: float | None = None  # set once stopping
        self._gone = False
        self._poll = select.poll()

    def run(self) -> None:
        _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1))
        for fd in (self._signals, self._output, self._listener.fileno()):
            self._poll.register(fd, select.POLLIN)
        self._start()
        while not self._gone:
            for fd, _events in self._poll.poll(self._wait_ms()):
                self._attend(fd)
            self._look_at_the_clock()
        while self._pump():
            pass
        self._tell({"event": "gone"})

    # --- the server

    def _start(self) -> None:
        self._log.write(b"[carlad] starting %s\n" % os.fsencode(" ".join(self._order.argv)))
        failure, fails = os.pipe2(os.O_CLOEXEC)
        shim = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _become_server(self._order, shim, self._servers_output, fails)
        os.close(fails)
        os.close(self._servers_output)
        why = os.read(failure, 4096)
        os.close(failure)
        if why:
            self._tell({"event": "failed", "why": why.decode(errors="replace")})
        else:
            self._tell({"event": "started", "pid": self._pid, "start_time": start_time(self._pid)})

    def _reap(self) -> None:
        """Collects the dead. The end of the main process is the end of the incarnation."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._gone = True  # a subreaper without children: not one descendant is left
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._record(os.waitstatus_to_exitcode(status))
                self._stop(grace_s=0.0)

    def _record(self, status: int) -> None:
        record = {"pid": self._pid, "status": status, "dropped_bytes": self._log.dropped_bytes}
        self._tell({"event": "exited", "status": status, "dropped_bytes": self._log.dropped_bytes})
        path = os.path.join(self._order.run_dir, "exit.json")
        with suppress(OSError):  # no space, or no folder any more: the tree must end all the same
            with open(f"{path}.new", "w") as file:
                json.dump({**record, "at_unix_s": time.time()}, file)
            os.replace(f"{path}.new", path)

    def _stop(self, grace_s: float) -> None:
        """TERM at the first call; a later one can only bring the KILL forward."""
        if self._kill_at is None:
            self._kill_at = float("inf")
            _signal_all(signal.SIGTERM)
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)

    # --- the loop

    def _wait_ms(self) -> float | None:
        return None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic()) * 1000 + 1

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            _signal_all(signal.SIGKILL)
            self._kill_at = now + _KILL_AGAIN_S

    def _attend(self, fd: int) -> None:
        if fd == self._output:
            self._pump()
        elif fd == self._signals:
            numbers = os.read(self._signals, 512)
            if any(number in numbers for number in _END_SIGNALS):
                self._stop(self._order.stop_grace_s)
            self._reap()
        elif fd == self._listener.fileno():
            self._accept()
        elif self._daemon is not None and fd == self._daemon.fileno():
            self._listen()

    def _pump(self) -> bool:
        """Takes what the server wrote; False where there is nothing more."""
        try:
            data = os.read(self._output, _PIPE_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._log.write(data)
        elif not self._output_ended:
            self._output_ended = True
            self._poll.unregister(self._output)
        return bool(data)

    # --- the daemon

    def _accept(self) -> None:
        connection, _address = self._listener.accept()
        if self._daemon is not None:
            self._forget_daemon()
        self._daemon = connection
        self._heard = b""
        connection.setblocking(False)
        self._poll.register(connection.fileno(), select.POLLIN)
        self._send(b"".join(self._told))

    def _listen(self) -> None:
        assert self._daemon is not None
        try:
            data = self._daemon.recv(4096)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._forget_daemon()
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        try:
            for line in lines:
                self._stop(float(json.loads(line)["stop"]))
        except (ValueError, TypeError, KeyError):  # not our daemon
            self._forget_daemon()

    def _tell(self, event: dict[str, object]) -> None:
        line = json.dumps(event).encode() + b"\n"
        self._told.append(line)
        self._send(line)

    def _send(self, data: bytes) -> None:
        if self._daemon is None:
            return
        try:
            self._daemon.sendall(data)
        except OSError:  # gone, or so stuck that a few hundred bytes do not fit
            self._forget_daemon()

    def _forget_daemon(self) -> None:
        assert self._daemon is not None
        self._poll.unregister(self._daemon.fileno())
        self._daemon.close()
        self._daemon = None


def _become_server(order: Order, shim: int, output: int, fails: int) -> None:
    """The child's side of the fork; does not return."""
    try:
        os.setsid()
        _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))  # the shim's end is the server's
        if os.getppid() != shim:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # CARLA's dumps take minutes and gigabytes
        if order.cgroup:
            with open(os.path.join(order.cgroup, "cgroup.procs"), "w") as members:
                members.write(str(os.getpid()))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(order.cwd)
        os.execve(order.argv[0], order.argv, order.environ)
    except OSError as error:
        os.write(fails, f"cannot execute {order.argv[0]}: {error}".encode())
    finally:
        os._exit(127)


def _signal_all(number: int) -> None:
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError):  # reaped by its parent since it was listed
            os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`."""
    found = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):  # it ended meanwhile; its children are ours now
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children += map(int, file.read().split())
    return children


def start_time(pid: int) -> int:
    """Clock ticks since the boot (proc(5), field 22): with the pid it names a process for good.

    Raises ProcessLookupError.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    try:
        order = Order(json.load(sys.stdin))
    except ValueError:  # the daemon gave up before it had said what to start
        sys.exit(1)
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.set_inheritable(False)  # it was, to get here; the server is not to have it
    listener.listen()  # again, so that SO_PEERCRED names this process and not the daemon that opened it
    Shim(order, listener).run()


if __name__ == "__main__":
    main()

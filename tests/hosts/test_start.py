"""What a daemon that was killed left of its env hosts is put in order by the next one."""

from __future__ import annotations

from pathlib import Path

from tests.daemon_process import DaemonProcess, until


def test_secrets_that_no_host_has_read_go_when_the_next_daemon_starts(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, {"fleet": "size = 1"}, {})
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    stale = [state / "look-0123abcd.secret", state / "session-0123abcd-0123456789ab.secret"]
    for path in stale:
        path.write_text("never read")
    daemon.start()
    try:
        until(lambda: not any(path.exists() for path in stale), 60.0)
    finally:
        daemon.close()

"""A process that ends with its owner, whatever it is doing then."""

from __future__ import annotations

import os
import select
import signal
import threading

_GRACE_S = 2.0  # for the step under way and for putting the server in order; then the process just ends


def end_with(pid: int) -> threading.Event:
    """From now on this process ends when process `pid` does: SIGTERM first, then at once.

    Returns an event that is set when the owner is gone.

    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started us ends. Raises ProcessLookupError
    if there is no such process any more.
    """
    pidfd = os.pidfd_open(pid)
    gone = threading.Event()
    threading.Thread(target=_watch, args=(pidfd, gone), name="owner", daemon=True).start()
    return gone


def _watch(pidfd: int, gone: threading.Event) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    gone.set()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_S)
    os._exit(1)

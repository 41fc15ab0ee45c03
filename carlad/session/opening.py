"""Getting an env host in the background, for as long as it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from carlad.errors import CarladError
from carlad.session.sources import CancelledError, Hosted, Source

_RETRY_AFTER_S = 1.0

Report = Callable[[int, "Hosted | Exception"], None]


class Opening:
    """A thread that calls `report` with member `index` and each error, and at last with an env host."""

    def __init__(self, index: int, source: Source, cause: str | None, report: Report) -> None:
        """`cause`: why the host before it was lost, if there was one."""
        self._index, self._source, self._report = index, source, report
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(cause,), name=f"opening-{index}")
        self._thread.start()

    def cancel(self) -> None:
        """Stop at the next chance; `join` is still due."""
        self._cancelled.set()
        self._source.cancel()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self, cause: str | None) -> None:
        while not self._cancelled.is_set():
            outcome = self._attempt(cause)
            if not isinstance(outcome, CancelledError):
                self._report(self._index, outcome)
            if isinstance(outcome, Hosted):
                return
            self._cancelled.wait(_RETRY_AFTER_S)

    def _attempt(self, cause: str | None) -> Hosted | Exception:
        try:
            return self._source.obtain(cause)
        except (CarladError, OSError) as error:
            return error

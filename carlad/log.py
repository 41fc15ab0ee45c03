"""One line an event: a past-tense name and keys, on stderr.

Error: a human must act. Warning: recovered. Info: lifecycle. Nothing per tick above debug.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")
# sd-daemon(3): journald reads the priority of a line from its prefix.
_JOURNAL_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class Logger:
    """`log.info("lease.granted", slot=3, token=17)`."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **keys: object) -> None:
        self._log(logging.DEBUG, event, keys)

    def info(self, event: str, **keys: object) -> None:
        self._log(logging.INFO, event, keys)

    def warning(self, event: str, **keys: object) -> None:
        self._log(logging.WARNING, event, keys)

    def error(self, event: str, *, exc_info: BaseException | None = None, **keys: object) -> None:
        """`exc_info`: its traceback follows."""
        self._log(logging.ERROR, event, keys, exc_info)

    def exception(self, event: str, **keys: object) -> None:
        """An error, with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, event, keys, sys.exc_info()[1])

    def _log(
        self, level: int, event: str, keys: dict[str, object], failure: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", _line(event, keys), exc_info=failure)


def get_logger(name: str) -> Logger:
    return Logger(logging.getLogger(name))


def configure(*, journal: bool = False, debug: bool = False, stream: TextIO | None = None) -> None:
    """Sends carlad's events to `stream` (stderr). `journal`: priorities in place of times of day.

    For entry points; libraries leave logging to their program.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JournalFormatter() if journal else _PlainFormatter())
    root = logging.getLogger("carlad")
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    root.propagate = False


@contextmanager
def also_to(path: Path) -> Iterator[None]:
    """Sends carlad's events to the end of this file as well, with times of day."""
    handler = logging.FileHandler(path)
    handler.setFormatter(_PlainFormatter())
    root = logging.getLogger("carlad")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


class _PlainFormatter(logging.Formatter):
    """`2026-11-23T07:00:00.123Z info  lease.granted slot=3 token=17`"""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03}Z {record.levelname.lower():<5} {super().format(record)}"


class _JournalFormatter(logging.Formatter):
    """`<6>lease.granted slot=3 token=17`, every line of a traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_JOURNAL_PRIORITIES[record.levelname.lower()]}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def _line(event: str, keys: dict[str, object]) -> str:
    return " ".join([event, *(f"{key}={_value(value)}" for key, value in keys.items() if value is not None)])


def _value(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)

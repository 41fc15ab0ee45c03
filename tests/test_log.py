from __future__ import annotations

import io
import logging
import re

import pytest

from carlad import log


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger("carlad")
    before = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:], root.level, root.propagate = before


def test_an_event_is_one_line_with_time_level_and_keys():
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("carlad.x").info("lease.granted", slot=3, token=17, map=None, reason='said "no"\nthen')
    line = stream.getvalue()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info  lease\.granted slot=3 token=17 "
        r'reason="said \\"no\\"\\nthen"\n',
        line,
    )


def test_the_journal_gets_priorities_on_every_line_and_no_time():
    stream = io.StringIO()
    log.configure(stream=stream, journal=True)
    logger = log.get_logger("carlad.x")
    logger.warning("slot.lost", slot=1)
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("unit.failed", unit="x")
    logger.error("daemon.failed", exc_info=KeyError("gone"))
    first, second, *traceback, third, last = stream.getvalue().splitlines()
    assert first == "<4>slot.lost slot=1"
    assert second == "<3>unit.failed unit=x"
    assert traceback[-1] == "<3>ValueError: broken"
    assert (third, last) == ("<3>daemon.failed", "<3>KeyError: 'gone'")


def test_debug_is_silent_unless_asked_for():
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get_logger("carlad.x").debug("tick")
    assert stream.getvalue() == ""
    log.configure(stream=stream, debug=True)
    log.get_logger("carlad.x").debug("tick", frame=1)
    assert stream.getvalue().endswith("debug tick frame=1\n")

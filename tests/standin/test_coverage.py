from __future__ import annotations

import pytest

from carlad.standin.coverage import COVERAGE, Coverage
from carlad.standin.handlers import CALLER_HANDLERS, HANDLERS, OFF_THE_GAME_THREAD
from carlad.wire.calls import CALLS

SERVED = (Coverage.TRUE, Coverage.SIMPLIFIED)


def test_every_call_of_the_client_has_a_row() -> None:
    assert set(COVERAGE) == set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_has_a_handler_exactly_where_its_row_says_so(name: str) -> None:
    assert (name in HANDLERS or name in CALLER_HANDLERS) == (COVERAGE[name] in SERVED)


def test_what_is_only_accepted_is_no_question() -> None:
    for name, coverage in COVERAGE.items():
        if coverage is Coverage.ACCEPTED:
            assert CALLS[name].result is None, name


def test_the_game_thread_is_not_needed_for_what_the_server_has() -> None:
    assert set(HANDLERS) >= OFF_THE_GAME_THREAD

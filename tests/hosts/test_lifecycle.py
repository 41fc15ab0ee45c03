from __future__ import annotations

import itertools

import pytest

from carlad.hosts.lifecycle import TRANSITIONS, Event, Lifecycle, State


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_pair_leads_where_the_table_says_or_is_refused(state: State, event: Event) -> None:
    lifecycle = Lifecycle()
    lifecycle._state = state
    if (state, event) in TRANSITIONS:
        assert lifecycle.advance(event) is TRANSITIONS[state, event] is lifecycle.state
    else:
        with pytest.raises(AssertionError, match="cannot"):
            lifecycle.advance(event)


def test_a_loss_is_survived_and_a_close_possible_in_every_state_but_the_last() -> None:
    for state in set(State) - {State.CLOSED}:
        assert TRANSITIONS[state, Event.LOST] is State.PREPARING
        assert TRANSITIONS[state, Event.CLOSED] is State.CLOSED
    assert not any(state is State.CLOSED for state, _ in TRANSITIONS)

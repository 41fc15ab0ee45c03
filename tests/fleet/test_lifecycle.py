from __future__ import annotations

import itertools
from typing import get_args

import pytest

from carlad.fleet.lifecycle import TRANSITIONS, Event, Lifecycle, State
from carlad.messages import SlotState


def lifecycle_in(state: State) -> Lifecycle:
    """By a shortest path, so that no test writes the state itself."""
    paths: dict[State, list[Event]] = {State.STOPPED: []}
    while state not in paths:
        paths |= {
            after: [*paths[before], event]
            for (before, event), after in TRANSITIONS.items()
            if before in paths and after not in paths
        }
    lifecycle = Lifecycle()
    for event in paths[state]:
        lifecycle.advance(event)
    return lifecycle


@pytest.mark.parametrize(("pair", "following"), TRANSITIONS.items())
def test_every_pair_of_the_table_leads_where_it_says(pair, following):
    lifecycle = lifecycle_in(pair[0])
    assert lifecycle.advance(pair[1]) is following
    assert lifecycle.state is following


@pytest.mark.parametrize(
    "pair",
    [
        pair
        for pair in itertools.product({before for before, _ in TRANSITIONS}, Event)
        if pair not in TRANSITIONS
    ],
)
def test_every_other_pair_is_refused_and_changes_nothing(pair):
    lifecycle = lifecycle_in(pair[0])
    with pytest.raises(AssertionError, match=f"{pair[0].value} cannot"):
        lifecycle.advance(pair[1])
    assert lifecycle.state is pair[0]


def test_the_states_are_those_of_the_public_contract():
    assert [state.value for state in State] == list(get_args(SlotState))


def test_a_lease_is_granted_from_ready_only():
    assert {before for (before, event) in TRANSITIONS if event is Event.LEASE} == {State.READY}

from __future__ import annotations

import pytest

from carlad.fleet.outbreak import Outbreak

BROKEN = "exited with status 1 while it started; its log ends: no driver"


@pytest.fixture
def outbreak() -> Outbreak:
    """Slots 0 and 1 have failed alike."""
    outbreak = Outbreak()
    outbreak.failed(0, BROKEN)
    assert outbreak.scout_of(0) is None  # one slot's trouble is its own
    outbreak.failed(1, BROKEN)
    return outbreak


def test_the_first_of_those_that_fail_alike_tries_for_all(outbreak):
    outbreak.failed(2, BROKEN)
    assert [outbreak.scout_of(slot) for slot in (0, 1, 2, 3)] == [None, 0, 0, None]
    outbreak.failed(0, BROKEN)  # again
    assert [outbreak.scout_of(slot) for slot in (0, 1, 2)] == [None, 0, 0]


def test_ports_and_pids_do_not_make_a_reason_another_one():
    outbreak = Outbreak()
    outbreak.failed(4, "no listener on port 2000")
    outbreak.failed(5, "no listener on port 2004")
    assert outbreak.scout_of(5) == 4


def test_who_fails_of_something_else_tries_on_alone(outbreak):
    outbreak.failed(2, "was killed by SIGSEGV")
    assert outbreak.scout_of(2) is None
    outbreak.failed(1, "was killed by SIGSEGV")
    assert outbreak.scout_of(1) is None


def test_a_server_that_starts_ends_it_for_all(outbreak):
    looks = []
    outbreak.watch(1, lambda: looks.append("again"))
    outbreak.started()
    assert outbreak.scout_of(1) is None
    assert looks == ["again"]


def test_a_scout_that_fails_of_something_else_or_leaves_holds_nobody_up(outbreak):
    outbreak.failed(0, "was killed by SIGSEGV")
    assert outbreak.scout_of(1) is None
    outbreak.failed(2, BROKEN)
    assert outbreak.scout_of(2) == 1
    outbreak.forget(1)
    assert outbreak.scout_of(2) is None


def test_what_the_scout_gives_up_is_given_up_for_all_until_it_is_tried_again(outbreak):
    looks = []
    outbreak.watch(1, lambda: looks.append("again"))
    outbreak.gave_up(1, "another one's word does not count")
    assert (outbreak.given_up, looks) == (None, [])
    outbreak.gave_up(0, "failed too often")
    assert (outbreak.scout_of(1), outbreak.given_up, looks) == (0, "failed too often", ["again"])
    outbreak.forget(0)
    assert (outbreak.scout_of(1), outbreak.given_up) == (None, None)

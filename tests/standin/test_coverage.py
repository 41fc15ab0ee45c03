from __future__ import annotations

import pytest

from carlad.standin import blueprints
from carlad.standin.coverage import BLUEPRINTS, COVERAGE, SENSORS, Coverage
from carlad.standin.handlers import CALLER_HANDLERS, HANDLERS, OFF_THE_GAME_THREAD
from carlad.wire.calls import CALLS

SERVED = (Coverage.TRUE, Coverage.SIMPLIFIED)


def test_every_call_of_the_client_has_a_row() -> None:
    assert set(COVERAGE) == set(CALLS)


def test_every_other_blueprint_has_one_row() -> None:
    others = [found.id for found in blueprints.definitions() if not found.id.startswith("sensor.")]
    rows = {name: [row for row in BLUEPRINTS if name.startswith(row)] for name in others}
    assert {name: row for name, row in rows.items() if len(row) != 1} == {}
    assert {row for found in rows.values() for row in found} == set(BLUEPRINTS)


def test_every_sensor_of_the_library_has_a_row() -> None:
    library = {found.id for found in blueprints.definitions() if found.id.startswith("sensor.")}
    assert set(SENSORS) == library


def test_accepted_only_is_what_a_simple_simulator_has_nothing_to_say_about() -> None:
    themes = ("carsim", "chrono", "physx", "texture", "gbuffer")
    accepted = {name for name, state in COVERAGE.items() if state is Coverage.ACCEPTED}
    assert {name for name in accepted if not any(theme in name for theme in themes)} == {"send"}  # of V2X
    silent = {name for name, state in SENSORS.items() if state is Coverage.ACCEPTED}
    assert silent == {"sensor.other.v2x", "sensor.other.v2x_custom"}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_call_has_a_handler_exactly_where_its_row_says_so(name: str) -> None:
    asks_what_is_only_accepted = COVERAGE[name] is Coverage.ACCEPTED and CALLS[name].result is not None
    served = COVERAGE[name] in SERVED or asks_what_is_only_accepted
    assert (name in HANDLERS or name in CALLER_HANDLERS) == served


def test_the_game_thread_is_not_needed_for_what_the_server_has() -> None:
    assert set(HANDLERS) >= OFF_THE_GAME_THREAD

"""Plain Python and machine code must agree to the last bit: a server may change over at any tick."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from carlad.standin.motion import columns as c
from carlad.standin.motion import kernels, physics
from carlad.standin.records import VEHICLE_COLUMNS, vehicle_segment
from carlad.wire import types as t

COUNT = 12


@pytest.fixture(scope="module")
def fast() -> kernels.Kernels:
    kernels.load()
    return kernels.kernels()


def test_both_move_vehicles_alike(fast: kernels.Kernels) -> None:
    chance = np.random.default_rng(5)
    chassis = physics.Chassis(2.87, 1.06, 0.75)
    car = np.tile(physics.car_row(physics.default_control(14, 1696.0, chassis), chassis), (COUNT, 1))
    one = np.zeros((COUNT, c.STATE))
    one[:, [c.SIMULATED, c.HEADING_X]], one[:, c.GRAVITY] = 1.0, 9.81
    one[:, c.YAW] = chance.uniform(-180.0, 180.0, COUNT)
    one[:, [c.SLOPE_X, c.SLOPE_Y]] = chance.uniform(-0.1, 0.1, (COUNT, 2))
    one[:, c.FORWARD] = chance.uniform(-5.0, 30.0, COUNT)
    other = one.copy()
    for _ in range(60):
        controls = chance.uniform(0.0, 1.0, (COUNT, 2)), chance.uniform(-1.0, 1.0, COUNT)
        switches = chance.uniform(size=(COUNT, 2)) < 0.02
        for state in (one, other):
            state[:, [c.THROTTLE, c.BRAKE]], state[:, c.STEER] = controls[0] * [1.0, 0.1], controls[1]
            state[:, [c.HAND_BRAKE, c.REVERSE]] = switches
        kernels.PLAIN.advance(one, car, COUNT, 0.05, 5)
        fast.advance(other, car, COUNT, 0.05, 5)
        assert one.tobytes() == other.tobytes()
    assert np.abs(one[:, c.FORWARD]).max() > 5.0


def test_both_find_the_same_contacts_and_lights(fast: kernels.Kernels) -> None:
    chance = np.random.default_rng(6)
    state, bodies = np.zeros((COUNT, c.STATE)), np.tile((0.0, 0.0, 0.7, 2.4, 1.0, 0.7, 1.0), (COUNT, 1))
    state[:, [c.X, c.Y]] = chance.uniform(0.0, 12.0, (COUNT, 2))
    state[:, c.YAW], state[:, c.HEADING_X] = chance.uniform(-180.0, 180.0, COUNT), 1.0
    stop = np.array([[1.0, 0.0, 6.0, 6.0, 4.0, 4.0, 3.0]])
    wall, frame = (
        np.array([[6.0, 6.0, 0.7, 1.0, 0.0, 3.0, 3.0, 2.0, 4.3]]),
        np.array([0.0, 0.0, 20.0, 1.0, 1.0]),
    )
    car, where = np.full((COUNT, c.CAR), 1500.0), (np.array([0, 1]), np.array([0]))
    state[:, c.SIMULATED], state[:, c.VX] = 1.0, 7.0
    found, published, felt, entered = [], [], [], []
    for functions in (kernels.PLAIN, fast):
        bumped, walker = (
            state.copy(),
            np.array([[5.0, 5.0, 0.9, 1.0, 0.0, 0.3, 0.3, 0.9, 0.5, 0.01, *[0.0] * 4]]),
        )
        bumps = functions.push_apart(bumped, car, bodies, COUNT, walker)
        found.append((bumps.tobytes(), bumped.tobytes(), walker.tobytes()))
        records = vehicle_segment()
        shown = np.arange(10, 14, dtype=np.uint32), np.full(4, t.TrafficLightState.RED, np.uint8)
        functions.publish(state.copy(), bodies, COUNT, stop, shown, records.columns(*VEHICLE_COLUMNS), 0.05)
        published.append(records.records[:COUNT])
        pushed = state.copy()
        meet = functions.meet_obstacles(pushed, car, bodies, COUNT, wall, frame, *where)
        felt.append((meet.tobytes(), pushed.tobytes()))
        moved = state.copy()
        entered.append(functions.cells_entered(moved, COUNT, np.array([4.0, 4.0, 3.0])).tolist())
        assert moved[:, c.CELL : c.CELLS_END].tolist() == np.floor(state[:, :3] / [4.0, 4.0, 3.0]).tolist()
    assert found[0] == found[1]
    assert found[0][1] != state.tobytes()
    assert felt[0] == felt[1]
    assert felt[0][0] != b""
    assert felt[0][1] != state.tobytes()
    assert entered[0] == entered[1]
    assert [row for row, *_ in entered[0]] == np.flatnonzero((state[:, :2] >= 4.0).any(axis=1)).tolist()
    assert published[0].tobytes() == published[1].tobytes()
    waiting = published[0]["has_traffic_light"]
    assert 0 < waiting.sum() < COUNT
    assert set(published[0]["traffic_light_id"][waiting]) == {13}
    assert set(published[0]["traffic_light_state"][waiting]) == {t.TrafficLightState.RED}
    assert set(published[0]["traffic_light_state"][~waiting]) == {t.TrafficLightState.GREEN}
    assert published[0]["kinematics"][:, : c.AX] == pytest.approx(state[:, : c.AX])
    assert published[0]["kinematics"][:, c.AX] == pytest.approx(7.0 / 0.05)


def test_code_that_is_older_than_the_columns_is_forgotten_wherever_numba_keeps_it(tmp_path: Path) -> None:
    older, newer = tmp_path / "model.advance-1.nbi", tmp_path / "contacts.cells_entered-1.nbi"
    columns_s = Path(c.__file__).stat().st_mtime
    for index, age_s in ((older, 1.0), (newer, -1.0)):
        index.touch()
        os.utime(index, (columns_s - age_s, columns_s - age_s))
    kept, uncached = (SimpleNamespace(stats=SimpleNamespace(cache_path=p)) for p in (str(tmp_path), None))
    kernels._forget_older_code(kernels.Kernels(kept, kept, uncached, uncached, kept))
    assert not older.exists()
    assert newer.exists()

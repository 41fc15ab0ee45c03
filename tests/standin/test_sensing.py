"""When a sensor measures."""

from __future__ import annotations

from ctypes import c_float

from carlad.standin.actors import Actor
from carlad.standin.sensing import _Sensor
from carlad.wire import types as t


def gnss(period_s: float) -> _Sensor:
    tick = t.ActorAttributeValue("sensor_tick", t.AttributeType.FLOAT, str(period_s))
    described = t.ActorDescription(0, "sensor.other.gnss", [tick])
    nowhere = t.Transform(t.Vector3D(), t.Rotation())
    return _Sensor(Actor(1, described, nowhere, t.BoundingBox(*([t.Vector3D()] * 2), t.Rotation())), None)


def test_a_sensors_period_begins_with_its_first_measurement_however_young_the_episode() -> None:
    sensor = gnss(1.0)
    due = [time for k in range(50) if sensor.is_due(time := 0.9 + 0.05 * k)]
    assert [round(time, 2) for time in due] == [0.9, 1.9, 2.9]


def test_a_sensor_keeps_to_every_fifth_tick_though_time_steps_are_float32() -> None:
    sensor, time_s, delta_s, due = gnss(0.1), 0.0, c_float(0.02).value, []
    for tick in range(20_000):
        time_s += delta_s
        if sensor.is_due(time_s):
            due.append(tick)
    assert due == list(range(0, 20_000, 5))

"""When a sensor measures."""

from __future__ import annotations

from carlad.standin.actors import Actor
from carlad.standin.sensing import _Sensor
from carlad.wire import types as t


def test_a_sensors_period_begins_with_its_first_measurement_however_young_the_episode() -> None:
    tick = t.ActorAttributeValue("sensor_tick", t.AttributeType.FLOAT, "1.0")
    described = t.ActorDescription(0, "sensor.other.gnss", [tick])
    nowhere = t.Transform(t.Vector3D(), t.Rotation())
    sensor = _Sensor(Actor(1, described, nowhere, t.BoundingBox(*([t.Vector3D()] * 2), t.Rotation())), None)
    due = [time for k in range(50) if sensor.is_due(time := 0.9 + 0.05 * k)]
    assert [round(time, 2) for time in due] == [0.9, 1.9, 2.9]

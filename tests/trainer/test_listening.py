from __future__ import annotations

import subprocess
import sys

import pytest

from tests.trainer.standins import standin

pytestmark = pytest.mark.usefixtures("clean")

ENDS_AT_ONCE = """
import sys, threading, carla
from trainer.env.listening import listen

client = carla.Client("127.0.0.1", int(sys.argv[1]), 1)
client.set_timeout(30)
world, come = client.get_world(), threading.Event()
sensor = world.spawn_actor(world.get_blueprint_library().find("sensor.other.imu"), carla.Transform())
stop = listen(sensor, lambda measurement: come.set())
assert come.wait(30)
stop()
"""


def test_a_process_may_end_as_soon_as_it_has_stopped_listening() -> None:
    with standin() as server:
        command = [sys.executable, "-c", ENDS_AT_ONCE, str(server.rpc_port)]
        for _ in range(3):
            result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (result.returncode, result.stderr) == (0, "")

"""Sessions under RLlib, in the learner's own process. Real env hosts on fake servers.

CI skips it: RLlib 2.60 wants gymnasium 1.2.2 and no other, and 760 MB. CONTRIBUTING.md has how to run it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from carlad.client import Client
from tests.gateway.daemons import fake_daemon

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore")]

_TRAIN = """
import sys
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env
from carlad.session.client import SessionEnv

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[2])
register_env("quiet", lambda config: SessionEnv(**config))
config = (
    PPOConfig()
    .environment("quiet", env_config={"env": "quiet", "config": {"length": 20}, "endpoint": sys.argv[1]})
    .env_runners(num_env_runners=0, rollout_fragment_length=100)
    .training(train_batch_size_per_learner=200, minibatch_size=100, num_epochs=1)
)
algorithm = config.build_algo()
for _ in range(2):
    result = algorithm.train()
    print("steps", int(result["env_runners"]["num_env_steps_sampled_lifetime"]), flush=True)
    sys.stdin.readline()
algorithm.stop()
ray.shutdown()
"""


def test_rllib_trains_through_a_lost_host() -> None:
    pytest.importorskip("ray.rllib.algorithms.ppo", reason="no RLlib: see CONTRIBUTING.md")
    with (
        fake_daemon(ttl_s=60.0) as daemon,
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        subprocess.Popen(
            [sys.executable, "-c", _TRAIN, daemon.endpoint, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        ) as training,
        Client(daemon.endpoint) as client,
    ):
        try:
            first = _steps(training)
            (session,) = client.status().sessions
            os.kill(session.pid or 0, signal.SIGKILL)
            _go_on(training)
            assert _steps(training) > first
            assert client.status().sessions[0].losses == 1
            _go_on(training)
            assert training.wait(60) == 0
        finally:
            training.kill()
        assert client.status().leases == ()


def _steps(training: Any) -> int:
    for line in training.stdout:
        if line.startswith("steps "):
            return int(line.split()[1])
    raise AssertionError("the training ended")


def _go_on(training: Any) -> None:
    training.stdin.write("\n")

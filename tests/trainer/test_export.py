from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from trainer.checkpoint import Checkpoint
from trainer.config import decode
from trainer.drivers import Greedy
from trainer.export import ExportError, export, spaces_of
from trainer.learner import Learner

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

STATE = gymnasium.spaces.Box(-5.0, 5.0, (6,), np.float32)
BEV = gymnasium.spaces.Box(0, 255, (3, 48, 48), np.uint8)
LIDAR = gymnasium.spaces.Box(-50.0, 50.0, (32, 4), np.float32)
TRUTH = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
STEERING = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def checkpoint(space: gymnasium.Space[Any], action: gymnasium.Space[Any], **policy: Any) -> Checkpoint:
    learner = Learner(decode({"policy": {"hidden": [16], "features": 16, **policy}}), space, action)
    torch.nn.init.normal_(learner.policy.actor.weight)
    if "state" in learner.policy.norms or "observation" in learner.policy.norms:
        learner.policy.learn_scale({key: torch.rand(50, *box.shape) for key, box in learner.boxes.items()})
    return learner.checkpoint()


@pytest.mark.parametrize(
    "distribution",
    ["gaussian", *(pytest.param(kind, marks=pytest.mark.system) for kind in ("squashed", "beta"))],
)
def test_an_exported_policy_acts_as_the_policy_does(tmp_path: Path, distribution: str) -> None:
    saved = checkpoint(STATE, STEERING, distribution=distribution)
    assert export(saved, tmp_path / "policy.onnx") < 1e-4
    learner = Learner(saved.config, *spaces_of(saved))
    learner.restore(saved)
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
    assert [put.name for put in session.get_inputs()] == ["observation"]
    observation = STATE.sample()
    (action,) = session.run(None, {"observation": observation[None]})
    expected = np.clip(Greedy(learner.policy).begin(0)(observation), -1.0, 1.0)
    np.testing.assert_allclose(action[0], expected, atol=1e-4)


def test_the_parts_that_the_actor_sees_are_the_inputs_and_an_index_may_be_the_output(tmp_path: Path) -> None:
    space = gymnasium.spaces.Dict({"state": STATE, "bev": BEV, "lidar": LIDAR, "truth": TRUTH})
    actor = {"actor": ("state", "bev", "lidar"), "critic": ("state", "truth")}
    saved = checkpoint(space, gymnasium.spaces.Discrete(5, start=2), **actor)
    export(saved, tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
    assert {put.name for put in session.get_inputs()} == {"state", "bev", "lidar"}
    inputs = {"state": STATE.sample()[None], "bev": BEV.sample()[None], "lidar": LIDAR.sample()[None]}
    (action,) = session.run(["action"], inputs)
    assert action.dtype == np.int64
    assert 2 <= action[0] < 7


def test_where_it_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = set(tmp_path.iterdir())
    with pytest.raises(ExportError, match=f"cannot export to {tmp_path}/file/policy.onnx"):
        export(checkpoint(STATE, STEERING), tmp_path / "file" / "policy.onnx")
    assert set(tmp_path.iterdir()) == before

"""What CARLA_PORT, CARLA_HEADLESS and CARLA_ARGS make of a server."""

from __future__ import annotations

import pytest

from carlad.errors import ConfigError
from carlad.image.simulator import Simulator, simulator, truth


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Simulator(2000, "offscreen")),
        ({"CARLA_PORT": "3000"}, Simulator(3000)),
        ({"CARLA_HEADLESS": "true"}, Simulator(rendering="offscreen")),
        ({"CARLA_HEADLESS": "false"}, Simulator(rendering="window")),
        ({"CARLA_HEADLESS": "0", "CARLA_ARGS": "-RenderOffScreen"}, Simulator(rendering="offscreen")),
        ({"CARLA_ARGS": "-world-port=2100"}, Simulator(2100)),
        ({"CARLA_ARGS": "-carla-rpc-port=2100 -carla-streaming-port=2101"}, Simulator(2100)),
        ({"CARLA_ARGS": "-world-port=2000", "CARLA_PORT": "2000"}, Simulator(2000)),
        ({"CARLA_ARGS": "-carla-server"}, Simulator()),
        ({"CARLA_ARGS": "-nullrhi"}, Simulator(rendering="none")),
        ({"CARLA_ARGS": "-nullrhi", "CARLA_HEADLESS": "false"}, Simulator(rendering="none")),
        (
            {"CARLA_ARGS": "-quality-level=Epic -ResX=640 -ResY=480"},
            Simulator(quality="Epic", resolution="640x480"),
        ),
        ({"CARLA_ARGS": "/Game/Carla/Maps/Town03"}, Simulator(map="Town03")),
        (
            {"CARLA_ARGS": "-benchmark -fps=20 '-ini:[/Script] a=1'"},
            Simulator(extra_args=("-benchmark", "-fps=20", "-ini:[/Script] a=1")),
        ),
        ({"CARLA_ARGS": "--World-Port=2100 -NullRHI"}, Simulator(2100, "none")),
    ],
)
def test_variables_are_understood(environ: dict[str, str], expected: Simulator) -> None:
    assert simulator(environ) == expected


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CARLA_PORT": "x"}, "CARLA_PORT: 'x' is no port"),
        ({"CARLA_PORT": "70000"}, "CARLA_PORT: '70000' is no port"),
        ({"CARLA_HEADLESS": "maybe"}, "CARLA_HEADLESS: cannot understand 'maybe': write true or false"),
        ({"CARLA_ARGS": "-world-port=3000", "CARLA_PORT": "2000"}, "CARLA_PORT is 2000; set CARLA_PORT=3000"),
        ({"CARLA_ARGS": "-carla-streaming-port=5000"}, "streams are served on 2001"),
        ({"CARLA_ARGS": "-ResX=640"}, "a resolution is -ResX=WIDTH and -ResY=HEIGHT"),
        ({"CARLA_ARGS": "'-unclosed"}, "CARLA_ARGS: cannot be split"),
    ],
)
def test_what_cannot_work_is_refused_by_name(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        simulator(environ)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("1", True), ("Yes", True), ("", False), ("off", False)]
)
def test_truth_has_several_spellings(text: str, expected: bool) -> None:
    assert truth({"X": text}, "X", default=not expected) is expected

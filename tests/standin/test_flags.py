from __future__ import annotations

import pytest

from carlad.standin.faults import Fault
from carlad.standin.flags import Options, UsageError, parse


def test_no_flags_mean_carlas_ports() -> None:
    assert parse([]) == Options(rpc_port=2000, streaming_port=2001, host="127.0.0.1", map="Town01")


def test_streaming_port_follows_the_rpc_port_unless_given() -> None:
    assert parse(["-carla-rpc-port=3000"]).streaming_port == 3001
    assert parse(["-carla-rpc-port=3000", "-carla-streaming-port=0"]).streaming_port == 0


def test_carla_ue4_flags_are_accepted_and_told() -> None:
    flags = [
        "-RenderOffScreen",
        "-nullrhi",
        "-quality-level=Low",
        "-ResX=800",
        "-nosound",
        "-graphicsadapter=1",
    ]
    options = parse([*flags, "-Carla-RPC-Port=4000", "-carla-secondary-port=4002"])
    assert options.rpc_port == 4000
    assert options.ignored == (*flags, "-carla-secondary-port=4002")


def test_our_options_take_their_value_either_way() -> None:
    options = parse(["--map", "Town02", "--seed=7", "--fault", "crash-at-start", "--fault=crash-after=2.5"])
    assert (options.map, options.seed) == ("Town02", 7)
    assert options.faults == (Fault("crash-at-start"), Fault("crash-after", 2.5))


def test_a_fault_is_due_after_seconds_or_ticks() -> None:
    options = parse(["--fault-on-signal=hang-after=100ticks", "--fault=wrong-version=0.9.15"])
    assert options.faults_on_signal == (Fault("hang-after", 100, ticks=True),)
    assert options.faults == (Fault("wrong-version", text="0.9.15"),)


def test_a_map_may_be_named_as_carla_names_it() -> None:
    assert parse(["/Game/Carla/Maps/Town02"]).map == "/Game/Carla/Maps/Town02"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("-carla-rpc-port=x", "not a number"),
        ("-carla-rpc-port=0", "1 to 65535"),
        ("-carla-streaming-port=70000", "0 to 65535"),
        ("--seed=x", "not a number"),
        ("--map", "needs a value"),
        ("--colour=red", "the options are"),
        ("--fault=melt", "there are crash-at-start"),
        ("--fault=crash-after", "write crash-after=WHEN"),
        ("--fault=crash-after=-1", "0 or more"),
        ("--fault=crash-after=nan", "0 or more"),
        ("--fault=crash-after=soon", 'seconds, as "2.5", or ticks'),
        ("--fault=leak=much", "MB_PER_S is a number"),
        ("--fault=slow-load=3ticks", "SECONDS is a number"),
        ("--fault-on-signal=melt", "there are crash-at-start"),
        ("--fault=fork=2", "takes no argument"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(flag: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse([flag])

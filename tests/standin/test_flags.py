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


@pytest.mark.parametrize(
    "flag", ["-carla-port=4000", "--carla-rpc-port=4000", "-world-port=4000", "-carla-world-port=4000"]
)
def test_older_names_and_two_dashes_are_understood(flag: str) -> None:
    assert parse([flag]).rpc_port == 4000


def test_a_fixed_time_step_needs_both_of_unreal_s_flags() -> None:
    assert parse(["-benchmark", "-fps=20"]).fps == 20.0
    assert parse(["-fps=20"]).fps == 0.0
    assert parse(["-benchmark", "-fps=20"]).ignored == ()


def test_any_flag_written_for_unreal_is_ignored() -> None:
    theirs = [
        "--sed=1",
        "-ini:[/Script/Engine.RendererSettings]:r.GraphicsAdapter=2",
        "-windowed",
        "--opengl",
    ]
    assert parse(["CarlaUE4", *theirs]).ignored == tuple(theirs)
    assert parse(["CarlaUE4", *theirs]).seed == 0


def test_options_are_kept_as_given_with_paths_that_hold_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert parse(["--maps", "tmp/../maps", "--seed=3", "-windowed"]).given == ("--maps=/maps", "--seed=3")


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
    assert parse(["CarlaUE4", "Town02_Opt", "-windowed"]).map == "Town02_Opt"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("-carla-rpc-port=x", "not a number"),
        ("-carla-rpc-port=0", "1 to 65535"),
        ("-carla-streaming-port=70000", "0 to 65535"),
        ("-fps=x", "not a number"),
        ("--seed=x", "not a number"),
        ("--map", "needs a value"),
        ("--sed=1", "did you mean --seed"),
        ("-map", "did you mean --map"),
        ("--fault-files=x", "did you mean --fault-file"),
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

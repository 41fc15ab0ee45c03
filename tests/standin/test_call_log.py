"""What a server was asked, by whom and when."""

from __future__ import annotations

import json
from pathlib import Path

from carlad.wire.types import WeatherParameters
from tests.standin.process import standin_process
from tests.standin.raw import connected, raw_client


def test_calls_are_logged_with_their_sender_in_order(tmp_path: Path) -> None:
    with standin_process("--call-log", str(tmp_path)) as server:
        with raw_client(server.rpc_port) as client:
            peer = client.sock.getsockname()[1]
            client.call("set_weather_parameters", WeatherParameters(cloudiness=17.0))
            client.call("version")
        log = tmp_path / f"{server.rpc_port}-{server.process.pid}.jsonl"
        first, second = map(json.loads, log.read_text().splitlines())
    assert (first["peer"], first["call"], first["arguments"][1][0]) == (peer, "set_weather_parameters", 17.0)
    assert (second["peer"], second["call"]) == (peer, "version")
    assert first["at_s"] < second["at_s"]


def test_a_call_with_unfit_arguments_is_logged_and_answered(tmp_path: Path) -> None:
    with standin_process("--call-log", str(tmp_path)) as server:
        with connected(server.rpc_port) as sock:
            sock.sendall(b"\x94\x00\x01\xa7version\x91\xa1\xff")  # text that is none
            assert sock.recv(1 << 16)
        (line,) = (tmp_path / f"{server.rpc_port}-{server.process.pid}.jsonl").read_text().splitlines()
    assert json.loads(line)["call"] == "version"

"""Where clients look for daemons."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from carlad import endpoints
from carlad.errors import ConfigError

KEY = "0123456789abcdef" * 4


def test_a_plain_path_is_an_endpoint(tmp_path: Path) -> None:
    assert endpoints.endpoint_from("/a/b.sock") == "ipc:///a/b.sock"
    assert endpoints.endpoint_from("b.sock") == f"ipc://{os.getcwd()}/b.sock"


def test_a_client_takes_the_argument_then_the_environment_then_the_default() -> None:
    environ = {"CARLAD_ENDPOINT": "/from/environment.sock", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert endpoints.client_endpoint("/given.sock", environ) == "ipc:///given.sock"
    assert endpoints.client_endpoint(None, environ) == "ipc:///from/environment.sock"
    del environ["CARLAD_ENDPOINT"]
    assert endpoints.client_endpoint(None, environ) in (
        "ipc:///run/user/7/carlad/control.sock",
        "ipc:///run/carlad/control.sock",  # where this machine has a system service
    )


@pytest.mark.parametrize(
    ("daemon", "there"),
    [
        (f"tcp://{KEY}@gpu1.lab:7000", f"tcp://{KEY}@gpu1.lab:7101"),
        (f"tcp://{KEY}@[fe80::1]:7000", f"tcp://{KEY}@[fe80::1]:7101"),
        ("ipc:///run/carlad/control.sock", f"tcp://{KEY}@{socket.gethostname()}:7101"),
    ],
)
def test_what_a_daemon_names_of_its_machine_is_found_where_the_daemon_was(daemon: str, there: str) -> None:
    assert endpoints.reached(endpoints.at_this_host(7101, KEY), daemon) == there
    assert endpoints.reached("ipc:///a.view", daemon) == "ipc:///a.view"


def test_several_endpoints_are_separated_by_commas() -> None:
    given = f"/a.sock, tcp://{KEY}@gpu1:7000,,ipc:///b.sock"
    assert endpoints.client_endpoints(given, {}) == (
        "ipc:///a.sock",
        f"tcp://{KEY}@gpu1:7000",
        "ipc:///b.sock",
    )
    with pytest.raises(ConfigError, match="one daemon is meant here, not 3"):
        endpoints.client_endpoint(given, {})


@pytest.mark.parametrize("host", ["gpu1", "10.0.0.7", "[fe80::1]", "gpu-1.lab.example"])
def test_an_endpoint_on_another_machine_names_host_port_and_key(host: str) -> None:
    assert endpoints.remote(f"tcp://{KEY}@{host}:7000") == (host, 7000, KEY)
    assert endpoints.remote(f"tcp://{KEY}@{host}:7000").address == f"tcp://{host}:7000"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        (",", "there is none"),
        ("tcp://gpu1:7000", "TCP is spoken with keys only"),
        ("tcp://abc@gpu1:7000", "64 hexadecimal digits"),
        (f"tcp://{KEY}@gpu1", "is not tcp://KEY@HOST:PORT"),
        (f"tcp://{KEY}@gpu1:0", "is not tcp://KEY@HOST:PORT"),
        (f"tcp://{KEY}@gpu1:65535", "is not tcp://KEY@HOST:PORT"),
        (f"tcp://{KEY}@gpu1:7000/x", "is not tcp://KEY@HOST:PORT"),
        ("http://gpu1", "is not ipc://PATH"),
        ("ipc:///" + "x" * 99, "a socket's path may have 99"),
    ],
)
def test_what_is_no_endpoint_is_refused_with_the_reason(endpoint: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^endpoint: ") as refused:
        endpoints.client_endpoints(endpoint, {})
    assert says in str(refused.value)

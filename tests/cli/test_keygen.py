"""Keys, as docs/carlactl.md has them made, brought to the daemon and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from carlad import cli, keys
from tests.daemon_process import DaemonProcess, daemon_process
from tests.ports import free_port

DOC = (Path(__file__).resolve().parents[2] / "docs" / "carlactl.md").read_text()


def run(command: str, folder: Path, **environ: str) -> str:
    """A command of the doc's, at home in `folder`."""
    words = [sys.executable, "-m", "carlad.cli", *command.split()[1:]]
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": "", **environ}
    return subprocess.check_output(words, cwd=folder, env={**os.environ, **home}, text=True, timeout=30)


def test_a_client_on_another_machine_is_let_in_as_the_doc_says(tmp_path: Path) -> None:
    of_server, of_client, reload = re.findall(r"^```console\n(.*?)\n```", DOC, re.DOTALL | re.MULTILINE)
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    port = free_port()
    remote = f'keys_dir = "{there}/keys"\nlisten = ["tcp://127.0.0.1:{port}"]'
    (there / "carlad.toml").write_text(f"[remote]\n{remote}\n")
    said = run(of_server, there)
    key = keys.as_hex(keys.read_public(there / "keys" / "server.key"))
    assert re.search(rf"export CARLAD_ENDPOINT=tcp://{key}@\S+:7000", said)
    run(of_client, here)
    with daemon_process(remote=remote, fleet="size = 1") as daemon:
        client = here / ".config" / "carlad" / "client.key"
        shutil.copy(client, there / "keys" / "clients" / "ann@here.key")
        run(reload, there, CARLAD_ENDPOINT=daemon.endpoint)
        endpoint = f"tcp://{key}@127.0.0.1:{port}"
        granted = json.loads(run("carlactl lease --wait 30 --json", here, CARLAD_ENDPOINT=endpoint))
        assert granted["endpoint"] == endpoint
        assert _holder(daemon).startswith("ann@")
        run(f"carlactl release {granted['lease_id']}", here, CARLAD_ENDPOINT=endpoint)


def _holder(daemon: DaemonProcess) -> str:
    status = run("carlactl status --json", Path("/"), CARLAD_ENDPOINT=daemon.endpoint)
    return str(json.loads(status)["leases"][0]["holder"])


def test_a_key_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("CARLAD_KEY", raising=False)
    assert cli.carlactl(["keygen", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made) == {"secret_file", "public_file", "public_key"}
    assert made["secret_file"] == str(tmp_path / "carlad" / "client.key_secret")
    assert cli.carlactl(["keygen"]) == 2
    assert "there is one already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("tcp://gpu1:7000", "must name the daemon's public one"),
        (f"tcp://{'a' * 64}@127.0.0.1:9", "Connection refused"),
    ],
)
def test_what_is_missing_for_another_machine_is_told(
    endpoint: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.carlactl(["--endpoint", endpoint, "status"])
    assert code == (3 if "@" in endpoint else 2)
    assert says in capsys.readouterr().err

"""`carlactl keygen`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from carlad.cli.command import add_command, add_json

if TYPE_CHECKING:
    from carlad.cli.command import Commands


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "keygen",
        keygen,
        "Make the keys for daemons and clients on different machines. A client's goes to "
        "~/.config/carlad/client.key_secret, a daemon's to the folder that remote.keys_dir names.",
        """\
  carlactl keygen                          for you, to be admitted by daemons
  sudo carlactl keygen --server            for the daemon of this machine
  carlactl keygen --server --config carlad.toml
""",
        "Exit codes: 0 done, 2 there is a key already, or it cannot be written.\n",
        asks_daemon=False,
    )
    parser.add_argument("--server", action="store_true", help="for the daemon of this machine")
    config = parser.add_argument("--config", type=Path, metavar="FILE", help="the daemon's (default: none)")
    config.complete = "file"  # type: ignore[attr-defined]
    add_json(parser)


def keygen(arguments: argparse.Namespace) -> None:
    made = _for_server(arguments.config) if arguments.server else _for_client()
    next_step = made.pop("next")
    print(json.dumps({name: str(value) for name, value in made.items()}) if arguments.json else next_step)


def _for_client() -> dict[str, object]:
    from carlad.client import this_process
    from carlad.keys import as_hex, client_key, write_pair

    secret = client_key()
    pair = write_pair(secret.parent, secret.stem)
    public = secret.with_suffix(".key")
    user = this_process().user
    return {
        "secret_file": secret,
        "public_file": public,
        "public_key": as_hex(pair.public),
        "next": f"""\
{secret} is your key: keep it secret.
{public} is its public half: give it to the operator of the daemon, who puts it into the daemon's keys as
clients/{user}.key and runs `carlactl reload`.""",
    }


def _for_server(config_file: Path | None) -> dict[str, object]:
    import socket

    from carlad import config
    from carlad.keys import as_hex, write_pair

    folder = Path(config.load(config_file).remote.keys_dir)
    pair = write_pair(folder, "server")
    clients = folder / "clients"
    clients.mkdir(exist_ok=True)
    endpoint = f"tcp://{as_hex(pair.public)}@{socket.gethostname()}:7000"
    return {
        "secret_file": folder / "server.key_secret",
        "public_file": folder / "server.key",
        "public_key": as_hex(pair.public),
        "clients_folder": clients,
        "endpoint": endpoint,
        "next": f"""\
{folder}/server.key_secret is the daemon's key. Let the daemon listen with

    [remote]
    listen = ["tcp://0.0.0.0:7000"]

put the public key of each client into {clients} as USER.key, and tell clients:

    export CARLAD_ENDPOINT={endpoint}""",
    }

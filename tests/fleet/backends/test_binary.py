from __future__ import annotations

import getpass
import os
import pwd
import signal
from pathlib import Path

import pytest
import trio

from carlad.config import FleetSection, LogsSection
from carlad.errors import ConfigError
from carlad.fleet.backends.account import Account, account
from carlad.fleet.backends.binary import binary, binary_advice, binary_launcher
from carlad.fleet.backends.interface import Launch
from carlad.fleet.ports import Ports
from carlad.fleet.server import running
from tests.fleet.processes import FAKE_SERVER, REPOSITORY, is_running, parent_of

PORTS = Ports(2000)
ME = Account("me", "/home/me")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
as_nobody = {"user": "nobody"} if os.geteuid() == 0 else {}


@pytest.fixture
def carla_root(tmp_path):
    """A folder as CARLA's release has it; everybody may enter it."""
    script, server = tmp_path / "CarlaUE4.sh", tmp_path / "CarlaUE4/Binaries/Linux/CarlaUE4-Linux-Shipping"
    server.parent.mkdir(parents=True)
    for file in (script, server):
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == getpass.getuser() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home that can be written by whoever the servers run as."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    nobody = pwd.getpwnam("nobody")
    found = pwd.struct_passwd((*nobody[:5], str(home), nobody.pw_shell))
    monkeypatch.setattr("pwd.getpwnam", lambda name: {"nobody": found}[name])
    return home


def test_the_script_gets_carlas_flags_and_the_operators_own_last(carla_root):
    config = FleetSection(carla_root=str(carla_root), quality="Epic", resolution="84x64", extra_args=("-x",))
    started = binary(config, PORTS, ME, {"PATH": "/bin"})
    assert started.argv == (
        str(carla_root / "CarlaUE4.sh"), "-RenderOffScreen", "-nosound", "-quality-level=Epic",
        "-ResX=84", "-ResY=64", "-carla-rpc-port=2000", "-carla-streaming-port=2001", "-x",
    )  # fmt: skip
    assert started.cwd == str(carla_root)
    assert started.environ == {"PATH": "/bin", "HOME": "/home/me"}


def test_a_fleet_that_needs_no_cameras_renders_nothing(carla_root):
    argv = binary(FleetSection(carla_root=str(carla_root), rendering="none"), PORTS, ME, {}).argv
    assert argv[1] == "-nullrhi"
    assert "-RenderOffScreen" not in argv


def test_a_home_folder_is_understood_in_carla_root(carla_root, monkeypatch):
    monkeypatch.setenv("HOME", str(carla_root.parent))
    config = FleetSection(carla_root=f"~/{carla_root.name}")
    assert binary(config, PORTS, ME, {}).argv[0] == str(carla_root / "CarlaUE4.sh")


@pytest.mark.parametrize(
    ("root", "says"),
    [
        ("", r'fleet\.carla_root: backend "binary" needs the folder'),
        ("nowhere", "there is no folder .*nowhere"),
        ("CarlaUE4", r"there is no CarlaUE4\.sh in .*"),
    ],
)
def test_a_root_without_carla_is_refused(carla_root, root, says):
    with pytest.raises(ConfigError, match=says):
        binary_launcher(FleetSection(carla_root=root and str(carla_root / root)), {})


@pytest.mark.parametrize("file", ["CarlaUE4.sh", "CarlaUE4/Binaries/Linux/CarlaUE4-Linux-Shipping"])
def test_what_is_not_executable_is_refused(carla_root, home, file):
    (carla_root / file).chmod(0o644)
    config = FleetSection(carla_root=str(carla_root), **as_nobody)
    with pytest.raises(ConfigError, match=rf"{file} is not executable; run: chmod \+x /"):
        binary_launcher(config, {"HOME": str(home)})


@as_root
@pytest.mark.parametrize("user", ["", "root"])
def test_root_is_refused_and_told_to_name_another_user(carla_root, user):
    config = FleetSection(carla_root=str(carla_root), user=user)
    with pytest.raises(ConfigError, match=r"refuses to run as root; set fleet\.user to another user"):
        binary_launcher(config, {})


@as_root
def test_another_user_gets_a_home_and_nothing_of_the_daemons_session(carla_root, home):
    config = FleetSection(carla_root=str(carla_root), **as_nobody)
    environ = {"HOME": "/root", "USER": "root", "XDG_RUNTIME_DIR": "/run/user/0", "PATH": "/bin"}
    started = binary_launcher(config, environ)(PORTS)
    assert started.argv[0].endswith("/setpriv")
    assert str(carla_root / "CarlaUE4.sh") in started.argv
    assert started.environ == {"PATH": "/bin", "HOME": str(home), "USER": "nobody", "LOGNAME": "nobody"}


@as_root
def test_a_user_who_does_not_exist_is_refused(carla_root):
    config = FleetSection(carla_root=str(carla_root), user="no-such-user")
    with pytest.raises(ConfigError, match=r"there is no user no-such-user; create it with: useradd -m"):
        binary_launcher(config, {})


@as_root
def test_a_user_who_may_not_enter_the_folder_is_refused(carla_root, home):
    carla_root.joinpath("CarlaUE4/Binaries").chmod(0o700)
    config = FleetSection(carla_root=str(carla_root), **as_nobody)
    with pytest.raises(ConfigError, match=r"nobody may not execute .*Shipping; give it access"):
        binary_launcher(config, {})


def test_a_home_that_cannot_be_written_is_refused(carla_root, home):
    home.rmdir()
    config = FleetSection(carla_root=str(carla_root), **as_nobody)
    with pytest.raises(ConfigError, match=f"it writes below its home, and {home} is not writable"):
        binary_launcher(config, {"HOME": str(home)})


@as_root
def test_a_saved_folder_that_cannot_be_written_is_warned_of(carla_root, home):
    config = FleetSection(carla_root=str(carla_root), **as_nobody)
    [sentence] = binary_advice(config, {})
    assert sentence.startswith(f"fleet.carla_root: nobody cannot write {carla_root}/CarlaUE4/Saved")


# --- with processes: CARLA's script, a server below it that stays in the foreground


@pytest.fixture
def forking_root(carla_root):
    """CarlaUE4.sh as it is, around a fake server."""
    (carla_root / "CarlaUE4.sh").write_text(
        '#!/bin/sh\n"$(dirname "$0")/CarlaUE4/Binaries/Linux/CarlaUE4-Linux-Shipping" CarlaUE4 "$@"\n'
    )
    (carla_root / "CarlaUE4/Binaries/Linux/CarlaUE4-Linux-Shipping").write_text(
        f'#!/bin/sh\nshift\ncd {REPOSITORY}\nexec {" ".join(FAKE_SERVER)} "$@"\n'
    )
    return carla_root


def test_a_server_below_the_script_is_found_and_ended(run_fleet, forking_root):
    async def scenario(world):
        ready = await world.ready()
        script = parent_of(ready.pid)
        assert "CarlaUE4.sh" in command_line(script)
        await world.fleet.lease(0, "L1")
        await world.fleet.end(0, "L1", "released")
        await world.ready(incarnation=2)
        assert not is_running(ready.pid)
        assert not is_running(script)

    config = FleetSection(carla_root=str(forking_root))
    run_fleet(scenario, launch=lambda ports: binary(config, ports, ME, run_fleet.environ))


@as_root
def test_another_users_server_dies_with_its_shim(tmp_path, environ, home):
    """The change of user clears the death signal; it has to be set again."""
    runs_as = account("nobody", environ)
    launch = Launch((*runs_as.prefix, "/bin/sleep", "1000"), environ, "/")

    async def scenario():
        with trio.fail_after(20):
            async with running(
                launch, tmp_path / "run", tmp_path / "log", trio.Event(), LogsSection()
            ) as server:
                while not command_line(server.pid).startswith("/bin/sleep"):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert os.stat(f"/proc/{server.pid}").st_uid == pwd.getpwnam("nobody").pw_uid
                os.kill(parent_of(server.pid), signal.SIGKILL)
                while is_running(server.pid):  # noqa: ASYNC110
                    await trio.sleep(0.01)

    trio.run(scenario)


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")

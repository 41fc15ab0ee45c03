"""What is installed where, and what may be taken away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from carlad.deployment import PLACES, Act, installation, is_untouched, removal, rendered, unreachable

SERVICE = "carlad.service"
ROOT = Path("/target")
PLACE = ROOT / PLACES[SERVICE]
TEMPLATE = (
    "[Service]\nExecStart=/opt/carlad/bin/carlad\n"
    "Delegate=yes\nDelegateSubgroup=daemon\nRestartMode=direct\nUser=carlad\n"
)


def unit(systemd: int = 255, scripts: str = "/srv/carlad/bin") -> str:
    return rendered(TEMPLATE, Path(scripts), systemd)


def acts(text: str, found: dict[Path, str], name: str = SERVICE) -> list[Act]:
    return [step.act for step in installation({name: text}, found, ROOT)]


def test_a_unit_names_the_programs_of_this_installation() -> None:
    assert "ExecStart=/srv/carlad/bin/carlad\n" in unit()
    assert "/opt/carlad" not in unit()


@pytest.mark.parametrize(("systemd", "is_newer"), [(252, False), (253, False), (254, True), (257, True)])
def test_an_older_systemd_delegates_nothing_as_it_could_not_start_the_daemon_again(
    systemd: int, is_newer: bool
) -> None:
    assert ("Delegate" in unit(systemd)) is is_newer
    assert ("RestartMode" in unit(systemd)) is is_newer
    assert unit(systemd).endswith("User=carlad\n")


def test_what_was_written_is_known_until_somebody_edits_it() -> None:
    assert is_untouched(unit())
    assert not is_untouched(unit() + "Nice=5\n")
    assert not is_untouched(unit().partition("\n")[2])
    assert not is_untouched("")


def test_what_is_missing_is_written_and_what_is_the_same_is_kept() -> None:
    assert acts(unit(), {}) == [Act.WRITE]
    assert acts(unit(), {PLACE: unit()}) == [Act.KEEP]


def test_a_unit_of_another_version_is_replaced_but_not_an_edited_one() -> None:
    assert acts(unit(), {PLACE: unit(252)}) == [Act.REPLACE]
    assert acts(unit(), {PLACE: unit() + "Nice=5\n"}) == [Act.REFUSE]


def test_an_edited_configuration_is_kept() -> None:
    mine = {ROOT / PLACES["carlad.toml"]: "[fleet]\nsize = 8\n"}
    assert acts("[fleet]\nsize = 2\n", mine, "carlad.toml") == [Act.KEEP]


def test_only_what_was_not_edited_is_removed() -> None:
    edited = ROOT / PLACES["carlad.toml"]
    steps = {step.path: step.act for step in removal({PLACE: unit(), edited: unit() + "# mine\n"})}
    assert steps == {PLACE: Act.REMOVE, edited: Act.KEEP}


@pytest.mark.parametrize(
    ("python", "modes", "why"),
    [
        ("/opt/carlad/bin/python", {"/opt": 0o755, "/opt/carlad": 0o755}, None),
        ("/home/ann/venv/bin/python", {"/home": 0o755, "/home/ann": 0o700}, "/home/ann is closed"),
        ("/tmp/venv/bin/python", {"/tmp": 0o1777}, "do not see /tmp"),
    ],
)
def test_an_interpreter_that_services_cannot_run_is_told(
    python: str, modes: dict[str, int], why: str | None
) -> None:
    said = unreachable(Path(python), {Path(folder): mode for folder, mode in modes.items()})
    assert said is None if why is None else why in str(said)

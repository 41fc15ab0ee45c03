"""Configurations: of the daemon, of a training, and files of routes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from carlad import config, toml
from carlad.errors import ConfigError
from tests.fuzz.damage import damaged_text, damaged_values
from tests.fuzz.effort import tried
from tests.pages import ROOT
from trainer import config as training
from trainer.env import route_files

DAEMON = (ROOT / "carlad.toml").read_text()
TRAINING = (ROOT / "trainer" / "configs" / "training.toml").read_text()
WORDS = (
    "[",
    "]",
    "=",
    '"',
    "\n",
    "[fleet]",
    "[[",
    "]]",
    "-1",
    "1e400",
    "inf",
    "nan",
    "{",
    "}",
    "true",
    "0",
    ".",
    "''",
    "#",
)
ROUTES = """\
[[route]]
id = "around the block"
map = "Town01"
points = [[83.5, -1.75], [150.0, -1.75]]
weather = "ClearNoon"
"""
ODD = st.one_of(
    st.floats(),
    st.integers(),
    st.booleans(),
    st.sampled_from(["", "\0", "a\nb", "nan", "0", "-1", "/", "~", "Town01", "tcp://*:1", "1-", "gpu"]),
    st.text(max_size=4),
    st.lists(st.one_of(st.text(max_size=3), st.integers(), st.floats()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
XML_WORDS = ("<", ">", "/", "&", "route", 'x="nan"', '"')
XML = """\
<routes><route id="1" town="Town01"><waypoints><position x="1.0" y="2.0" z="0.0"/>
<position x="50.0" y="2.0" z="0.0"/></waypoints></route></routes>
"""


@st.composite
def settings_of(draw: st.DrawFn, struct: type[msgspec.Struct]) -> str:
    """A few keys that there are, with odd values, each once."""
    keys = [
        (section.name, field.name)
        for section in msgspec.structs.fields(struct)
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)
        for field in msgspec.structs.fields(section.type)
    ]
    chosen = draw(st.dictionaries(st.sampled_from(keys), ODD, min_size=1, max_size=4))
    sections: dict[str, dict[str, object]] = {}
    for (section, key), value in chosen.items():
        sections.setdefault(section, {})[key] = value
    return toml.dumps(sections)


@tried(150)
@given(st.one_of(settings_of(config.Config), damaged_text(DAEMON, WORDS), st.text(max_size=80)))
def test_configurations_of_the_daemon_are_used_or_refused_in_words(text: str) -> None:
    found = config.problems(text)
    assert all(isinstance(problem, str) and problem for problem in found)
    with suppress(ConfigError):
        config.resolve(config.decode(text), {})
        assert found == []


@tried(150)
@given(st.one_of(settings_of(training.Config), damaged_text(TRAINING, WORDS), st.text(max_size=80)))
def test_configurations_of_trainings_are_used_or_refused_in_words(text: str) -> None:
    with suppress(ConfigError):
        training.decode(toml.parse(text))


@tried(150)
@given(st.one_of(damaged_text(ROUTES, WORDS), st.text(max_size=80)))
def test_files_of_routes_are_used_or_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with suppress(ConfigError):
        route_files.read(file)


@tried(150)
@given(st.one_of(damaged_values(XML, WORDS), damaged_text(XML, XML_WORDS), st.text(max_size=80)))
def test_the_leaderboards_files_are_used_or_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "routes.xml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with suppress(ConfigError):
        route_files.read(file)

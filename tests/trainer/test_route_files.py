from __future__ import annotations

from pathlib import Path

import pytest

from carlad.errors import ConfigError
from trainer.env.route_files import RouteSpec, read, spec

OURS = """
[[route]]
id = "left at the church"
map = "Town01"
points = [[92.0, 40], [88.5, 110.5, 1.0]]
weather = "ClearNoon"

[[route]]
points = [[0, 0], [1, 1], [2, 2]]
"""
LEADERBOARD_2 = """<routes>
  <route id="7" town="Town12">
    <weathers>
      <weather route_percentage="0" cloudiness="5.0" sun_altitude_angle="15"/>
      <weather route_percentage="100" cloudiness="80.0"/>
    </weathers>
    <waypoints>
      <position x="1.5" y="-2" z="370"/>
      <position x="10" y="-2" z="370"/>
    </waypoints>
    <scenarios><scenario name="A" type="B"><trigger_point x="0" y="0" z="0" yaw="1"/></scenario></scenarios>
  </route>
</routes>"""
LEADERBOARD_1 = """<?xml version='1.0' encoding='utf-8'?>
<routes>
  <route id="a" town="Town01">
    <waypoint pitch="0" roll="0" x="338.7" y="226.7" yaw="269.9" z="0"/>
    <waypoint pitch="0" roll="0" x="321.9" y="194.6" yaw="179.9" z="0"/>
  </route>
</routes>"""


def written(folder: Path, text: str, name: str = "routes.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_our_own_format(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, OURS))
    points = ((92.0, 40.0), (88.5, 110.5, 1.0))
    assert first == RouteSpec(id="left at the church", map="Town01", points=points, weather="ClearNoon")
    assert (second.id, second.map, len(second.points)) == ("2", "", 3)


def test_leaderboard_files_of_both_versions(tmp_path: Path) -> None:
    (new,) = read(written(tmp_path, LEADERBOARD_2, "new.xml"))
    assert (new.id, new.map, new.points) == ("7", "Town12", ((1.5, -2.0, 370.0), (10.0, -2.0, 370.0)))
    assert new.weather == {"cloudiness": 5.0, "sun_altitude_angle": 15.0}
    (old,) = read(written(tmp_path, LEADERBOARD_1, "old.xml"))
    assert (old.id, old.map, old.points[0]) == ("a", "Town01", (338.7, 226.7, 0.0))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = = 1", "not TOML: .*line 1"),
        ("", "there is no route in it"),
        ("[route]\nid = 'a'", "there is no route in it"),
        ("routes = 1", "routes: no such key"),
        ("[[route]]\npoints = [[1, 2]]", r"route 1: Expected `array` of length >= 2"),
        ("[[route]]\nid = 'x'\npoints = [[1, 2], [3]]", r"route 1 \('x'\): point \[3.0\] is no place"),
        ("[[route]]\npoints = [[1, 2], [nan, 3]]", r"route 1: point \[nan, 3.0\] is no place"),
        ("[[route]]\npoints = [[1, 2], [1, 'a']]", r"route 1: Expected `float`, got `str`"),
        ("[[route]]\nid = 'x'\npoint = 1", r"route 1 \('x'\): .*unknown field `point`"),
        (OURS + "[[route]]\nid = '2'\npoints = [[0, 0], [1, 1]]", r"route 3 \('2'\): route 2 has that id"),
    ],
)
def test_mistakes_in_ours_name_the_route(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot use routes file .*: {reason}"):
        read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<routes>\n<route>", "line 2: not XML"),
        ("<a/>", "line 1: the file begins with <a>, not <routes>"),
        ("<routes/>", "there is no <route> in it"),
        ("<routes>\n<route id='3'>\n</route></routes>", r"line 2: route '3': .*length >= 2"),
        ("<routes>\n<route id='3'>\n<waypoint y='1'/></route></routes>", "line 3: .*<waypoint> has no x"),
        ("<routes>\n<route id='3'>\n<waypoint x='a'/></route></routes>", "line 3: .*x='a' is no number"),
    ],
)
def test_mistakes_in_xml_name_the_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read(written(tmp_path, text, "routes.xml"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read routes from .*nowhere\.toml"):
        read(tmp_path / "nowhere.toml")


def test_a_route_in_options_is_checked() -> None:
    assert spec({"points": [[0, 0], [1, 1]]}).points == ((0.0, 0.0), (1.0, 1.0))
    with pytest.raises(ValueError, match="unknown field `point`"):
        spec({"point": 1, "points": [[0, 0], [1, 1]]})

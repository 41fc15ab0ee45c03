"""Routes in files: our own TOML, and CARLA Leaderboard's XML (1.0 and 2.x).

Ours, where `map`, `weather` and `id` may be left out:

    [[route]] id = "left at the church" map = "Town01" points = [[92.1, 40.0], [88.4, 110.5]]     # metres,
    CARLA's x and y; the planner finds the way between them weather = "ClearNoon"
"""

from __future__ import annotations

import xml.sax
from pathlib import Path
from typing import Annotated, Any
from xml.sax.handler import ContentHandler

import msgspec

from carlad import toml
from carlad.errors import ConfigError

_POINT_MAX_M = 100_000.0  # a coordinate beyond it is a mistake in writing


class RouteSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A route to be planned: places through which it leads in this order, in CARLA's x and y, metres.

    Where roads pass over each other a third coordinate, z, says which one is meant.
    """

    points: Annotated[tuple[tuple[float, ...], ...], msgspec.Meta(min_length=2)]
    id: str = ""
    map: str = ""  # empty: whichever is loaded
    weather: str | dict[str, float] = ""  # a preset's name, or parameters of carla.WeatherParameters

    def __post_init__(self) -> None:
        for point in self.points:
            places = len(point) in (2, 3) and all(abs(value) < _POINT_MAX_M for value in point)
            if not places:  # NaN is not below it either
                raise ValueError(f"point {list(point)} is no place on a map: write [x, y] or [x, y, z]")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    route: Annotated[list[RouteSpec], msgspec.Meta(min_length=1)]


def read(path: Path | str) -> list[RouteSpec]:
    """The routes of a file, each with an id. Raises ConfigError naming the line or the route."""
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read routes from {path}: {error}") from error
    try:
        routes = _leaderboard(text) if path.suffix.lower() == ".xml" else _ours(text)
        return _named(routes)
    except ConfigError as error:
        raise ConfigError(f"cannot use routes file {path}: {error}") from error


def spec(table: Any) -> RouteSpec:
    """The route in a mapping, such as `reset`'s options have it. Raises ValueError naming the key."""
    try:
        return msgspec.convert(table, RouteSpec)
    except msgspec.ValidationError as error:
        raise ValueError(f"cannot use the route {table!r:.200}: {error}") from error


def _ours(text: str) -> list[RouteSpec]:
    table = toml.parse(text)
    if unknown := sorted(table.keys() - {"route"}):
        raise ConfigError(f"{', '.join(unknown)}: no such key; write each route under [[route]]")
    routes = table.get("route")
    if not isinstance(routes, list) or not routes:
        raise ConfigError("there is no route in it; write each one under [[route]]")
    found = []
    for number, each in enumerate(routes, 1):
        name = f"route {number}"
        if isinstance(each, dict) and each.get("id"):
            name += f" ({each['id']!r})"
        try:
            found.append(msgspec.convert(each, RouteSpec))
        except msgspec.ValidationError as error:
            raise ConfigError(f"{name}: {error}") from error
    return found


def _named(routes: list[RouteSpec]) -> list[RouteSpec]:
    named = [
        msgspec.structs.replace(route, id=route.id or str(number)) for number, route in enumerate(routes, 1)
    ]
    seen: dict[str, int] = {}
    for number, route in enumerate(named, 1):
        if route.id in seen:
            raise ConfigError(f"route {number} ({route.id!r}): route {seen[route.id]} has that id already")
        seen[route.id] = number
    return named


def _leaderboard(text: str) -> list[RouteSpec]:
    handler = _Leaderboard()
    try:
        xml.sax.parseString(text, handler)
    except xml.sax.SAXParseException as error:
        raise ConfigError(f"line {error.getLineNumber()}: not XML: {error.getMessage()}") from error
    if not handler.routes:
        raise ConfigError("there is no <route> in it")
    return handler.routes


class _Leaderboard(ContentHandler):
    """Reads <routes><route id town>, its <waypoint x y> (1.0) or <position x y> in <waypoints> (2.x), and the
    <weather> at its beginning. Scenarios are passed over: Route-v0 plays none."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: list[RouteSpec] = []
        self._path: list[str] = []
        self._route: dict[str, Any] | None = None
        self._began_at = 0
        self._where: Any = None

    def setDocumentLocator(self, locator: Any) -> None:  # noqa: N802
        self._where = locator

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802 (SAX's name)
        self._path.append(name)
        if len(self._path) == 1 and name != "routes":
            raise self._error(f"the file begins with <{name}>, not <routes>")
        if name == "route":
            self._began_at = self._line()
            route_id = attrs.get("id", "")
            self._route = {"id": route_id, "map": attrs.get("town", ""), "points": [], "weather": ""}
        elif self._route is not None and self._path[-2] in ("waypoints", "route"):
            if name in ("position", "waypoint"):
                self._route["points"].append(
                    [self._number(attrs, key) for key in "xyz" if key in attrs or key != "z"]
                )
            elif name == "weather":
                self._note_weather(attrs)
        elif self._route is not None and self._path[-2] == "weathers" and name == "weather":
            self._note_weather(attrs)

    def endElement(self, name: str) -> None:  # noqa: N802
        self._path.pop()
        if name != "route" or self._route is None:
            return
        try:
            self.routes.append(msgspec.convert(self._route, RouteSpec))
        except msgspec.ValidationError as error:
            raise self._error(str(error), self._began_at) from error
        self._route = None

    def _note_weather(self, attrs: Any) -> None:
        """The first one counts: the weather at the route's start."""
        assert self._route is not None
        if not self._route["weather"]:
            names = [key for key in attrs.getNames() if key not in ("id", "route_percentage")]
            self._route["weather"] = {key: self._number(attrs, key) for key in names}

    def _number(self, attrs: Any, key: str) -> float:
        try:
            return float(attrs[key])
        except KeyError:
            raise self._error(f"<{self._path[-1]}> has no {key}") from None
        except ValueError:
            raise self._error(f"{key}={attrs[key]!r} is no number") from None

    def _error(self, reason: str, line: int | None = None) -> ConfigError:
        route = f"route {self._route['id']!r}: " if self._route is not None else ""
        return ConfigError(f"line {line or self._line()}: {route}{reason}")

    def _line(self) -> int:
        return int(self._where.getLineNumber())

"""What a server's world was like when carlad made it READY, and what is different now."""

from __future__ import annotations

from collections.abc import Iterable
from math import isclose

import msgspec

from carlad.rpc import RpcClient
from carlad.wire import types as t
from carlad.wire.sensors import Timing, WorldSnapshot

_TRAFFIC_LIGHT = "traffic.traffic_light"
# Of metres and degrees: what a round trip through the simulator's own units may cost.
_POSE_TOLERANCE = 0.01
# Sensors before what they are attached to, and walkers after their controllers: CARLA destroys an
# attached actor with its parent, and a controller that has lost its walker is not always found again.
_DESTROY_ORDER = ("sensor.", "controller.", "walker.", "vehicle.")


class Baseline(msgspec.Struct, frozen=True):
    """Recorded of an idle, asynchronous world; `poses` are those of its own actors, by id."""

    episode_id: int
    map: str
    settings: t.EpisodeSettings
    weather: t.WeatherParameters
    gravity_mps2: float
    poses: dict[int, t.Transform]
    lights: dict[int, Timing] = {}  # of its traffic lights, by id


class Difference(msgspec.Struct, frozen=True):
    """Between a baseline and a snapshot: actors that came, have gone, or were moved, and traffic lights
    with other times."""

    extra: tuple[int, ...]
    missing: tuple[int, ...]
    moved: tuple[int, ...]
    retimed: tuple[int, ...]

    def __str__(self) -> str:
        counts = [
            f"{len(ids)} actors {what}"
            for ids, what in (
                (self.extra, "too many"),
                (self.missing, "missing"),
                (self.moved, "moved"),
                (self.retimed, "with other times"),
            )
            if ids
        ]
        return ", ".join(counts)


async def record(rpc: RpcClient, snapshot: WorldSnapshot, map: str) -> Baseline:
    """The baseline of a world that `snapshot` was just taken of. Raises CallError, ServerError."""
    settings, weather, gravity_mps2, actors = await rpc.calls(
        ("get_episode_settings",),
        ("get_weather_parameters",),
        ("get_imui_gravity",),
        ("get_actors_by_id", list(snapshot.poses)),
    )
    lights = [actor.id for actor in actors if actor.description.id == _TRAFFIC_LIGHT]
    return Baseline(
        episode_id=snapshot.episode_id,
        map=map,
        settings=settings,
        weather=weather,
        gravity_mps2=gravity_mps2,
        poses=snapshot.poses,
        lights={light: snapshot.timing(light) for light in lights},
    )


def difference(baseline: Baseline, snapshot: WorldSnapshot) -> Difference:
    now, before = snapshot.poses, baseline.poses
    return Difference(
        extra=tuple(now.keys() - before.keys()),
        missing=tuple(before.keys() - now.keys()),
        moved=tuple(
            actor for actor in now.keys() & before.keys() if not _same_pose(now[actor], before[actor])
        ),
        retimed=tuple(
            light
            for light, timing in baseline.lights.items()
            if light in now and snapshot.timing(light) != timing
        ),
    )


def in_order_of_destruction(actors: Iterable[t.Actor]) -> list[int]:
    return [actor.id for actor in sorted(actors, key=_destroy_rank)]


def _destroy_rank(actor: t.Actor) -> int:
    kinds = [actor.description.id.startswith(kind) for kind in _DESTROY_ORDER]
    return kinds.index(True) if True in kinds else len(kinds)


def _same_pose(one: t.Transform, other: t.Transform) -> bool:
    return all(
        isclose(a, b, abs_tol=_POSE_TOLERANCE)
        for part, counterpart in ((one.location, other.location), (one.rotation, other.rotation))
        for a, b in zip(msgspec.structs.astuple(part), msgspec.structs.astuple(counterpart), strict=True)
    )

"""What a server's world was like when carlad made it READY, and what is different now."""

from __future__ import annotations

from collections.abc import Iterable
from math import isclose

import msgspec

from carlad.rpc import RpcClient
from carlad.wire import types as t
from carlad.wire.sensors import WorldSnapshot

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


class Difference(msgspec.Struct, frozen=True):
    """Between a baseline and a snapshot: actors that came, have gone, and have been moved."""

    extra: tuple[int, ...]
    missing: tuple[int, ...]
    moved: tuple[int, ...]

    def __str__(self) -> str:
        counts = [
            f"{len(ids)} actors {what}"
            for ids, what in ((self.extra, "too many"), (self.missing, "missing"), (self.moved, "moved"))
            if ids
        ]
        return ", ".join(counts)


async def record(rpc: RpcClient, snapshot: WorldSnapshot, map: str) -> Baseline:
    """The baseline of a world that `snapshot` was just taken of. Raises CallError, ServerError."""
    settings, weather, gravity_mps2 = await rpc.calls(
        ("get_episode_settings",), ("get_weather_parameters",), ("get_imui_gravity",)
    )
    return Baseline(snapshot.episode_id, map, settings, weather, gravity_mps2, snapshot.poses)


def difference(baseline: Baseline, snapshot: WorldSnapshot) -> Difference:
    now, before = snapshot.poses, baseline.poses
    return Difference(
        extra=tuple(now.keys() - before.keys()),
        missing=tuple(before.keys() - now.keys()),
        moved=tuple(
            actor for actor in now.keys() & before.keys() if not _same_pose(now[actor], before[actor])
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

"""The scene in three dimensions, right-handed with z up, as Open3D draws: CARLA's y changes its sign.

Everything is in the frame of the ego vehicle's ground point, x forward, so that the view follows the vehicle.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carlad.telemetry import Actor, Array, Bundle, Ego, Lanes
from viz import theme

Points = NDArray[np.float64]

_EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
COLOURINGS = ("intensity", "height", "semantic")
_INTENSITIES = np.array([(40, 52, 92), (58, 130, 190), (120, 205, 220), (250, 250, 225)], np.float64)
# CARLA's semantic tags (0.9.16, CityScapes' order) that matter to a driver; others are grey.
_TAGS = {
    1: (128, 138, 150),  # roads
    2: (96, 106, 130),  # sidewalks
    3: (160, 140, 120),  # buildings
    9: (70, 140, 90),  # vegetation
    12: theme.YELLOW,  # pedestrians
    13: theme.YELLOW,  # riders
    14: theme.SKY,  # cars
    15: theme.SKY,  # trucks
    16: theme.SKY,  # buses
    18: theme.PURPLE,  # motorcycles
    19: theme.PURPLE,  # bicycles
    7: theme.VERMILLION,  # traffic lights
    8: theme.VERMILLION,  # traffic signs
    24: (230, 230, 230),  # road lines
}
_OTHER = (120, 124, 132)
_LANE = (84, 96, 112)


class Preset(NamedTuple):
    """A camera: where it is and where it looks, in the vehicle's frame, metres."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)


PRESETS = {
    "behind": Preset((-16.0, 0.0, 9.0), (8.0, 0.0, 0.0)),
    "top": Preset((8.0, 0.0, 62.0), (8.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
    "driver": Preset((0.2, 0.35, 1.4), (12.0, 0.2, 0.9)),
    "side": Preset((6.0, -34.0, 12.0), (6.0, 0.0, 0.0)),
}


class Lines(NamedTuple):
    """Segments: float64 (N, 3) points, int (M, 2) pairs of them, float64 (M, 3) colours in [0, 1]."""

    points: Points
    pairs: NDArray[np.int32]
    colours: Points


def cloud(points: Array) -> Points:
    """Of channel "lidar"'s array, float64 (N, 3); those that are not finite are left out."""
    xyz = points[np.isfinite(points[:, :3]).all(axis=1), :3].astype(np.float64)
    return xyz * (1.0, -1.0, 1.0)


def colours(points: Array, how: str) -> Points:
    """Of the same points, float64 (N, 3) in [0, 1]. A cloud without tags has its intensities instead."""
    kept = points[np.isfinite(points[:, :3]).all(axis=1)]
    if how == "height":
        return theme.by_height(kept[:, 2]) / 255.0
    if how == "semantic" and points.shape[1] >= 5:
        table = np.array([_TAGS.get(tag, _OTHER) for tag in range(256)], np.float64) / 255
        found: Points = table[np.nan_to_num(kept[:, 4]).clip(0, 255).astype(int)]
        return found
    return theme.along(_INTENSITIES, np.nan_to_num(kept[:, 3]).astype(np.float64)) / 255.0


def lines(bundle: Bundle) -> Lines:
    """Boxes of all actors and of the ego vehicle, and the route."""
    ego = bundle.ego
    parts: list[Lines] = []
    if ego is not None:
        own = (0.0, 0.0, ego.half_height_m), 0.0
        parts.append(_box(*own, ego, theme.ORANGE))
        parts += [_box(*_seen(ego, a), a, _colour(a.kind)) for a in bundle.actors if _is_near(ego, a)]
        if len(bundle.route) > 1:
            parts.append(_route(ego, bundle.route))
    return joined(parts)


def joined(parts: list[Lines]) -> Lines:
    """All of them as one."""
    starts = np.cumsum([0, *(len(part.points) for part in parts)])
    return Lines(
        np.concatenate([np.zeros((0, 3)), *(part.points for part in parts)]),
        np.concatenate(
            [np.zeros((0, 2), np.int32), *(p.pairs + at for p, at in zip(parts, starts, strict=False))]
        ).astype(np.int32),
        np.concatenate([np.zeros((0, 3)), *(part.colours for part in parts)]),
    )


def in_ego_frame(ego: Ego, places: Array) -> Points:
    """Points (N, 2) of CARLA's ground plane as (N, 2) of the vehicle's frame, y to the left."""
    yaw = math.radians(ego.yaw_deg)
    forward, right = np.array([math.cos(yaw), math.sin(yaw)]), np.array([-math.sin(yaw), math.cos(yaw)])
    away = np.asarray(places, np.float64) - (ego.x, ego.y)
    return np.stack([away @ forward, -(away @ right)], axis=-1)


def _seen(ego: Ego, actor: Actor) -> tuple[tuple[float, float, float], float]:
    """An actor's middle and its yaw (radians, counter-clockwise) as the vehicle sees them."""
    x, y = in_ego_frame(ego, np.array([(actor.x, actor.y)]))[0]
    ground_m = ego.z - ego.half_height_m
    return (float(x), float(y), actor.z - ground_m), -math.radians(actor.yaw_deg - ego.yaw_deg)


def _is_near(ego: Ego, actor: Actor) -> bool:
    """Whether it is within sight, and anywhere at all."""
    return math.hypot(actor.x - ego.x, actor.y - ego.y) < 150.0


def _box(middle: tuple[float, float, float], yaw: float, body: Actor | Ego, colour: theme.Colour) -> Lines:
    halves = np.array([body.half_length_m, body.half_width_m, body.half_height_m])
    signs = np.array([(1, 1, -1), (1, -1, -1), (-1, -1, -1), (-1, 1, -1)])
    corners = np.concatenate([signs, signs * (1, 1, -1)]) * halves
    turn = np.array([(math.cos(yaw), -math.sin(yaw), 0), (math.sin(yaw), math.cos(yaw), 0), (0, 0, 1)])
    front = [(0, 5), (1, 4)]  # a cross tells where it looks
    pairs = np.array([*_EDGES, *front], np.int32)
    return Lines(corners @ turn.T + middle, pairs, _painted(len(pairs), colour))


def _route(ego: Ego, route: list[tuple[float, float]]) -> Lines:
    """Two lines a little apart, so that it reads as a ribbon."""
    ahead = in_ego_frame(ego, np.array(route))
    both = [
        np.column_stack([ahead[:, 0], ahead[:, 1] + aside, np.full(len(ahead), 0.06)])
        for aside in (-0.4, 0.4)
    ]
    count = len(ahead)
    steps = np.column_stack([np.arange(count - 1), np.arange(1, count)])
    rungs = np.column_stack([np.arange(count), np.arange(count) + count])
    pairs = np.concatenate([steps, steps + count, rungs]).astype(np.int32)
    return Lines(np.concatenate(both), pairs, _painted(len(pairs), theme.GREEN))


def _painted(count: int, colour: theme.Colour) -> Points:
    return np.tile(np.array(colour, np.float64) / 255, (count, 1))


def _colour(kind: str) -> theme.Colour:
    return {"vehicle": theme.SKY, "walker": theme.YELLOW}.get(kind.split(".")[0], theme.PURPLE)


def lanes(ego: Ego, lanes: Lanes, within_m: float) -> Lines:
    """The boundaries of the lanes near the vehicle."""
    parts = []
    for lane in lanes.lanes:
        for side in (lane.left, lane.right):
            near = np.hypot(*(side - (ego.x, ego.y)).T) < within_m
            if near.sum() > 1:
                places = in_ego_frame(ego, side[near])
                steps = np.column_stack([np.arange(len(places) - 1), np.arange(1, len(places))])
                points = np.column_stack([places, np.full(len(places), 0.02)])
                parts.append(Lines(points, steps.astype(np.int32), _painted(len(steps), _LANE)))
    return joined(parts)

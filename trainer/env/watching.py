"""What viewers see of Route-v0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carlad.telemetry import Actor, Array, Bev, Bundle, Control, Ego, Frame, Light
from carlad.telemetry.bundle import VIEW_PREFIX
from trainer.env import bev
from trainer.env.bev import BirdsEyeView
from trainer.env.config import BevConfig
from trainer.env.episode import Episode
from trainer.env.layouts import LAYERS, Layout, layout
from trainer.env.moment import Moment
from trainer.env.signals import Signals
from trainer.env.surroundings import KINDS, Others
from trainer.env.world import World

_LIGHTS_WITHIN_M = 100.0  # of the vehicle


def frame(
    world: World, episode: Episode, parts: dict[str, Array], channels: frozenset[str], step_s: float
) -> Frame:
    """The last step: the numbers, and of the arrays those that are wanted and observed.

    `parts`: the last observation; `step_s`: what the last step took.
    """
    moment = episode.moment
    arrays = {name: array for name in channels if (array := _array(name, world, parts)) is not None}
    fields: dict[str, Any] = {}
    if "actors" in channels:
        fields["actors"] = _actors(moment.others)
    if "lights" in channels:
        fields["lights"] = _lights(world.signals, moment)
    if "timings" in channels:
        fields["timings_ms"] = {
            "tick": 1e3 * world.tick_s,
            "sensors": 1e3 * world.sensors_s,
            "step": 1e3 * step_s,
        }
    if "bev" in arrays:
        fields["bev"] = _legend(layout(world.config.observe.bev))
    if "ego" in channels:
        fields["ego"] = _ego(world, moment)
    if "control" in channels:
        fields["control"] = _control(world, moment)
    server, ego = world.server, moment.ego
    bundle = Bundle(
        session="",
        episode=0,
        tick=episode.steps,
        frame=ego.frame,
        sim_time_s=ego.sim_time_s,
        server=f"{server.host}:{server.rpc_port}",
        map=world.map.name,
        route=episode.route.ahead(moment.place.travelled_m),
        reward_terms=episode.terms,
        scores={"route_completion": episode.completion, **episode.scores()},
        infractions={kind.value: count for kind, count in episode.infractions.items()},
        **fields,
    )
    return Frame(bundle, arrays)


def birds_eye(view: Layout, world: World, episode: Episode) -> BirdsEyeView:
    """The view of the episode that is under way."""
    town, step_s = world.town, world.config.step_s
    raster = town.raster(view, episode.route)
    return BirdsEyeView(view, raster, world.signals, episode.signals, town.speed_signs, step_s)


def picture(world: World, episode: Episode) -> NDArray[np.uint8]:
    """The last step from above: uint8 (256, 256, 3), RGB."""
    view = layout(BevConfig())
    return bev.picture(birds_eye(view, world, episode).masks(episode.moment), view)


def _array(channel: str, world: World, parts: dict[str, Array]) -> Array | None:
    if channel == "camera" and channel in parts:
        return parts[channel].transpose(1, 2, 0)
    if channel == "lidar" and world.sensors.cloud is not None:
        return world.sensors.cloud + np.array([0, 0, world.config.observe.lidar.z_m, 0], np.float32)
    if channel.startswith(VIEW_PREFIX):
        return world.view(channel)
    return parts.get(channel) if channel == "bev" else None


def _ego(world: World, moment: Moment) -> Ego:
    ego, ahead = moment.ego, moment.ahead
    half_length_m, half_width_m = world.half_size_m()
    pitch_deg, roll_deg = world.attitude_deg()
    return Ego(
        ego.x,
        ego.y,
        math.degrees(ego.yaw_rad),
        ego.speed_mps,
        half_length_m,
        half_width_m,
        z=ego.z + 0.75,
        pitch_deg=pitch_deg,
        roll_deg=roll_deg,
        lamps=world.lamps(),
        light=ahead.light.name.lower() if math.isfinite(ahead.light_m) else None,
    )


def _control(world: World, moment: Moment) -> Control:
    steer, acceleration = moment.action
    return Control(steer, max(acceleration, 0.0), max(-acceleration, 0.0), gear=world.gear())


def _actors(others: Others) -> list[Actor]:
    speed = np.hypot(others.vx, others.vy)
    boxes = (others.x, others.y, np.degrees(others.yaw_rad), others.half_length_m, others.half_width_m)
    columns = (*boxes, others.half_height_m, others.z, speed)
    rows = zip(others.ids, others.kinds.tolist(), *(column.tolist() for column in columns), strict=True)
    return [Actor(actor, KINDS[kind], *box) for actor, kind, *box in rows]


def _lights(signals: Signals, moment: Moment) -> list[Light]:
    return [
        Light(line.x, line.y, math.degrees(line.heading_rad), signals.state(line.light).name.lower())
        for line in signals.lines
        if math.hypot(line.x - moment.ego.x, line.y - moment.ego.y) < _LIGHTS_WITHIN_M
    ]


def _legend(view: Layout) -> Bev:
    row, column = view.size_px - view.behind_px, view.size_px / 2
    return Bev(list(LAYERS[view.name]), view.px_per_m, row, column)

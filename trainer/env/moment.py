"""All that is known of one step: what observations are made from and rewards are given for."""

from __future__ import annotations

from typing import NamedTuple

from trainer.env.ahead import Ahead
from trainer.env.route import Command, Place, Route
from trainer.env.rules import LaneUse
from trainer.env.surroundings import Others
from trainer.env.termination import Reason


class Ego(NamedTuple):
    """The driven vehicle after a tick, in CARLA's frame: metres, radians from x towards y, seconds."""

    x: float
    y: float
    z: float
    yaw_rad: float
    vx: float
    vy: float
    speed_mps: float
    yaw_rate_radps: float
    frame: int
    sim_time_s: float


class Action(NamedTuple):
    """What was done in the last step, each in [-1, 1]: steering to the right, acceleration forwards."""

    steer: float
    acceleration: float


class Moment(NamedTuple):
    """One step."""

    ego: Ego
    route: Route
    place: Place
    command: Command
    lane: LaneUse
    others: Others
    ahead: Ahead
    action: Action
    steer_change: float
    """To the last step's steering, in [-2, 2]."""
    progress_m: float
    speed_limit_mps: float
    reason: Reason | None

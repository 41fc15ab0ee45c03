"""What can be set about Route-v0; each default carries its unit and its reason."""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]


class RewardWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Factors of the reward's terms (trainer.env.reward); 0 switches a term off."""

    progress: float = 0.1  # per metre: a route of 100 m is worth 10
    speeding: float = 0.05  # per m/s above the target speed, each step
    deviation: float = 0.05  # each step at the limit of the lateral offset
    comfort: float = 0.05  # each step in which the steering goes from one stop to the other
    success: float = 5.0
    failure: float = 1.0  # collision, off the route, or blocked; more makes creeping pay, which puts it off


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Route-v0's parameters."""

    delta_s: Annotated[float, msgspec.Meta(gt=0, le=0.1)] = 0.1  # a tick; CARLA's physics allow no more
    client_timeout_s: Positive = 10.0  # for each call; a real server loads and warms up for seconds
    vehicle: str = "vehicle.tesla.model3"
    route_min_m: Positive = 60.0  # long enough for a junction
    route_max_m: Positive = 120.0
    target_speed_mps: Positive = 8.0  # progress beyond it earns nothing, and speeding costs
    deviation_max_m: Positive = 2.5  # from the route's lane centre: a wheel is in the next lane then
    blocked_after_s: Positive = 5.0  # below blocked_speed_mps all the time
    blocked_speed_mps: Positive = 0.5
    slowest_mps: Positive = 2.0  # an episode is truncated after the time that this average speed takes
    reward: RewardWeights = RewardWeights()

    def __post_init__(self) -> None:
        if self.route_max_m < self.route_min_m:
            raise ValueError(f"route_max_m {self.route_max_m:g} is below route_min_m {self.route_min_m:g}")

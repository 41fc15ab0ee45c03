"""The reward of Route-v0 as a sum of named terms, each a number per step, by three presets.

`simple` and `roach` add weighted terms. `carl` multiplies progress by factors; its terms are the progress and
what each factor takes away from it, so that they add up to the reward, too. A weight of 0 switches a term
off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from trainer.env.ahead import WAITING_WITHIN_M, Ahead, must_wait
from trainer.env.config import RewardConfig, RouteConfig
from trainer.env.moment import Moment
from trainer.env.signals import Light
from trainer.env.termination import Reason


class Judged(NamedTuple):
    """What only some presets ask for, because it costs time to know."""

    collision_near: bool = False
    """A collision within a second, held for a while (trainer.env.comfort)."""
    discomfort: float = 0.0
    """The share of comfort's limits that were exceeded, held for a while."""
    off_centre: bool = False
    """Too far from the lane's centre for longer than a change of lane takes."""


Term = Callable[[RouteConfig, Moment, Judged], float]

CARL_HOLD_S = 50.0  # a factor stays that long after its cause
CARL_OFF_CENTRE_M, CARL_OFF_CENTRE_S = 0.5, 3.0
_CARL_SPEEDING_MPS = 2.23  # above the limit nothing is earned any more
_CARL_TTC_FACTOR, _CARL_COMFORT_LOSS, _CARL_OFF_CENTRE_FACTOR = 0.5, 0.5, 0.5
_ROACH_SPEED_MPS = 6.0
_ROACH_LATERAL_M = 2.0
_ROACH_STEADY = 0.01
_ROACH_LIGHT_SEEN_M = 18.0
_CRASHES = (Reason.COLLISION, Reason.RED_LIGHT, Reason.STOP_SIGN)


# --- simple


def progress(config: RouteConfig, moment: Moment, _: Judged) -> float:
    """Metres along the route, no more than the target speed makes: racing does not pay."""
    return min(moment.progress_m, config.target_speed_mps * config.step_s)


def speeding(config: RouteConfig, moment: Moment, _: Judged) -> float:
    """Minus the metres per second above the target speed."""
    return -max(0.0, moment.ego.speed_mps - config.target_speed_mps)


def deviation(config: RouteConfig, moment: Moment, _: Judged) -> float:
    """0 on the route, -1 where the episode ends; quadratic, so that small offsets hardly count."""
    share = moment.place.lateral_m / config.deviation_max_m
    return -share * share


def comfort(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """0 for a steady hand, -1 from one stop to the other."""
    return -((moment.steer_change / 2.0) ** 2)


def standing(config: RouteConfig, moment: Moment, _: Judged) -> float:
    """-1 for standing where there is nothing to wait for."""
    stands = moment.ego.speed_mps < config.blocked_speed_mps
    return -float(stands and not must_wait(moment.ahead, WAITING_WITHIN_M))


def success(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """1 for arriving."""
    return float(moment.reason is Reason.SUCCESS)


def failure(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """-1 where the driver ends the episode before the goal."""
    return -float(moment.reason is not None and moment.reason.is_failure)


# --- roach: Zhang et al. 2021, appendix, and its public implementation


def roach_speed(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """1 at the desired speed, less by the difference / 6 m/s."""
    return 1.0 - abs(moment.ego.speed_mps - desired_speed_mps(moment.ahead)) / _ROACH_SPEED_MPS


def roach_position(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """Minus the distance to the route / 2 m."""
    return -abs(moment.place.lateral_m) / _ROACH_LATERAL_M


def roach_rotation(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """Minus the angle to the route, radians."""
    error_rad = moment.ego.yaw_rad - moment.place.heading_rad
    return -abs((error_rad + 3.141592653589793) % 6.283185307179586 - 3.141592653589793)


def roach_action(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """-1 for a hand that is not steady."""
    return -float(abs(moment.steer_change) > _ROACH_STEADY)


def roach_terminal(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """-1 for a failure, and minus the speed in m/s as well where somebody could have been hurt."""
    if moment.reason is None or not moment.reason.is_failure:
        return 0.0
    return -1.0 - (moment.ego.speed_mps if moment.reason in _CRASHES else 0.0)


def desired_speed_mps(ahead: Ahead) -> float:
    """6 m/s, falling to 0 over the last 5 m before 8 m from a vehicle, 6 m from a walker, 5 m from a stop."""
    stop_m = ahead.stop_m
    if ahead.light is not Light.GREEN and ahead.light_m <= _ROACH_LIGHT_SEEN_M:
        stop_m = min(stop_m, ahead.light_m)
    left_m = min(ahead.vehicle.distance_m - 8.0, ahead.walker.distance_m - 6.0, stop_m - 5.0)
    return _ROACH_SPEED_MPS * min(max(left_m, 0.0), 5.0) / 5.0


# --- carl: Jaeger et al. 2025, and its public implementation; held factors and limits as there


def completion(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """What was added to the route's completion, in percent; going back earns nothing."""
    return max(0.0, 100.0 * moment.progress_m / moment.route.length_m)


def lanes_factor(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """0 outside the driving lanes of one's direction."""
    return 0.0 if moment.lane.outside else 1.0


def speed_factor(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """1 up to the speed limit, 0 from 2.23 m/s above it."""
    over_mps = moment.ego.speed_mps - moment.speed_limit_mps
    return min(1.0, max(0.0, 1.0 - over_mps / _CARL_SPEEDING_MPS))


def ttc_factor(_: RouteConfig, __: Moment, judged: Judged) -> float:
    """0.5 where a collision has been near."""
    return _CARL_TTC_FACTOR if judged.collision_near else 1.0


def comfort_factor(_: RouteConfig, __: Moment, judged: Judged) -> float:
    """1 down to 0.5 where all limits of comfort have been exceeded."""
    return 1.0 - _CARL_COMFORT_LOSS * judged.discomfort


def centre_factor(_: RouteConfig, __: Moment, judged: Judged) -> float:
    """0.5 for who does not keep to the lane's centre."""
    return _CARL_OFF_CENTRE_FACTOR if judged.off_centre else 1.0


def carl_terminal(_: RouteConfig, moment: Moment, __: Judged) -> float:
    """-1 for a collision or a red light."""
    return -float(moment.reason in (Reason.COLLISION, Reason.RED_LIGHT))


_SIMPLE: dict[str, tuple[Term, float]] = {
    "progress": (progress, 0.1),  # per metre: a route of 100 m is worth 10
    "speeding": (speeding, 0.05),
    "deviation": (deviation, 0.05),
    "comfort": (comfort, 0.05),
    "standing": (
        standing,
        0.03,
    ),  # being blocked comes too late to be weighed against a curve that ends badly
    "success": (success, 5.0),
    "failure": (failure, 1.0),  # more makes creeping pay, which puts it off
}
_ROACH: dict[str, tuple[Term, float]] = {
    "speed": (roach_speed, 1.0),
    "position": (roach_position, 1.0),
    "rotation": (roach_rotation, 1.0),
    "action": (roach_action, 0.1),
    "terminal": (roach_terminal, 1.0),
}
_CARL_FACTORS: dict[str, tuple[Term, float]] = {
    "lanes": (lanes_factor, 1.0),
    "speed": (speed_factor, 1.0),
    "ttc": (ttc_factor, 1.0),
    "comfort": (comfort_factor, 1.0),
    "centre": (centre_factor, 1.0),
}
_CARL_SUMMANDS: dict[str, tuple[Term, float]] = {
    "completion": (completion, 1.0),
    "terminal": (carl_terminal, 1.0),
}
PRESETS: Mapping[str, dict[str, tuple[Term, float]]] = {
    "simple": _SIMPLE,
    "roach": _ROACH,
    "carl": _CARL_SUMMANDS | _CARL_FACTORS,
}


class Reward:
    """The terms of one configuration."""

    def __init__(self, config: RouteConfig) -> None:
        """Raises ValueError for a weight that the preset has no term for."""
        self._config = config
        chosen = _weighted(config.reward)
        self._summands = [each for each in chosen if each[0] not in _CARL_FACTORS or not self.judges]
        self._factors = [each for each in chosen if self.judges and each[0] in _CARL_FACTORS]

    @property
    def judges(self) -> bool:
        """Whether `Judged` is looked at."""
        return self._config.reward.preset == "carl"

    def terms(self, moment: Moment, judged: Judged) -> dict[str, float]:
        """The weighted terms of one step; the reward is their sum."""
        config = self._config
        terms = {name: weight * term(config, moment, judged) for name, term, weight in self._summands}
        left = terms.get("completion", 0.0)
        for name, factor, weight in self._factors:
            after = left * (1.0 - weight * (1.0 - factor(config, moment, judged)))
            terms[name] = after - left
            left = after
        return terms


def _weighted(config: RewardConfig) -> list[tuple[str, Term, float]]:
    preset = PRESETS[config.preset]
    if unknown := sorted(config.weights.keys() - preset.keys()):
        raise ValueError(
            f"cannot use the environment's configuration: reward.weights: {config.preset} has no term "
            f"{', '.join(unknown)}; it has {', '.join(preset)}"
        )
    return [
        (name, term, config.weights.get(name, weight))
        for name, (term, weight) in preset.items()
        if config.weights.get(name, weight) != 0.0
    ]

"""One episode of Route-v0: what has happened in it, and what follows from each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from trainer.env.ahead import WAITING_WITHIN_M, Lookout, must_wait
from trainer.env.comfort import Comfort, collision_is_near
from trainer.env.config import RouteConfig
from trainer.env.moment import Action, Ego, Moment
from trainer.env.reward import CARL_HOLD_S, CARL_OFF_CENTRE_M, CARL_OFF_CENTRE_S, Judged, Reward
from trainer.env.route import Place, Route
from trainer.env.rules import LaneUse, Pose, RedLightWatch, StopSignWatch
from trainer.env.scores import Infraction, driving_score_2_0, driving_score_2_1
from trainer.env.signals import Light, StopLine, StopZone, on_route
from trainer.env.surroundings import Others
from trainer.env.termination import Reason, reason_to_end

_REAR_SHARE = 0.8  # of half the vehicle's length: what must not pass a stop line while the light is red
_UNJUDGED = Judged()


class Seen(NamedTuple):
    """What the simulator shows after a step."""

    ego: Ego
    others: Others
    collisions: list[Infraction]
    speed_limit_mps: float


class Truth(NamedTuple):
    """What an episode may ask about the world at any time."""

    lines: list[StopLine]
    zones: list[StopZone]
    light: Callable[[int], Light]
    """What a light shows in the last tick."""
    lane_use: Callable[[Ego, Place | None], LaneUse]
    """How the vehicle stands to the lanes, given its place on the route where that may be enough to tell."""
    half_size_m: tuple[float, float]
    """Half the ego vehicle's length and width."""


class Episode:
    """The course of one episode: what each step means."""

    def __init__(self, config: RouteConfig, route: Route, truth: Truth, first: Seen) -> None:
        """Raises ValueError for a reward that cannot be."""
        self._config = config
        self._truth = truth
        self._reward = Reward(config)
        self.route = route
        self.signals = on_route(route, truth.lines, truth.zones)
        self._lookout = Lookout(route, self.signals, truth.light)
        self._red_lights = RedLightWatch(truth.lines, truth.light, _REAR_SHARE * truth.half_size_m[0])
        self._stop_signs = StopSignWatch(truth.zones)
        self._comfort = Comfort(config.step_s, CARL_HOLD_S)
        self._near_until = self._off_centre_steps = 0
        self.steps = 0
        self._stood_s = 0.0
        self._driven_m = self._outside_m = 0.0
        self._was_outside = False
        self.infractions: Counter[Infraction] = Counter()
        self.terms: dict[str, float] = {}
        place = route.place(first.ego.x, first.ego.y, 0.0)
        self.moment = self._moment(first, self._lane(first.ego, place), place, Action(0.0, 0.0), 0.0)

    def step(self, seen: Seen, action: Action) -> Moment:
        """Take in a step; its reward is the sum of `terms`."""
        self.steps += 1
        before, ego = self.moment, seen.ego
        place = self.route.place(ego.x, ego.y, before.place.travelled_m)
        lane = self._lane(ego, place)
        new = self._broken(before.ego, seen, lane)
        progress_m = place.travelled_m - before.place.travelled_m
        moment = self._moment(seen, lane, place, action, progress_m)
        self._count_standing(moment)
        reason = reason_to_end(
            self._config,
            new=new,
            off_road=lane.off_road,
            lateral_m=place.lateral_m,
            remaining_m=self.route.length_m - place.travelled_m,
            stood_s=self._stood_s,
            elapsed_s=self.steps * self._config.step_s,
            length_m=self.route.length_m,
        )
        self.moment = moment._replace(reason=reason) if reason is not None else moment
        self.terms = self._reward.terms(self.moment, self._judged(self.moment))
        return self.moment

    @property
    def completion(self) -> float:
        """The share of the route that is done, in [0, 1]."""
        if self.moment.reason is Reason.SUCCESS:
            return 1.0
        return min(max(self.moment.place.travelled_m / self.route.length_m, 0.0), 1.0)

    @property
    def outside_share(self) -> float:
        """The share of the way driven outside the driving lanes of one's direction, in [0, 1]."""
        return self._outside_m / self._driven_m if self._driven_m else 0.0

    def scores(self) -> dict[str, float]:
        """The driving scores so far, in [0, 100], by the Leaderboard's versions."""
        so_far = self.completion, self.infractions, self.outside_share
        return {
            "driving_score_2_0": driving_score_2_0(*so_far),
            "driving_score_2_1": driving_score_2_1(*so_far),
        }

    def info(self) -> dict[str, Any]:
        """The step's info, which is more with the episode's last one."""
        info: dict[str, Any] = {"reward_terms": self.terms}
        reason = self.moment.reason
        if reason is not None:
            info |= {
                "success": reason is Reason.SUCCESS,
                "reason": reason.value,
                "route_completion": self.completion,
                "route_length_m": self.route.length_m,
                "infractions": {kind.value: self.infractions[kind] for kind in Infraction},
                "outside_lanes_share": self.outside_share,
                **self.scores(),
            }
        return info

    def _lane(self, ego: Ego, place: Place) -> LaneUse:
        return self._truth.lane_use(ego, None if self._reward.judges else place)

    def _moment(self, seen: Seen, lane: LaneUse, place: Place, action: Action, progress_m: float) -> Moment:
        steer_change = action.steer - self.moment.action.steer if self.steps else 0.0
        return Moment(
            seen.ego,
            self.route,
            place,
            self.route.next_command(place.travelled_m),
            lane,
            seen.others,
            self._lookout.look(place, seen.others, self._stop_signs.heeded),
            action,
            steer_change,
            progress_m,
            seen.speed_limit_mps,
            None,
        )

    def _broken(self, before: Ego, seen: Seen, lane: LaneUse) -> list[Infraction]:
        """The rules broken in this step, which are counted as well."""
        ego = seen.ego
        now = Pose(ego.x, ego.y, ego.yaw_rad, ego.speed_mps)
        new = seen.collisions.copy()
        if self._red_lights.ran(Pose(before.x, before.y, before.yaw_rad, before.speed_mps), now):
            new.append(Infraction.RED_LIGHT)
        if self._stop_signs.ran(now):
            new.append(Infraction.STOP_SIGN)
        if lane.over_solid:
            new.append(Infraction.SOLID_LINE)
        if lane.outside and not self._was_outside:
            new.append(Infraction.OUTSIDE_LANES)
        self._was_outside = lane.outside
        moved_m = ego.speed_mps * self._config.step_s
        self._driven_m += moved_m
        self._outside_m += moved_m * lane.outside
        if new:
            self.infractions.update(new)
        return new

    def _count_standing(self, moment: Moment) -> None:
        config = self._config
        if moment.ego.speed_mps >= config.blocked_speed_mps:
            self._stood_s = 0.0
        elif not must_wait(moment.ahead, WAITING_WITHIN_M):
            self._stood_s += config.step_s

    def _judged(self, moment: Moment) -> Judged:
        if not self._reward.judges:
            return _UNJUDGED
        step_s = self._config.step_s
        if collision_is_near(moment.ego, *self._truth.half_size_m, moment.others):
            self._near_until = self.steps + round(CARL_HOLD_S / step_s)
        off_centre = moment.lane.offset_m > CARL_OFF_CENTRE_M and not moment.lane.junction
        self._off_centre_steps = max(0, self._off_centre_steps + (1 if off_centre else -1))
        return Judged(
            collision_near=self.steps < self._near_until,
            discomfort=self._comfort.discomfort(moment.ego),
            off_centre=self._off_centre_steps * step_s > CARL_OFF_CENTRE_S,
        )

"""What a number of driven episodes says about their driver: means with confidence intervals. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

_Z = 1.959964  # of the normal distribution: 95 % lie between -z and z
_RESAMPLES = 2000
_SHOWN_DIGITS = 6


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One driven episode."""

    route: str
    """Its id in the routes file; empty for a random one."""
    seed: int
    success: bool
    reason: str
    steps: int
    episodic_return: float
    route_completion: float
    route_length_m: float
    driving_score_2_0: float | None = None
    driving_score_2_1: float | None = None
    infractions: dict[str, int] = {}


class Mean(msgspec.Struct, frozen=True):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Of all episodes together; shares are in [0, 1], driving scores in [0, 100]."""

    episodes: int
    success_rate: Mean
    """Wilson's interval."""
    route_completion: Mean
    """This one's and the others' intervals: bootstrap percentiles."""
    episodic_return: Mean
    driving_score_2_0: Mean | None
    driving_score_2_1: Mean | None
    reasons: dict[str, int]
    infractions: dict[str, int]
    infractions_per_km: dict[str, float]
    driven_km: float


def summary(results: Sequence[Result]) -> Summary:
    """Of one result at least; the same for the same results."""
    driven_km = sum(result.route_completion * result.route_length_m for result in results) / 1000
    infractions = Counter[str]()
    for result in results:
        infractions.update(result.infractions)
    return Summary(
        episodes=len(results),
        success_rate=wilson(sum(result.success for result in results), len(results)),
        route_completion=bootstrap([result.route_completion for result in results]),
        episodic_return=bootstrap([result.episodic_return for result in results]),
        driving_score_2_0=_score(results, lambda result: result.driving_score_2_0),
        driving_score_2_1=_score(results, lambda result: result.driving_score_2_1),
        reasons=dict(sorted(Counter(result.reason for result in results).items())),
        infractions=dict(sorted(infractions.items())),
        infractions_per_km={kind: n / driven_km for kind, n in sorted(infractions.items()) if driven_km},
        driven_km=round(driven_km, _SHOWN_DIGITS),
    )


def wilson(successes: int, trials: int) -> Mean:
    """The share of successes. Source: Wilson 1927, "Probable Inference, the Law of Succession"."""
    share, z2 = successes / trials, _Z**2 / trials
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    return Mean(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(values: Sequence[float]) -> Mean:
    """The mean of one value at least. Source: Efron 1979, "Bootstrap Methods", by percentiles, seeded."""
    array = np.asarray(values, np.float64)
    chosen = np.random.default_rng(0).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.percentile(array[chosen].mean(axis=1), (2.5, 97.5))
    return Mean(float(array.mean()), float(low), float(high))


def _score(results: Sequence[Result], of: Callable[[Result], float | None]) -> Mean | None:
    """None where the environment gives no such score."""
    values = [value for result in results if (value := of(result)) is not None]
    return bootstrap(values) if values else None

"""Refusals in CARLA's own words.

Sources: `CarlaServer.cpp`, `CarlaServerResponse.cpp` and `ActorSpawnResult.cpp` of CARLA's Unreal plugin
(0.9.16).
"""

from __future__ import annotations

from math import isfinite

from carlad.wire.errors import CallError

NOT_FOUND = "Actor could not be found in the registry"
NOT_A_VEHICLE = "Actor is not a Vehicle"
NOT_A_WALKER = "Actor is not a Walker"
WRONG_KIND = "Actor does not match the expected type"
NOT_A_LIGHT = "Actor is not a traffic light"

INVALID_DESCRIPTION = "Spawn failed because of invalid actor description"
SPAWN_COLLISION = "Spawn failed because of collision at spawn position"
NO_PARENT = "unable to attach actor: parent actor not found"
NOTHING_TO_DESTROY = "unable to destroy actor: not found"


class ActorError(CallError):
    """A call cannot be carried out on an actor; the answer names the call and the actor."""

    def __init__(self, reason: str, actor_id: int) -> None:
        super().__init__(f"{reason}. Actor Id: {actor_id}")
        self._reason = reason
        self._actor_id = actor_id

    def during(self, call: str) -> str:
        """The whole sentence, as the real server says it."""
        return f"Responding error from function {call}: {self._reason}.  Actor Id: {self._actor_id}"


def require_finite(what: str, *numbers: float) -> None:
    """Raises CallError for NaN and infinity: one of them would spread through the whole simulation."""
    if not all(map(isfinite, numbers)):
        raise CallError(f"cannot use {what}: {', '.join(map(str, numbers))} must be finite numbers")

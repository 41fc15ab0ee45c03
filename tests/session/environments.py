"""Environments that misbehave in one way each, for hosts that tests start."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from carlad.session.environment import Server
from carlad.telemetry import Bundle, Ego, Frame, Lanes


class Quiet(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Adds the actions up; an episode has three steps."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, length: int = 3) -> None:
        self._length = length

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._steps, self._sum = 0, self.np_random.uniform(size=2).astype(np.float32)
        return self._sum, {"options": options or {}}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._steps += 1
        self._sum = self._sum + action
        ended = self._steps == self._length
        info = {
            "steps": np.int64(self._steps),
            "success": ended,
            "route_completion": self._steps / self._length,
        }
        return self._sum, float(action[0]), False, ended, info


class Settling(Quiet):
    """Puts its server into synchronous mode; each step's info says whether it was found so."""

    def attach(self, server: Server) -> None:
        import carla  # the other environments do without

        world = carla.Client(server.host, server.rpc_port).get_world()
        settings = world.get_settings()
        self._was_synchronous = settings.synchronous_mode
        settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
        world.apply_settings(settings)

    def step(self, action: NDArray[np.float32]) -> Any:
        *step, info = super().step(action)
        return *step, {**info, "was_synchronous": self._was_synchronous}


class Failing(Quiet):
    """Raises a defect of its own in the first step."""

    def step(self, action: NDArray[np.float32]) -> Any:
        raise KeyError("lane 7")


class Timeout(Quiet):
    """Does what the carla client does when the server is gone."""

    def step(self, action: NDArray[np.float32]) -> Any:
        raise RuntimeError(
            "time-out of 2000ms while waiting for the simulator, make sure the simulator is ready "
            "and connected to 127.0.0.1:2000"
        )


class Aborting(Quiet):
    """Does what the carla client's C++ does at times: the whole process is gone."""

    def step(self, action: NDArray[np.float32]) -> Any:
        os.abort()


class Hanging(Quiet):
    """Never comes back from a step, and holds on to its process."""

    def step(self, action: NDArray[np.float32]) -> Any:
        while True:
            time.sleep(1)


class Sluggish(Quiet):
    """Takes its time to connect."""

    def __init__(self, attach_s: float, length: int = 3) -> None:
        super().__init__(length)
        self._attach_s = attach_s

    def attach(self, server: Server) -> None:
        time.sleep(self._attach_s)


class Unclosable(Quiet):
    """Never comes back from closing."""

    def close(self) -> None:
        while True:
            time.sleep(1)


class OnceOnly(Quiet):
    """Aborts, hangs or fails in its second step, but only in the process that first creates `marker`."""

    def __init__(self, marker: str, fault: str, length: int = 3) -> None:
        super().__init__(length)
        self._marker, self._fault = marker, fault

    def step(self, action: NDArray[np.float32]) -> Any:
        if self._steps == 1 and self._is_first():
            if self._fault == "abort":
                os.abort()
            if self._fault == "hang":
                time.sleep(3600)
            raise KeyError("lane 7")
        return super().step(action)

    def _is_first(self) -> bool:
        try:
            os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


class Watched(Quiet):
    """Can be looked into."""

    def lanes(self) -> Lanes:
        return Lanes("Nowhere", [])

    def frame_bundle(self, channels: frozenset[str]) -> Frame:
        bundle = Bundle(
            session="",
            episode=0,
            tick=self._steps,
            frame=100 + self._steps,
            sim_time_s=0.1 * self._steps,
            server="127.0.0.1:2000",
            map="Nowhere",
            ego=Ego(1.0, 2.0, 0.0, 0.0),
        )
        return Frame(bundle, {})


class Shown(Watched):
    """Lets viewers pause it, and carries a camera for them."""

    viewers_may = frozenset({"pause", "view.chase"})

    def __init__(self, length: int = 200) -> None:
        super().__init__(length)
        self._views: frozenset[str] = frozenset()
        self._image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)  # no JPEG is small

    def show(self, views: frozenset[str]) -> None:
        self._views = views

    def frame_bundle(self, channels: frozenset[str]) -> Frame:
        images = dict.fromkeys(self._views & channels, self._image)
        return Frame(super().frame_bundle(channels).bundle, images)


class WatchedTimeout(Watched, Timeout):
    """Can be looked into, and loses its simulator in the first step."""


class Camera(Quiet):
    """Shows an image whose pixels are all the number of the step, and that number beside it."""

    observation_space = gymnasium.spaces.Dict(
        {
            "image": gymnasium.spaces.Box(0, 255, (600, 800, 3), np.uint8),
            "steps": gymnasium.spaces.Box(0, 255, (1,), np.uint8),
        }
    )

    def __init__(self, length: int = 200) -> None:
        super().__init__(length)
        self._image = np.zeros((600, 800, 3), np.uint8)

    def reset(self, **how: Any) -> Any:
        return self._seen(), super().reset(**how)[1]

    def step(self, action: NDArray[np.float32]) -> Any:
        _, *rest = super().step(action)
        return (self._seen(), *rest)

    def _seen(self) -> dict[str, Any]:
        steps = getattr(self, "_steps", 0) % 256
        self._image.fill(steps)  # the same array each time, as environments do
        return {"image": self._image, "steps": np.array([steps], np.uint8)}


class Rude(Quiet):
    """Its process ends in the constructor, with words on the way."""

    def __init__(self) -> None:
        print("no GPU here", flush=True)
        os._exit(3)

"""A synthetic training to watch: a car that drives round a block of a grid of roads, with other traffic.

`python -m tests.viz.driving ENDPOINT [--camera]` publishes it at 20 ticks/s until it is told to end.
"""

from __future__ import annotations

import argparse
import math
import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from carlad.telemetry import Actor, Array, Bev, Bundle, Control, Ego, Lane, Lanes, Light, Publisher

BLOCK_M = 80.0
BLOCKS = 4
LANE_M = 3.5
CORNER_M = 8.0
DELTA_S = 0.05
TOP_MPS = 9.0


def grid_lanes() -> Lanes:
    """Two-way roads around 4 x 4 blocks, traffic on the right, sidewalks beside them, plain junctions."""
    lanes: list[Lane] = []
    for row in range(BLOCKS + 1):
        for column in range(BLOCKS + 1):
            corner = np.array([column, row], np.float64) * BLOCK_M
            for along in ((1.0, 0.0), (0.0, 1.0)):
                if (corner + np.array(along) * BLOCK_M <= BLOCKS * BLOCK_M).all():
                    lanes += road(corner, np.array(along))
            lanes.append(junction(corner))
    return Lanes("Carla/Maps/Grid", lanes)


def road(start: NDArray[np.float64], along: NDArray[np.float64]) -> list[Lane]:
    """Both directions of the road from one junction to the next."""
    lanes = []
    for origin, forward in ((start, along), (start + along * BLOCK_M, -along)):
        right = np.array([-forward[1], forward[0]])
        centre = origin + np.linspace(CORNER_M, BLOCK_M - CORNER_M, 33)[:, None] * forward
        inner, curb, outer = (
            (centre + right * aside).astype(np.float32) for aside in (0.0, LANE_M, LANE_M + 2.0)
        )
        lanes.append(Lane(inner, curb, "driving", "broken", "solid"))
        lanes.append(Lane(curb, outer, "sidewalk", "solid", "none"))
    return lanes


def junction(centre: NDArray[np.float64]) -> Lane:
    """The asphalt where two roads meet, its corners cut."""
    far, near = CORNER_M, LANE_M
    left = [(-far, near), (-far, -near), (-near, -far), (near, -far)]
    right = [(-near, far), (near, far), (far, near), (far, -near)]
    return Lane(*(np.array(centre + side, np.float32) for side in (left, right)))


def pose(travelled_m: float) -> tuple[float, float, float]:
    """x, y (metres) and yaw (degrees) after some way clockwise round the block (80, 80) to (160, 160)."""
    inset, radius = LANE_M / 2, CORNER_M - LANE_M / 2
    side = BLOCK_M - 2 * inset - 2 * radius
    arc = radius * math.pi / 2
    leg, rest = divmod(travelled_m % (4 * (side + arc)), side + arc)
    turn = max(0.0, rest - side) / radius
    x = min(rest, side) - side / 2 + radius * math.sin(turn)
    y = -(side / 2 + radius) + radius * (1 - math.cos(turn))
    quarter = leg * math.pi / 2
    middle = 1.5 * BLOCK_M
    return (
        middle + x * math.cos(quarter) - y * math.sin(quarter),
        middle + x * math.sin(quarter) + y * math.cos(quarter),
        math.degrees(quarter + turn),
    )


def bundle_at(tick: int, session: str = "env-0") -> Bundle:
    """One tick of the drive."""
    time_s = tick * DELTA_S
    travelled_m = 30.0 + TOP_MPS * time_s
    speed_mps = TOP_MPS + math.sin(time_s)
    x, y, yaw_deg = pose(travelled_m)
    steer = math.radians(pose(travelled_m + 3)[2] - yaw_deg + 180) % math.tau - math.pi
    return Bundle(
        session=session,
        episode=42,
        tick=tick,
        frame=10_000 + tick,
        sim_time_s=time_s,
        server="127.0.0.1:2000",
        map="Carla/Maps/Grid",
        ego=Ego(x, y, yaw_deg, speed_mps, lamps=["low_beam"], light=light_state(tick)),
        control=Control(steer, 0.45 + 0.3 * math.cos(time_s), 0.0, gear=2),
        lights=[
            Light(88.0, 80.0 + LANE_M / 2, 180.0, "green"),
            Light(152.0, 81.75, 0.0, light_state(tick)),
            Light(158.25, 88.0, 90.0, "yellow"),
        ],
        bev=Bev(["road", "lane_marks", "route", "vehicles", "ego"], 4.0, 96.0, 64.0),
        actors=[*traffic(travelled_m), Actor(99, "walker", 112.0, 74.6, 0.0, 0.35, 0.35)],
        route=[pose(travelled_m + ahead)[:2] for ahead in range(0, 66, 3)],
        reward_terms={
            "progress": speed_mps * DELTA_S,
            "lane_centre": -0.013,
            "comfort": -0.004,
            "collision": 0.0,
        },
        episode_return=0.41 * tick,
        scores={"route_completion": (tick % 400) / 400, "driving_score_2_1": 62.5},
        success_rate=0.64,
        steps_per_s=612.0,
        timings_ms={"tick": 1.4, "step": 1.9},
        viewers_may=["pause", "view.chase"],
    )


def traffic(travelled_m: float) -> list[Actor]:
    """A car ahead, one behind, and some that come the other way."""
    cars = [(gap, *pose(travelled_m + gap)) for gap in (24.0, -31.0)]
    boxes = [Actor(int(100 + gap), "vehicle", x, y, yaw, 2.3, 0.95) for gap, x, y, yaw in cars]
    oncoming = (travelled_m * 0.8) % (BLOCK_M - 2 * CORNER_M)
    return [
        *boxes,
        Actor(201, "vehicle", 160 - CORNER_M - oncoming, 80 - LANE_M / 2, 180.0, 2.4, 1.0),
        Actor(202, "vehicle", 160 - LANE_M / 2, 80 + CORNER_M + oncoming, 90.0, 4.1, 1.25),
    ]


def light_state(tick: int) -> str:
    return ("red", "green", "yellow")[tick // 60 % 3]


def arrays_at(tick: int) -> dict[str, Array]:
    """What comes as arrays: a camera, the policy's masks, and a LiDAR's cloud."""
    return {"camera": camera_image(tick), "bev": masks(tick), "lidar": cloud(tick)}


def masks(tick: int) -> NDArray[np.uint8]:
    """uint8 (5, 128, 128): a road ahead, its marks, the route, a car ahead, and the ego vehicle."""
    layers = np.zeros((5, 128, 128), np.uint8)
    layers[0, :, 50:92] = layers[0, 20:48] = 255
    layers[1, (np.arange(128) + tick) % 16 < 8, 70:72] = 255
    layers[2, 34:96, 60:68] = 255
    layers[3, 50 + tick % 20 : 68 + tick % 20, 60:68] = 255
    layers[4, 88:106, 60:68] = 255
    return layers


def cloud(tick: int) -> NDArray[np.float32]:
    """float32 (N, 4) in the vehicle's frame: the ground in rings, two house fronts, a car ahead."""
    rng = np.random.default_rng(tick)
    around = rng.uniform(-math.pi, math.pi, 3000)
    far = rng.integers(3, 14, 3000) ** 1.35
    ground = np.stack([far * np.cos(around), far * np.sin(around), rng.normal(0, 0.03, 3000)], axis=1)
    along, up = rng.uniform(-35, 35, 2400), rng.uniform(0, 6, 2400)
    fronts = np.stack([along, np.where(np.arange(2400) % 2, 11.0, -9.0), up], axis=1)
    car = rng.uniform((11, 1.2, 0.2), (15.4, 3.1, 1.6), (500, 3))
    car[::2, 0] = 11
    points = np.concatenate([ground, fronts, car])
    intensity = rng.uniform(0.1, 0.9, len(points))[:, None]
    return np.concatenate([points, intensity], axis=1).astype(np.float32)


def camera_image(tick: int) -> NDArray[np.uint8]:
    """A test picture, uint8 (120, 160, 3) RGB: sky, ground and a road that moves."""
    rows, columns = np.mgrid[0:120, 0:160]
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60] = (120, 160, 200)
    image[60:] = (70, 80, 70)
    image[(rows > 60) & (np.abs(columns - 80) < (rows - 58))] = (70, 72, 78)
    dash = (np.abs(columns - 80) < (rows - 56) / 12) & ((2000 // (rows + 1 - 58).clip(1) + tick) % 12 < 6)
    image[(rows > 60) & dash] = (220, 220, 210)
    return image


def sent(bundle: Bundle) -> Bundle:
    """With the time of its publication."""
    return msgspec.structs.replace(bundle, sent_ns=time.time_ns())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("--camera", action="store_true")
    options = parser.parse_args()
    publisher = Publisher(options.endpoint)
    publisher.set_lanes(grid_lanes())
    print("publishing", flush=True)
    for tick in range(100_000):
        if publisher.due():
            publisher.publish(sent(bundle_at(tick)), arrays_at(tick) if options.camera else {})
        time.sleep(DELTA_S)


if __name__ == "__main__":
    main()

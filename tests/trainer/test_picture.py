from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from carlad.telemetry import Actor, Bundle, Ego, Lane, Lanes, Publisher
from trainer import picture
from trainer.onlooker import Onlooker

ROUTE = [(float(x), 0.0) for x in range(100)]
LANES = Lanes("Town01", [Lane(np.array([[0, -2], [100, -2]]), np.array([[0, 2], [100, 2]]))])


def bundle(tick: int, episode: int = 1, speed_mps: float = 12.0, y: float = 0.0) -> Bundle:
    ego = Ego(x=float(tick), y=y, yaw_deg=0.0, speed_mps=speed_mps)
    server = {"session": "env-0", "frame": tick, "sim_time_s": tick / 10, "server": "x:1", "map": "Town01"}
    return Bundle(episode=episode, tick=tick, ego=ego, route=ROUTE[tick:], **server)


def share(image: NDArray[np.uint8], like: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - like).max(axis=2) < 30).mean())


def test_a_fast_way_is_green_a_slow_one_red_and_the_rest_of_the_route_blue() -> None:
    fast = picture.draw([bundle(tick, y=6.0) for tick in range(60)], LANES)
    slow = picture.draw([bundle(tick, speed_mps=0.0, y=6.0) for tick in range(60)], LANES)
    assert fast.shape == (picture.SIZE_PX, picture.SIZE_PX, 3)
    assert fast.dtype == np.uint8
    assert share(fast, (30, 150, 60)) > 0.002 > share(slow, (30, 150, 60))
    assert share(slow, (200, 40, 40)) > 0.002 > share(fast, (200, 40, 40))
    assert share(fast, (70, 130, 220)) > 0.003


def test_an_episode_of_one_tick_without_map_and_with_others_is_drawn_too() -> None:
    alone = bundle(5)
    other = Actor(id=1, kind="vehicle", x=12.0, y=3.0, yaw_deg=30.0, half_length_m=2.4, half_width_m=1.0)
    crowded = Bundle(**{name: getattr(alone, name) for name in alone.__struct_fields__} | {"actors": [other]})
    assert share(picture.draw([crowded], None), (130, 130, 140)) > share(
        picture.draw([alone], None), (130,) * 3
    )


@pytest.fixture
def driving(tmp_path: Path) -> Iterator[str]:
    """Episodes of 60 ticks without an end, published at the endpoint."""
    publisher, over = Publisher(f"ipc://{tmp_path}/telemetry"), threading.Event()

    def drive() -> None:
        publisher.set_lanes(LANES)
        tick = 0
        while not over.is_set():
            publisher.publish(bundle(tick % 60, episode=tick // 60))
            tick += 1
            over.wait(0.01)

    thread = threading.Thread(target=drive)
    thread.start()
    yield publisher.endpoint
    over.set()
    thread.join()
    publisher.close()


def test_an_onlooker_draws_whole_episodes(driving: str) -> None:
    with Onlooker(lambda: driving, 0.0) as onlooker:
        deadline_s = time.monotonic() + 60.0
        while (image := onlooker.picture()) is None:
            assert time.monotonic() < deadline_s, "there was no picture"
            time.sleep(0.05)
    assert share(image, (30, 150, 60)) > 0.001


def test_an_onlooker_leaves_also_where_there_is_nothing_to_see(tmp_path: Path) -> None:
    for endpoint in (None, "nonsense", f"ipc://{tmp_path}/nobody"):
        with Onlooker(lambda endpoint=endpoint: endpoint, 100.0) as onlooker:
            assert onlooker.picture() is None

"""Large arrays between a host and its client."""

from __future__ import annotations

import fcntl
import os
import signal

import gymnasium
import numpy as np
import pytest

from carlad.session.protocol import ProtocolError
from carlad.session.remote import SessionLostError
from carlad.session.shared import LARGE_BYTES, Shelf, Slots
from carlad.session.spaces import describe
from tests.session.conftest import WAIT_S, Start

ACTION = np.array([0.5, -0.5], np.float32)
IMAGE = gymnasium.spaces.Box(0, 255, (200, 300, 3), np.uint8)


def memories() -> int:
    """Anonymous memory files that this process has mapped."""
    with open("/proc/self/maps") as maps:
        return sum("memfd:carlad-session" in line for line in maps)


def test_what_a_step_returned_never_changes_however_many_are_kept(start: Start) -> None:
    env = start("Camera")
    kept = [env.reset(1, WAIT_S)[0]] + [env.step(ACTION, WAIT_S)[0] for _ in range(12)]
    for steps, observation in enumerate(kept):
        assert observation["image"].shape == (600, 800, 3)
        assert (observation["image"] == steps).all()
        assert observation["steps"] == steps


def test_part_of_an_image_keeps_it_from_being_written_over(start: Start) -> None:
    env = start("Camera")
    env.reset(1, WAIT_S)
    parts = [env.step(ACTION, WAIT_S)[0]["image"][:1, :1].T for _ in range(8)]
    assert [int(part[0, 0, 0]) for part in parts] == list(range(1, 9))


def test_what_the_client_writes_into_an_observation_stays_its_own(start: Start) -> None:
    env = start("Camera")
    env.reset(1, WAIT_S)
    for steps in range(1, 9):
        image = env.step(ACTION, WAIT_S)[0]["image"]
        assert (image == steps).all()
        image += 100


def test_nothing_is_left_when_the_host_is_killed_and_arrays_stay_readable(start: Start) -> None:
    env = start("Camera")
    image = env.reset(1, WAIT_S)[0]["image"]
    assert memories() == 1
    before = os.listdir("/dev/shm")
    os.kill(env.pid, signal.SIGKILL)
    with pytest.raises(SessionLostError):
        env.step(ACTION, WAIT_S)
    env.close()
    assert (image == 0).all()
    del image, env
    assert os.listdir("/dev/shm") == before


def test_small_and_huge_observations_take_no_shared_memory() -> None:
    for shape in ((LARGE_BYTES - 1,), (1 << 29,)):
        space = describe(gymnasium.spaces.Box(0, 255, (1,), np.uint8))
        shelf = Shelf(type(space)([0.0], [255.0], list(shape), "uint8"))  # type: ignore[call-arg,arg-type]
        assert (shelf.slots, shelf.descriptor) == (0, None)


def test_neither_end_can_shrink_the_memory_under_the_other() -> None:
    shelf = Shelf(describe(IMAGE))
    assert shelf.descriptor is not None
    with pytest.raises(PermissionError):
        os.ftruncate(shelf.descriptor, 0)
    shelf.close()


def test_memory_that_is_not_sealed_or_of_another_size_is_refused() -> None:
    for seals, size in ((0, 4096), (fcntl.F_SEAL_SHRINK, 100)):
        descriptor = os.memfd_create("test", os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        with pytest.raises(ProtocolError, match="cannot use memory"):
            Slots(descriptor, 4, 1024)


def test_an_array_that_does_not_fit_its_place_travels_in_the_message() -> None:
    shelf = Shelf(describe(IMAGE))
    image = np.zeros(IMAGE.shape, np.uint8)
    assert shelf.place("", image, 0) is not None
    for name, array, slot in (("", image, None), ("", image, 4), ("x", image, 0), ("", image[:1], 0)):
        assert shelf.place(name, array, slot) is None
    shelf.close()

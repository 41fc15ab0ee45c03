from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from carlad.standin.rendering.events import EVENT, EventCamera, EventModel

LINEAR = EventModel(positive_threshold=0.1, negative_threshold=0.1, use_log=False)


def grey(*levels: float) -> npt.NDArray[np.uint8]:
    """One row of pixels, each of a share of white."""
    row = np.round(np.array(levels) * 255.0).astype(np.uint8)
    return np.repeat(row[None, :, None], 4, axis=2)


def test_an_event_has_thirteen_bytes() -> None:
    assert EVENT.itemsize == 13


def test_the_first_image_and_an_equal_one_bring_no_events() -> None:
    camera = EventCamera(LINEAR, seed=0)
    assert not len(camera.events(grey(0.2, 0.4), 0))
    assert not len(camera.events(grey(0.2, 0.4), 100))


def test_a_rise_is_reported_once_for_each_threshold_at_its_own_time() -> None:
    camera = EventCamera(LINEAR, seed=0)
    camera.events(grey(0.0, 0.0), 1000)
    events = camera.events(grey(0.0, 0.4), 2000)
    assert events["x"].tolist() == [1] * 4
    assert events["polarity"].all()
    assert events["t"].tolist() == pytest.approx([1250, 1500, 1750, 2000], abs=5)


def test_brightness_is_kept_from_image_to_image() -> None:
    camera = EventCamera(LINEAR, seed=0)
    counts = [len(camera.events(grey(level), k)) for k, level in enumerate((0.0, 0.06, 0.12, 0.06, 0.0))]
    assert counts == [0, 0, 1, 0, 1]


def test_a_fall_has_the_other_polarity() -> None:
    camera = EventCamera(LINEAR, seed=0)
    camera.events(grey(0.9), 0)
    events = camera.events(grey(0.5), 1000)
    assert len(events) in (3, 4)
    assert not events["polarity"].any()


def test_a_refractory_pixel_is_silent() -> None:
    model = EventModel(positive_threshold=0.1, use_log=False, refractory_ns=600)
    camera = EventCamera(model, seed=0)
    camera.events(grey(0.0), 0)
    assert len(camera.events(grey(0.5), 1000)) == 2


def test_a_threshold_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        EventModel(positive_threshold=0.0)

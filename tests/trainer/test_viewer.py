from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from trainer.cli.command import stop_on_signals
from trainer.viewer import watching


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_is_a_wish_and_the_second_an_order(number: signal.Signals) -> None:
    stop = stop_on_signals()
    assert not stop()
    os.kill(os.getpid(), number)
    assert stop()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_the_viewer_lives_as_long_as_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    before = set(psutil.Process().children())
    with watching(tmp_path / "run"):
        (window,) = set(psutil.Process().children()) - before
        assert str(tmp_path / "run") in window.cmdline()
    assert not window.is_running()


def test_a_viewer_that_has_gone_is_no_trouble(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with watching(tmp_path / "run"):
        (window,) = set(psutil.Process().children()) - before
        window.kill()
    assert not window.is_running()

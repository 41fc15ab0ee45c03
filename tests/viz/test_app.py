import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pygame
import pytest

from carlad.telemetry import Publisher
from tests.telemetry.watching import bundle_of, wait_until
from viz.app import Window
from viz.scene import Session
from viz.source import Source

ROOT = Path(__file__).parents[2]


def viz(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "viz", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120, check=False
    )


@pytest.fixture
def training(tmp_path: Path) -> Iterator[str]:
    """The endpoint of a synthetic training in a process of its own."""
    endpoint = f"ipc://{tmp_path}/telemetry"
    command = [sys.executable, "-m", "tests.viz.driving", endpoint, "--camera"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "publishing\n"
        yield endpoint
        process.kill()


@pytest.fixture
def window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """A window on a session that has shown one tick; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    endpoint = f"ipc://{tmp_path}/t"
    with (
        closing(Publisher(endpoint)) as publisher,
        closing(Source(lambda: [Session("a", endpoint)])) as source,
    ):

        def shown() -> bool:
            publisher.publish(bundle_of(1))
            return source.update(0.01)

        wait_until(shown)
        yield Window(source)


def press(window: Window, key: int) -> None:
    assert window.handle(pygame.event.Event(pygame.KEYDOWN, key=key))
    window.draw()


@pytest.mark.parametrize("size", ["1280x720", "800x600"])
def test_a_snapshot_needs_no_screen(training: str, tmp_path: Path, size: str) -> None:
    picture = tmp_path / "now.png"
    done = viz("--telemetry", training, "--snapshot", str(picture), "--size", size)
    assert (done.returncode, done.stderr) == (0, "")
    image = pygame.image.load(picture)
    assert "x".join(map(str, image.get_size())) == size
    colours = {tuple(image.get_at((x, y)))[:3] for x in range(0, 540, 2) for y in range(0, 500, 2)}
    assert len(colours) > 20


def test_a_session_of_a_run_is_found_by_its_name(training: str, tmp_path: Path) -> None:
    sessions = [
        {"session": "gone", "telemetry": "ipc:///nowhere"},
        {"session": "env-7", "telemetry": training},
    ]
    run = tmp_path / "data" / "run"
    run.mkdir(parents=True)
    (run / "sessions.json").write_text(json.dumps({"sessions": sessions}))
    for which in (["--run", str(run)], []):
        done = viz(*which, "--session", "env-7", "--snapshot", "now.png", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "now.png").stat().st_size > 10_000


def test_a_run_that_is_just_starting_is_waited_for(training: str, tmp_path: Path) -> None:
    run, picture = tmp_path / "run", tmp_path / "now.png"
    command = [sys.executable, "-m", "viz", "--run", str(run), "--snapshot", str(picture), "--wait", "60"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        run.mkdir()
        listed = json.dumps({"sessions": [{"session": "env-0", "telemetry": training}]})
        (tmp_path / "listed").write_text(listed)
        (tmp_path / "listed").rename(run / "sessions.json")
        assert process.wait(60) == 0
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--telemetry", "ipc:///nowhere", "--snapshot", "x.png", "--wait", "0.2"],
            1,
            "no telemetry from ipc://",
        ),
        (["--telemetry", "nonsense", "--snapshot", "x.png"], 1, "cannot read telemetry from nonsense"),
        (["--run", "/nowhere"], 1, "cannot read the sessions of /nowhere"),
        (["--endpoint", "ipc:///nowhere/a"], 1, "cannot find a run"),
        (["--wait", "-1"], 2, "a number above 0"),
        (["info", "/nowhere"], 1, "cannot read /nowhere: No such file"),
        (["replay", "x.mcap", "--speed", "nan"], 2, "a number above 0"),
        (["--size", "12x12"], 2, "sizes are WIDTHxHEIGHT"),
        (["--run", "a", "--telemetry", "b"], 2, "not allowed with"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_message(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = viz(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_that_cannot_be_written_is_a_clear_message(training: str) -> None:
    done = viz("--telemetry", training, "--snapshot", "/nowhere/now.png")
    assert (done.returncode, done.stderr.startswith("viz: cannot write /nowhere/now.png")) == (1, True)


def test_a_window_without_a_screen_is_a_clear_message(training: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    done = viz("--telemetry", training)
    assert done.returncode == 1
    assert "viz: cannot open a window" in done.stderr.splitlines()[-1]
    assert "--snapshot" in done.stderr


def test_a_window_follows_a_training_until_it_is_interrupted(training: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "viz", "--telemetry", training]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: psutil.Process(process.pid).net_connections("unix"))  # it has subscribed
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_keys_zoom_in_and_out(window: Window) -> None:
    window.draw()
    before = window.picture.view_from_world.scale
    press(window, pygame.K_PLUS)
    assert window.picture.view_from_world.scale > before
    press(window, pygame.K_MINUS)
    assert window.picture.view_from_world.scale == pytest.approx(before)


def test_dragging_moves_the_view_and_f_follows_again(window: Window) -> None:
    window.draw()
    before = window.picture.view_from_world
    assert window.handle(pygame.event.Event(pygame.MOUSEMOTION, buttons=(1, 0, 0), rel=(80, -8), pos=(9, 9)))
    assert window.picture.view_from_world == before.dragged(80, -8)
    assert not window.picture.follow
    press(window, pygame.K_f)
    assert window.picture.follow


def test_the_wheel_zooms_and_a_mouse_that_only_moves_changes_nothing(window: Window) -> None:
    window.draw()
    before = window.picture.view_from_world.scale
    assert not window.handle(pygame.event.Event(pygame.MOUSEMOTION, buttons=(0, 0, 0), rel=(80, -8)))
    assert window.handle(pygame.event.Event(pygame.MOUSEWHEEL, y=-1))
    assert window.picture.view_from_world.scale < before


def test_s_writes_a_screenshot(window: Window, tmp_path: Path) -> None:
    window.draw()
    press(window, pygame.K_s)
    (path,) = tmp_path.glob("viz-*.png")
    assert pygame.image.load(path).get_size() == (800, 600)


def test_tab_goes_to_the_next_session(window: Window) -> None:
    assert window.source.scene().bundle is not None
    press(window, pygame.K_TAB)
    assert window.source.scene().bundle is None  # with one session: attached to it anew


@pytest.mark.parametrize("size", [(300, 200), (1600, 1000)])
def test_a_window_may_have_any_size(window: Window, size: tuple[int, int]) -> None:
    pygame.display.set_mode(size, pygame.RESIZABLE)
    window.draw()


@pytest.mark.parametrize(
    "event", [pygame.event.Event(pygame.QUIT), pygame.event.Event(pygame.KEYDOWN, key=pygame.K_q)]
)
def test_closing_the_window_ends_the_loop(window: Window, event: pygame.event.Event) -> None:
    pygame.event.post(event)
    window.run()
    assert not window.open


def test_an_image_is_enlarged_by_a_click_or_a_key_and_made_small_again(window: Window) -> None:
    def click(at: tuple[int, int]) -> None:
        window.handle(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=at))
        window.draw()

    images = {"camera": np.full((60, 80, 3), 200, np.uint8), "view.chase": np.full((60, 80, 3), 90, np.uint8)}
    scene = replace(window.source.scene(), arrays=images)
    window.source.scene = lambda: scene  # type: ignore[method-assign]
    window.draw()
    small = pygame.surfarray.array3d(pygame.display.get_surface())
    assert window.picture.enlarged is None
    click((60, 60))
    assert window.picture.enlarged == "chase view"
    large = pygame.surfarray.array3d(pygame.display.get_surface())
    assert (large == 90).all(axis=2).sum() > 2 * (small == 90).all(axis=2).sum()
    click((300, 100))  # the large one
    assert window.picture.enlarged is None
    seen = []
    for _ in range(3):
        press(window, pygame.K_v)
        seen.append(window.picture.enlarged)
    assert seen == ["chase view", "camera", None]


def test_a_recording_of_an_endpoint_is_named_as_the_session_is(window: Window, tmp_path: Path) -> None:
    window.source.sessions = []
    source = window.source
    assert isinstance(source, Source)
    endpoint = f"ipc://{tmp_path}/t"
    source.watch(Session(endpoint, endpoint))
    source.toggle_recording(tmp_path)
    source.toggle_recording(tmp_path)
    (file,) = tmp_path.glob("*.mcap")
    assert "/" not in file.name
    assert file.stat().st_size > 0

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from carlad.telemetry import Publisher
from tests.telemetry.watching import bundle_of, wait_until
from tests.viz.driving import camera_image, grid_lanes
from viz.scene import Scene, Session, Signal, ViewerError
from viz.sessions import NoRunError, daemon_sessions, find, newest_run, of_run, read_sessions
from viz.source import Source


def run_of(directory: Path, **endpoints: str) -> Path:
    """Write a run directory that lists these sessions."""
    directory.mkdir(parents=True, exist_ok=True)
    listed = [{"session": name, "telemetry": endpoint} for name, endpoint in endpoints.items()]
    (directory / "sessions.json").write_text(json.dumps({"sessions": listed, "later": "more"}))
    return directory


@pytest.fixture
def publishers(tmp_path: Path) -> Iterator[list[Publisher]]:
    """Two publishers, named after their place in the list."""
    both = [Publisher(f"ipc://{tmp_path}/{name}") for name in ("a", "b")]
    yield both
    for publisher in both:
        publisher.close()


def seen_from(publisher: Publisher, source: Source, name: str) -> Scene:
    """Publish under a session's name until the source shows it."""

    def shown() -> bool:
        publisher.publish(bundle_of(0, session=name), {"camera": camera_image(0)})
        source.update(0.01)
        bundle = source.scene().bundle
        return bundle is not None and bundle.session == name

    wait_until(shown)
    return source.scene()


def test_the_newest_run_is_the_one_written_last(tmp_path: Path) -> None:
    old, new = (
        run_of(tmp_path / "runs" / "z", a="ipc:///a"),
        run_of(tmp_path / "runs" / "deep" / "a", a="ipc:///a"),
    )
    os.utime(old / "sessions.json", (1, 1))
    assert newest_run(tmp_path, None) == new
    assert newest_run(tmp_path, "z") == old
    assert newest_run(tmp_path, "y") is None
    assert newest_run(tmp_path / "absent", None) is None


def test_where_there_is_neither_a_run_nor_a_daemon_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoRunError, match=r"cannot find a run under data or a session: .*start a training"):
        daemon_sessions(f"ipc://{tmp_path}/nobody.sock")


def test_a_run_is_found_by_its_directory_and_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "data" / "runs" / "first", a="ipc:///a")
    run_of(tmp_path / "elsewhere", b="ipc:///b")
    for what, session in (
        ("first", "a"),
        ("elsewhere", "b"),
        (str(tmp_path / "elsewhere"), "b"),
        (None, "a"),
    ):
        listing, chosen = find(what)
        assert ([each.session for each in listing()], chosen) == ([session], None)


@pytest.mark.parametrize("text", ["", "[]", '{"sessions": [{"session": 1}]}', '{"sessions": []}', "\x00"])
def test_sessions_that_cannot_be_read_are_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "sessions.json").write_text(text)
    with pytest.raises(ViewerError, match=str(tmp_path)):
        read_sessions(tmp_path)


def test_a_scene_goes_from_waiting_to_live_to_lost_and_back(
    publishers: list[Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viz.source.STALE_AFTER_S", 0.2)
    publishers[0].set_lanes(grid_lanes())
    with closing(Source(lambda: [Session("a", publishers[0].endpoint)])) as source:
        assert source.scene().signal is Signal.WAITING
        scene = seen_from(publishers[0], source, "a")
        assert scene.signal is Signal.LIVE
        assert "camera" in scene.arrays
        wait_until(lambda: publishers[0].wanted() and not source.update(0.0) and source.scene().lanes)
        wait_until(lambda: source.scene().signal is Signal.LOST)
        assert source.scene().bundle is not None
        publishers[0].publish(bundle_of(1), to_all=True)
        wait_until(lambda: source.update(0.01))
        assert source.scene().signal is Signal.LIVE


def test_next_session_goes_round(publishers: list[Publisher]) -> None:
    sessions = [Session(name, publisher.endpoint) for name, publisher in zip("ab", publishers, strict=True)]
    with closing(Source(lambda: sessions)) as source:
        for turn in range(3):
            seen_from(publishers[turn % 2], source, "ab"[turn % 2])
            source.next_session()
            assert source.scene().bundle is None


def test_a_session_is_followed_to_another_endpoint(
    publishers: list[Publisher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viz.source._LOOK_AGAIN_S", 0.05)
    run = run_of(tmp_path / "run", first="ipc:///nowhere", moved=publishers[0].endpoint)
    with closing(Source(of_run(run), "moved")) as source:
        seen_from(publishers[0], source, "moved")
        run_of(run, another="ipc:///nowhere", moved=publishers[1].endpoint)
        wait_until(lambda: not source.update(0.01) and source.scene().session.telemetry.endswith("/b"))
        seen_from(publishers[1], source, "moved")


def test_a_run_that_disappears_leaves_the_picture(
    publishers: list[Publisher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viz.source._LOOK_AGAIN_S", 0.01)
    run = run_of(tmp_path / "run", a=publishers[0].endpoint)
    with closing(Source(of_run(run))) as source:
        seen_from(publishers[0], source, "a")
        (run / "sessions.json").unlink()
        wait_until(lambda: not source.update(0.02) and source.scene().age_s > 0.1)
        assert source.scene().bundle is not None

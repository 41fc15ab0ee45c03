"""Viewers on other machines: over TCP, with keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from carlad.admission import Admitted
from carlad.errors import ConfigError
from carlad.keys import as_hex, read_pair, read_public, write_pair
from carlad.telemetry import Frame, Publisher, Subscriber, TelemetryError
from tests.telemetry.watching import bundle_of, wait_until

ADDRESS = "127.0.0.1:24003"
IMAGE = np.linspace(0, 255, 240 * 320).astype(np.uint8).reshape(240, 320)[..., None].repeat(3, axis=2)


@pytest.fixture
def keys_dir(tmp_path: Path) -> Path:
    """Of a daemon that knows alice, whose secret key lies in tmp_path/alice."""
    write_pair(tmp_path / "keys", "server")
    write_pair(tmp_path / "alice", "alice")
    clients = tmp_path / "keys" / "clients"
    clients.mkdir()
    (clients / "alice.key").write_bytes((tmp_path / "alice" / "alice.key").read_bytes())
    return tmp_path / "keys"


@pytest.fixture
def publisher(tmp_path: Path, keys_dir: Path) -> Iterator[Publisher]:
    with closing(Publisher(f"ipc://{tmp_path}/t")) as publisher:
        admit(publisher, keys_dir)
        yield publisher


def admit(publisher: Publisher, keys_dir: Path) -> None:
    pair = read_pair(keys_dir / "server.key_secret")
    publisher.admit([f"tcp://{ADDRESS}"], pair, Admitted(keys_dir / "clients"))


@pytest.fixture
def endpoint(keys_dir: Path) -> str:
    return f"tcp://{as_hex(read_public(keys_dir / 'server.key'))}@{ADDRESS}"


def frame_of(publisher: Publisher, viewer: Subscriber) -> Frame:
    found: list[Frame] = []

    def seen() -> bool:
        publisher.publish(bundle_of(0), {"camera": IMAGE, "bev": IMAGE[..., 0]})
        found.extend(filter(None, [viewer.newest(0.01)]))
        return bool(found)

    wait_until(seen)
    return found[0]


def test_a_viewer_with_a_key_sees_the_session_and_its_images_came_as_jpeg(
    publisher: Publisher, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "alice" / "alice.key_secret"))
    channels = ("camera", "bev")
    with (
        closing(Subscriber(endpoint, channels)) as remote,
        closing(Subscriber(publisher.endpoint, channels)) as local,
    ):
        far, near = frame_of(publisher, remote), frame_of(publisher, local)
    assert (near.arrays["camera"] == IMAGE).all()
    assert 0 < np.abs(far.arrays["camera"].astype(int) - IMAGE).max() < 12
    assert (far.arrays["bev"] == IMAGE[..., 0]).all()


def test_a_viewer_with_a_wrong_key_sees_nothing_and_disturbs_nobody(
    publisher: Publisher, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path / "mallory", "mallory")
    monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "mallory" / "mallory.key_secret"))
    with closing(Subscriber(endpoint, ("forbidden",))) as wrong:
        monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "alice" / "alice.key_secret"))
        with closing(Subscriber(endpoint)) as right:
            for _ in range(5):
                frame_of(publisher, right)
        assert wrong.newest(0.2) is None
        assert "forbidden" not in publisher.wanted()


def test_a_viewer_without_a_key_is_told_how_to_make_one(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARLAD_KEY", str(tmp_path / "none.key_secret"))
    with pytest.raises(ConfigError, match="carlactl keygen"):
        Subscriber(endpoint)


def test_an_address_that_is_taken_is_a_clear_error(
    tmp_path: Path, keys_dir: Path, publisher: Publisher
) -> None:
    other = Publisher(f"ipc://{tmp_path}/other")
    with pytest.raises(TelemetryError, match="cannot publish telemetry at tcp://"):
        admit(other, keys_dir)
    assert not (tmp_path / "other").exists()

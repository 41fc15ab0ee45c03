"""What servers keep on disk of a map: it saves time and changes nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from carlad.standin import kept, obstacles, towns
from carlad.standin.kept import Arrays
from carlad.standin.rendering.structures import structures_of

TOWN = "Town02"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    return tmp_path / "kept"


def numbers() -> Arrays:
    return {"numbers": np.arange(5.0), "names": np.array(["one", "two"])}


def unmakeable() -> Arrays:
    raise AssertionError("was kept")


def test_what_was_made_once_is_read_from_then_on(folder: Path) -> None:
    made, read = kept.kept("some", "text", numbers), kept.kept("some", "text", unmakeable)
    assert read["numbers"].tolist() == made["numbers"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert read["names"].tolist() == ["one", "two"]


@pytest.mark.parametrize(("kind", "of"), [("other", "text"), ("some", "another text")])
def test_nothing_is_taken_for_something_else(folder: Path, kind: str, of: str) -> None:
    kept.kept("some", "text", numbers)
    with pytest.raises(AssertionError, match="was kept"):
        kept.kept(kind, of, unmakeable)


def test_code_that_has_changed_makes_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.kept("some", "text", numbers)
    monkeypatch.setattr(kept, "_code", lambda: "newer")
    with pytest.raises(AssertionError, match="was kept"):
        kept.kept("some", "text", unmakeable)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive at all"])
def test_a_damaged_file_is_made_anew(folder: Path, content: bytes) -> None:
    kept.kept("some", "text", numbers)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert kept.kept("some", "text", numbers)["numbers"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    kept.kept("some", "text", unmakeable)


def test_where_nothing_can_be_kept_everything_is_made_each_time(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder would be")
    for _ in range(2):
        assert kept.kept("some", "text", numbers)["names"].tolist() == ["one", "two"]


def test_the_folder_does_not_grow_for_ever(folder: Path) -> None:
    for number in range(kept.FILES_MAX + 3):
        kept.kept("some", str(number), numbers)
    assert len(list(folder.iterdir())) == kept.FILES_MAX
    kept.kept("some", str(kept.FILES_MAX + 2), unmakeable)


def test_a_town_from_disk_is_the_town_that_was_built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    town = towns.load(TOWN)
    built, boxes = structures_of(town), obstacles.boxes_of(town)
    monkeypatch.setattr(obstacles, "_plans", type(obstacles._plans)())
    assert obstacles.boxes_of(town) == boxes
    read = structures_of(town)
    assert [(s.name, s.layer, s.yaw_deg, s.tag) for s in read] == [
        (s.name, s.layer, s.yaw_deg, s.tag) for s in built
    ]
    for one, other in zip(read, built, strict=True):
        assert one.mesh.corners.tobytes() == other.mesh.corners.tobytes()
        assert one.mesh.color.tobytes() == other.mesh.color.tobytes()
    assert len(list(folder.iterdir())) == 2

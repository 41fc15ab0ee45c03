"""Where towns are found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from carlad.standin import towns

BUNDLED = ("Town01", "Town02", "Town03", "Town04", "Town05", "Town10HD")


def test_towns_are_listed_by_carla_s_names_each_with_its_twin_without_layers() -> None:
    names = [twin for name in BUNDLED for twin in (name, name + "_Opt")]
    assert towns.available() == tuple(f"/Game/Carla/Maps/{name}" for name in names)


@pytest.mark.parametrize("name", ["Town02", "Carla/Maps/Town02", "/Game/Carla/Maps/Town02"])
def test_a_path_before_the_name_is_accepted(name: str) -> None:
    assert towns.load(name).name == "Carla/Maps/Town02"


def test_a_twin_has_the_same_roads_and_its_own_name() -> None:
    twin = towns.load("Town02_Opt")
    assert twin.name == "Carla/Maps/Town02_Opt"
    assert twin.xodr == towns.load("Town02").xodr


@pytest.mark.parametrize("name", ["Town99", "Town99_Opt", "", "_Opt", "Town02/", "../Town02.xodr"])
def test_an_unknown_town_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(towns.UnknownTownError, match=r"Town01, Town01_Opt, Town02"):
        towns.load(name)


@pytest.mark.parametrize(
    "folder",
    [
        "",
        "Content/Carla/Maps/OpenDrive",
        "CarlaUE4/Content/Carla/Maps/OpenDrive",
        "Content/Carla/Maps/Big/OpenDrive",
    ],
)
def test_a_file_in_a_directory_or_an_installation_takes_the_bundled_one_s_place(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    given = Path(towns.__file__).with_name("Town02.xodr")
    for name in ("Town01", "Village"):
        shutil.copyfile(given, tmp_path / folder / f"{name}.xodr")
    assert "/Game/Carla/Maps/Village" in towns.available([tmp_path])
    assert "/Game/Carla/Maps/Village_Opt" not in towns.available([tmp_path])
    expected = towns.load("Town02").xodr
    assert [towns.load(name, [tmp_path]).xodr for name in ("Town01", "Town01_Opt", "Village")] == [
        expected
    ] * 3
    assert towns.load("Town01").xodr != expected


def test_the_first_directory_that_has_a_town_is_taken(tmp_path: Path) -> None:
    for folder, name in (("first", "Town02"), ("second", "Town04")):
        (tmp_path / folder).mkdir()
        shutil.copyfile(Path(towns.__file__).with_name(f"{name}.xodr"), tmp_path / folder / "Town01.xodr")
    found = towns.load("Town01", [tmp_path / "first", tmp_path / "second"])
    assert found.xodr == towns.load("Town02").xodr


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere: it is no directory"):
        towns.available([tmp_path / "nowhere"])


def test_a_map_that_is_loaded_again_is_made_anew_only_if_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "Mine.xodr"
    path.write_text(towns.load("Town02").xodr)
    first = towns.load("Mine", [tmp_path])
    assert towns.load("Mine", [tmp_path]) is first
    path.write_text(towns.load("Town01").xodr)
    assert len(towns.load("Mine", [tmp_path]).spawn_points) != len(first.spawn_points)


def test_a_file_that_is_no_opendrive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Town01.xodr").write_bytes(b"\xff\xfe\x00nonsense")
    with pytest.raises(towns.OpenDriveError, match="cannot read the OpenDRIVE text of 'Carla/Maps/Town01'"):
        towns.load("Town01", [tmp_path])

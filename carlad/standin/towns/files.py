"""Where the OpenDRIVE files of towns are found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

_BUNDLED = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.xodr"))}
TWIN = "_Opt"  # CARLA has each town twice, with and without map layers; the roads are the same
_INSTALLATION = ("", "CarlaUE4", "Unreal/CarlaUE4")  # from a CARLA directory to its Content
_IN_CONTENT = ("Content/Carla/Maps/OpenDrive/*.xodr", "Content/Carla/Maps/*/OpenDrive/*.xodr")


def names(directories: Sequence[Path] = ()) -> tuple[str, ...]:
    """The bundled towns, each also as its `_Opt` twin, and what is found in `directories`."""
    return tuple(sorted({*_BUNDLED, *(name + TWIN for name in _BUNDLED), *_found(directories)}))


def originals(directories: Sequence[Path] = ()) -> dict[str, Path]:
    """Every file by its town's name, without the `_Opt` twins. Raises NotADirectoryError."""
    return {**_BUNDLED, **_found(directories)}


def path_of(name: str, directories: Sequence[Path] = ()) -> Path | None:
    """The file of a town; the first of `directories` that has it comes before the bundled one.

    Raises NotADirectoryError.
    """
    files = originals(directories)
    if name in files or not name.endswith(TWIN):
        return files.get(name)
    base = name.removesuffix(TWIN)
    return files.get(base) if base in _BUNDLED else None


def is_bundled(path: Path) -> bool:
    return path in _BUNDLED.values()


def _found(directories: Sequence[Path]) -> dict[str, Path]:
    return {path.stem: path for directory in reversed(directories) for path in _in(directory)}


def _in(directory: Path) -> Iterator[Path]:
    """The OpenDRIVE files of a plain directory, or of a CARLA installation."""
    if not directory.is_dir():
        raise NotADirectoryError(f"cannot look for maps in {directory}: it is no directory")
    yield from sorted(directory.glob("*.xodr"))
    for root in _INSTALLATION:
        for pattern in _IN_CONTENT:
            yield from sorted((directory / root).glob(pattern))

"""Bytes and texts that were sound once."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_EDITS_MAX = 4
_places = st.floats(0.0, 1.0, exclude_max=True)
_pieces = st.one_of(st.binary(max_size=8), st.binary(min_size=1, max_size=1))


def damaged(sound: bytes) -> SearchStrategy[bytes]:
    """`sound` after a few cuts, insertions and replacements, or its beginning alone."""
    edits = st.lists(st.tuples(_places, st.integers(0, 8), _pieces), min_size=1, max_size=_EDITS_MAX)
    cut = st.one_of(st.none(), _places)
    return st.builds(_edited, st.just(sound), edits, cut)


def damaged_text(sound: str, words: tuple[str, ...]) -> SearchStrategy[str]:
    """The like for texts; what is put in is of `words` or any text."""
    pieces = st.one_of(st.sampled_from(words), st.text(max_size=8))
    edits = st.lists(st.tuples(_places, st.integers(0, 12), pieces), min_size=1, max_size=_EDITS_MAX)
    return st.builds(_edited_text, st.just(sound), edits)


def _edited(sound: bytes, edits: list[tuple[float, int, bytes]], cut: float | None) -> bytes:
    for place, length, piece in edits:
        at = int(place * len(sound))
        sound = sound[:at] + piece + sound[at + length :]
    return sound if cut is None else sound[: int(cut * len(sound))]


def _edited_text(sound: str, edits: list[tuple[float, int, str]]) -> str:
    for place, length, piece in edits:
        at = int(place * len(sound))
        sound = sound[:at] + piece + sound[at + length :]
    return sound

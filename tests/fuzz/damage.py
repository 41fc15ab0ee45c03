"""Bytes and texts that were sound once."""

from __future__ import annotations

import re
from string import ascii_letters, digits
from xml.sax.saxutils import escape

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


def damaged_values(sound: str, words: tuple[str, ...]) -> SearchStrategy[str]:
    """XML in which a few attributes are of `words`, or have one of them somewhere in their value."""
    pieces = st.one_of(st.sampled_from(words), st.text(ascii_letters + digits + ":;>.,+-²٣ ", max_size=4))
    edits = st.lists(st.tuples(_places, _places, st.booleans(), pieces), min_size=1, max_size=_EDITS_MAX)
    return st.builds(_revalued, st.just(sound), edits)


def _revalued(sound: str, edits: list[tuple[float, float, bool, str]]) -> str:
    for place, at, is_whole, piece in edits:
        values = [*re.finditer(r'(?<==")[^"]*', sound)]
        first, last = values[int(place * len(values))].span()
        middle = first + int(at * (last - first + 1))
        piece = escape(piece, {'"': "&quot;"})
        sound = sound[:first] + piece + sound[last:] if is_whole else sound[:middle] + piece + sound[middle:]
    return sound


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

"""Attribute values as the server reads them: like C, which takes what begins as a number and never refuses.

Source: `ActorBlueprintFunctionLibrary.cpp` (0.9.16), whose FCString::Atoi, Atof and ToBool these are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from carlad.wire.types import ActorAttributeValue, AttributeType

_INT = re.compile(r"\s*([+-]?\d+)")
_FLOAT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf))", re.IGNORECASE)
_INT_MAX = 2**31 - 1


def read(attributes: Iterable[ActorAttributeValue]) -> dict[str, str]:
    """Values by attribute in Python's own spelling: `int`, `float` and a comparison with "true" take them."""
    return {attribute.id: _READ.get(attribute.type, str)(attribute.value) for attribute in attributes}


def _int(text: str) -> str:
    """`64.0` is 64, and what is no number is 0."""
    found = _INT.match(text)
    return str(max(-_INT_MAX - 1, min(_INT_MAX, int(found[1][:20])))) if found else "0"


def _float(text: str) -> str:
    """`3.5f` is 3.5, and what is no number is 0."""
    found = _FLOAT.match(text)
    return repr(float(found[1])) if found else "0.0"


def _bool(text: str) -> str:
    lower = text.strip().lower()
    return "true" if lower in ("true", "yes", "on") or _int(lower) != "0" else "false"


_READ: dict[int, Callable[[str], str]] = {
    AttributeType.BOOL: _bool,
    AttributeType.INT: _int,
    AttributeType.FLOAT: _float,
}

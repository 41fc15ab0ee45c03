"""How the server reads what clients write into attributes."""

from __future__ import annotations

import pytest

from carlad.standin.attributes import read
from carlad.wire.types import ActorAttributeValue, AttributeType

CASES = [
    (AttributeType.INT, "64.0", "64"),
    (AttributeType.INT, " -3 apples", "-3"),
    (AttributeType.INT, "", "0"),
    (AttributeType.INT, "many", "0"),
    (AttributeType.INT, "99999999999", "2147483647"),
    (AttributeType.FLOAT, "3.5f", "3.5"),
    (AttributeType.FLOAT, "1e-2", "0.01"),
    (AttributeType.FLOAT, ".5", "0.5"),
    (AttributeType.FLOAT, "", "0.0"),
    (AttributeType.BOOL, "True", "true"),
    (AttributeType.BOOL, "1", "true"),
    (AttributeType.BOOL, "0", "false"),
    (AttributeType.BOOL, "perhaps", "false"),
    (AttributeType.STRING, "3.5f", "3.5f"),
    (AttributeType.RGB_COLOR, "1,2,3", "1,2,3"),
]


@pytest.mark.parametrize(("kind", "text", "value"), CASES)
def test_values_are_read_as_unreal_reads_them(kind: AttributeType, text: str, value: str) -> None:
    assert read([ActorAttributeValue("it", kind, text)]) == {"it": value}

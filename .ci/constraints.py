"""Merge pip's dry-run reports of several Python versions into constraints.txt (see CONTRIBUTING.md).

Usage: python .ci/constraints.py 3.10=REPORT.json 3.11=REPORT.json ... > constraints.txt
A package whose version differs between Pythons gets one line for each, with a marker.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

# CUDA libraries come and go with torch's build; torch pins them itself.
_LEFT_TO_TORCH = re.compile(r"nvidia-|cuda-|triton$|carlad$")


def main(arguments: list[str]) -> None:
    pins: dict[str, dict[str, str]] = defaultdict(dict)
    pythons = []
    for argument in arguments:
        python, _, path = argument.partition("=")
        pythons.append(python)
        for item in json.loads(Path(path).read_text())["install"]:
            name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
            if not _LEFT_TO_TORCH.match(name):
                pins[name][python] = item["metadata"]["version"].partition("+")[0]
    for name in sorted(pins):
        print("\n".join(_lines(name, pins[name], pythons)))


def _lines(name: str, versions: dict[str, str], pythons: list[str]) -> list[str]:
    if len(set(versions.values())) == 1:
        return [f"{name}=={next(iter(versions.values()))}"]
    return [f'{name}=={versions[p]}; python_version == "{p}"' for p in pythons if p in versions]


if __name__ == "__main__":
    main(sys.argv[1:])

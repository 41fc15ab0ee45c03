"""`python docs/curves.py OUT.png NAME=RUN...`: success over steps of trainings, from their progress.jsonl.

A NAME that comes several times is drawn in one colour: the seeds of one experiment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 960, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 30, 60  # margins
COLOURS = ((200, 90, 30), (40, 110, 220), (60, 150, 60), (150, 60, 160))  # BGR
INK, GRID = (40, 40, 40), (220, 220, 220)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Curve(NamedTuple):
    """The success rate over a training's last 50 episodes after so many steps; (N,) both."""

    name: str
    steps: list[int]
    success: list[float]
    minutes: float


def read(name: str, run: Path) -> Curve:
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    rounds = [line for line in lines if "evaluation" not in line]
    known = [line for line in rounds if "success_rate" in line]
    steps, success = [line["env_steps"] for line in known], [line["success_rate"] for line in known]
    return Curve(name, steps, success, rounds[-1]["seconds"] / 60)


def draw(curves: list[Curve]) -> NDArray[np.uint8]:
    """uint8 (HEIGHT, WIDTH, 3), BGR."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    steps_max = max(curve.steps[-1] for curve in curves)
    names = list(dict.fromkeys(curve.name for curve in curves))

    def at(steps: float, success: float) -> tuple[int, int]:
        x = LEFT + steps / steps_max * (WIDTH - LEFT - RIGHT)
        return round(x), round(HEIGHT - BOTTOM - success * (HEIGHT - TOP - BOTTOM))

    for tenth in range(0, 11, 2):
        cv2.line(image, at(0, tenth / 10), at(steps_max, tenth / 10), GRID, 1)
        cv2.putText(
            image, f"{tenth / 10:.1f}", (28, at(0, tenth / 10)[1] + 5), FONT, 0.45, INK, 1, cv2.LINE_AA
        )
    for steps in range(0, steps_max + 1, 50_000):
        cv2.line(image, at(steps, 0), at(steps, 1), GRID, 1)
        x, y = at(steps, 0)
        cv2.putText(image, f"{steps // 1000}k", (x - 14, y + 20), FONT, 0.45, INK, 1, cv2.LINE_AA)
    for curve in curves:
        points = np.array([at(*point) for point in zip(curve.steps, curve.success, strict=True)], np.int32)
        colour = COLOURS[names.index(curve.name) % len(COLOURS)]
        cv2.polylines(image, [points], False, colour, 2, cv2.LINE_AA)
    for i, name in enumerate(names):
        mine = [curve for curve in curves if curve.name == name]
        minutes = ", ".join(f"{curve.minutes:.1f}" for curve in mine)
        x = LEFT + i * 440
        cv2.line(image, (x, HEIGHT - 18), (x + 24, HEIGHT - 18), COLOURS[i % len(COLOURS)], 2, cv2.LINE_AA)
        label = f"{name} ({minutes} minutes)"
        cv2.putText(image, label, (x + 32, HEIGHT - 13), FONT, 0.45, INK, 1, cv2.LINE_AA)
    cv2.putText(image, "success rate over steps", (LEFT, 18), FONT, 0.5, INK, 1, cv2.LINE_AA)
    return image


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or not all("=" in one for one in arguments[1:]):
        print(f"cannot draw: {__doc__}", file=sys.stderr)
        return 2
    try:
        curves = [read(name, Path(run)) for name, _, run in (one.partition("=") for one in arguments[1:])]
    except OSError as error:
        print(f"cannot draw: {error}", file=sys.stderr)
        return 1
    cv2.imwrite(arguments[0], draw(curves))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
os.environ["SDL_VIDEODRIVER"] = "dummy"

import pygame


@pytest.fixture(autouse=True)
def screen() -> Iterator[pygame.Surface]:
    """A window on SDL's dummy screen."""
    pygame.display.init()
    pygame.font.init()
    yield pygame.display.set_mode((800, 600), pygame.RESIZABLE)
    pygame.quit()

"""The numbers beside the picture: session, driving, reward and training, each on its own card."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pygame

from carlad.telemetry import Bundle, Control
from viz import theme
from viz.source import Scene, Signal

_GAP = 10
_PAD = 14
_SESSION_H, _DRIVING_H, _TRAINING_H = 84, 148, 126
_TERM_H_MIN, _TERM_H_MAX = 17, 30
_REWARD_SMALLEST, _REWARD_LARGEST = 0.01, 10.0  # a bar's logarithmic range: a step's progress, a collision
_SIGNAL_COLOURS = {Signal.WAITING: theme.YELLOW, Signal.LIVE: theme.SKY, Signal.LOST: theme.VERMILLION}


def draw_hud(surface: pygame.Surface, fonts: theme.Fonts, scene: Scene) -> None:
    """Fill `surface`, a column of the window, with the cards."""
    surface.fill(theme.BACKGROUND)
    cards = card_rects(*surface.get_size())
    for rect in cards:
        theme.draw_card(surface, rect)
    session, driving, reward, training = (
        surface.subsurface(rect.inflate(-2 * _PAD, -2 * 11)) for rect in cards
    )
    _draw_session(session, fonts, scene)
    bundle = scene.bundle
    if bundle is not None:
        _draw_driving(driving, fonts, bundle)
        _draw_reward(reward, fonts, bundle)
        _draw_training(training, fonts, bundle, scene.age_s)


def card_rects(width: int, height: int) -> tuple[pygame.Rect, pygame.Rect, pygame.Rect, pygame.Rect]:
    """Session, driving, reward and training, from top to bottom; reward takes what the others leave."""
    reward_h = max(2 * _PAD + 4, height - _SESSION_H - _DRIVING_H - _TRAINING_H - 5 * _GAP)
    rects, top = [], _GAP
    for card_h in (_SESSION_H, _DRIVING_H, reward_h, _TRAINING_H):
        rects.append(pygame.Rect(0, top, width - _GAP, card_h))
        top += card_h + _GAP
    session, driving, reward, training = rects
    return session, driving, reward, training


def signed_share(value: float) -> float:
    """How much of a half bar a reward term fills, in [-1, 1]; logarithmic, so that small terms show."""
    if math.isnan(value):
        return 0.0
    size = math.log1p(abs(value) / _REWARD_SMALLEST) / math.log1p(_REWARD_LARGEST / _REWARD_SMALLEST)
    return math.copysign(min(1.0, size), value)


def _draw_session(card: pygame.Surface, fonts: theme.Fonts, scene: Scene) -> None:
    width = card.get_width()
    name, colour = scene.signal.name.lower(), _SIGNAL_COLOURS[scene.signal]
    state = theme.draw_text(card, fonts.label, name, (width, 3), colour, "right")
    theme.fill_disc(card, (state.left - 10, state.centery), 4, colour)
    theme.draw_text(card, fonts.title, scene.session.session, (0, 0), width_max=state.left - 24)
    bundle = scene.bundle
    _draw_row(card, fonts, 25, "server", bundle.server if bundle else "–")
    _draw_row(card, fonts, 45, "map", bundle.map.rpartition("/")[2] if bundle else "–")


def _draw_driving(card: pygame.Surface, fonts: theme.Fonts, bundle: Bundle) -> None:
    speed_mps = bundle.ego.speed_mps if bundle.ego is not None else math.nan
    figure = f"{speed_mps * 3.6:.0f}" if math.isfinite(speed_mps) else "–"
    box = theme.draw_text(card, fonts.figure, figure, (0, -6))
    theme.draw_text(card, fonts.body, "km/h", (box.right + 7, 17), theme.MUTED)
    control = bundle.control or Control(0.0, 0.0, 0.0)
    gear = "reverse" if control.reverse else f"{speed_mps:.1f} m/s"
    theme.draw_text(card, fonts.body, gear, (card.get_width(), 17), theme.MUTED, "right")
    steer = _bar_row(card, fonts, 50, "steer", _signed(control.steer, 2))
    _draw_signed(card, steer, control.steer, theme.YELLOW, theme.YELLOW)
    for y, label, value, colour in (
        (77, "throttle", control.throttle, theme.SKY),
        (104, "brake", control.brake, theme.VERMILLION),
    ):
        _draw_share(card, _bar_row(card, fonts, y, label, f"{value:.2f}"), value, colour)


def _draw_reward(card: pygame.Surface, fonts: theme.Fonts, bundle: Bundle) -> None:
    width, height = card.get_size()
    theme.draw_text(card, fonts.label, "REWARD", (0, 0), theme.MUTED)
    total = f"this step {_signed(sum(bundle.reward_terms.values()), 2)}"
    theme.draw_text(card, fonts.label, total, (width, 0), theme.MUTED, "right")
    _draw_row(card, fonts, height - 18, "episode return", _signed(bundle.episode_return, 1))
    top, room = 24, height - 24 - 26
    shown, more = shown_terms(bundle.reward_terms, room // _TERM_H_MIN)
    row_h = min(_TERM_H_MAX, room // max(1, len(shown) + bool(more)))
    for row, (name, value) in enumerate(shown):
        _draw_term(card, fonts, top + row * row_h, name, value)
    if more:
        text = f"and {more} smaller"
        theme.draw_text(card, fonts.body, text, (0, top + len(shown) * row_h), theme.MUTED)


def shown_terms(terms: Mapping[str, float], rows: int) -> tuple[list[tuple[str, float]], int]:
    """The terms that fit into so many rows, in their order, and how many are left out: the smallest."""
    if len(terms) <= rows:
        return list(terms.items()), 0
    largest = sorted(terms, key=lambda name: -abs(_cut(terms[name], -math.inf, math.inf)))[: max(0, rows - 1)]
    return [(name, value) for name, value in terms.items() if name in largest], len(terms) - len(largest)


def _draw_term(card: pygame.Surface, fonts: theme.Fonts, y: int, name: str, value: float) -> None:
    """A reward term: a bar to the right (gain) or to the left (loss) of the middle."""
    bar = _bar_row(card, fonts, y, name.replace("_", " "), _signed(value, 3))
    _draw_signed(card, bar, signed_share(value), theme.SKY, theme.VERMILLION)


def _draw_training(card: pygame.Surface, fonts: theme.Fonts, bundle: Bundle, age_s: float) -> None:
    success = bundle.success_rate
    text = "–" if success is None else f"{success:.0%}"
    _draw_share(card, _bar_row(card, fonts, 0, "success", text), success or 0.0, theme.GREEN)
    half = card.get_width() // 2
    columns = card.subsurface((0, 28, half - 10, 76)), card.subsurface((half + 10, 28, half - 10, 76))
    steps = "–" if bundle.steps_per_s is None else f"{bundle.steps_per_s:,.0f}"
    facts = (
        (("steps/s", steps), ("episode", f"{bundle.episode:,}"), ("tick", f"{bundle.tick:,}")),
        (("time", f"{bundle.sim_time_s:,.1f} s"), ("frame", f"{bundle.frame:,}"), ("age", _age(age_s))),
    )
    for column, rows in zip(columns, facts, strict=True):
        for row, (label, value) in enumerate(rows):
            _draw_row(column, fonts, row * 25, label, value)


def _draw_row(card: pygame.Surface, fonts: theme.Fonts, y: int, label: str, value: str) -> None:
    """A fact: its name to the left, its value to the right."""
    name = theme.draw_text(card, fonts.body, label, (0, y), theme.MUTED)
    width = card.get_width()
    theme.draw_text(card, fonts.body, value, (width, y), align="right", width_max=width - name.width - 8)


def _bar_row(card: pygame.Surface, fonts: theme.Fonts, y: int, label: str, value: str) -> pygame.Rect:
    """Name and value of something that a bar shows; returns the bar's place between them."""
    width = card.get_width()
    name_w, value_w = round(width * 0.39), 56
    theme.draw_text(card, fonts.body, label, (0, y), theme.MUTED, width_max=name_w - 6)
    theme.draw_text(card, fonts.body, value, (width, y), align="right")
    return pygame.Rect(name_w, y + 4, width - name_w - value_w, 9)


def _draw_share(card: pygame.Surface, bar: pygame.Rect, share: float, colour: theme.Colour) -> None:
    """A bar filled from the left; `share` is cut to [0, 1]."""
    theme.fill_rounded(card, bar, theme.TRACK, 4)
    filled = round(bar.width * _cut(share, 0.0, 1.0))
    if filled:
        theme.fill_rounded(card, pygame.Rect(bar.left, bar.top, max(9, filled), bar.height), colour, 4)


def _draw_signed(
    card: pygame.Surface, bar: pygame.Rect, share: float, gain: theme.Colour, loss: theme.Colour
) -> None:
    """A bar filled from its middle to the right or left; `share` is cut to [-1, 1]."""
    theme.fill_rounded(card, bar, theme.TRACK, 4)
    filled = round(bar.width / 2 * _cut(share, -1.0, 1.0))
    left = bar.centerx + min(0, filled)
    theme.fill_rounded(
        card, pygame.Rect(left, bar.top, abs(filled), bar.height), gain if filled > 0 else loss, 3
    )
    card.fill(theme.MUTED, (bar.centerx - 1, bar.top - 2, 2, bar.height + 4))


def _age(age_s: float) -> str:
    return f"{age_s * 1000:.0f} ms" if age_s < 1 else f"{age_s:,.0f} s"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "\u2212")
    return text if text.strip("+\u22120.") else text[1:]


def _cut(value: float, low: float, high: float) -> float:
    return min(high, max(low, value)) if math.isfinite(value) else 0.0

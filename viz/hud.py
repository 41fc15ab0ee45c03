"""The numbers beside the picture: session, driving, reward and training, each on its own card."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pygame

from carlad.telemetry import Bundle, Control
from viz import theme
from viz.scene import Scene, Signal, session_name

_GAP = 10
_PAD_X, _PAD_Y = 14, 11
_SESSION_H, _DRIVING_H, _TRAINING_H = 84, 148, 158
_TERM_H_MIN, _TERM_H_MAX = 17, 30
_REWARD_SMALLEST, _REWARD_LARGEST = 0.01, 10.0  # a bar's logarithmic range: a step's progress, a collision
_SIGNAL_COLOURS = {
    Signal.WAITING: theme.YELLOW,
    Signal.LIVE: theme.SKY,
    Signal.LOST: theme.VERMILLION,
    Signal.FROZEN: theme.PURPLE,
    Signal.REPLAY: theme.GREEN,
}
_LIGHT_COLOURS = {"red": theme.VERMILLION, "yellow": theme.YELLOW, "green": theme.GREEN}


def draw_hud(surface: pygame.Surface, fonts: theme.Fonts, scene: Scene) -> None:
    """Fill `surface`, a column of the window, with the cards."""
    surface.fill(theme.BACKGROUND)
    cards = card_rects(*surface.get_size(), fonts.scale)
    for rect in cards:
        theme.draw_card(surface, rect, fonts.px(9))
    pad = -2 * fonts.px(_PAD_X), -2 * fonts.px(_PAD_Y)
    session, driving, reward, training = (
        Card(surface.subsurface(rect.inflate(*pad)), fonts) for rect in cards
    )
    _draw_session(session, scene)
    bundle = scene.bundle
    if bundle is not None:
        _draw_driving(driving, bundle)
        _draw_reward(reward, bundle)
        _draw_training(training, bundle, scene)


def card_rects(
    width: int, height: int, scale: float = 1.0
) -> tuple[pygame.Rect, pygame.Rect, pygame.Rect, pygame.Rect]:
    """Session, driving, reward and training, from top to bottom; reward takes what the others leave."""
    gap = round(_GAP * scale)
    fixed = [round(length * scale) for length in (_SESSION_H, _DRIVING_H, _TRAINING_H)]
    reward_h = max(round((2 * _PAD_Y + 4) * scale), height - sum(fixed) - 5 * gap)
    rects, top = [], gap
    for card_h in (*fixed[:2], reward_h, fixed[2]):
        rects.append(pygame.Rect(0, top, width - gap, card_h))
        top += card_h + gap
    session, driving, reward, training = rects
    return session, driving, reward, training


def signed_share(value: float) -> float:
    """How much of a half bar a reward term fills, in [-1, 1]; logarithmic, so that small terms show."""
    if math.isnan(value):
        return 0.0
    size = math.log1p(abs(value) / _REWARD_SMALLEST) / math.log1p(_REWARD_LARGEST / _REWARD_SMALLEST)
    return math.copysign(min(1.0, size), value)


def shown_terms(terms: Mapping[str, float], rows: int) -> tuple[list[tuple[str, float]], int]:
    """The terms that fit into so many rows, in their order, and how many are left out: the smallest."""
    if len(terms) <= rows:
        return list(terms.items()), 0
    largest = sorted(terms, key=lambda name: -abs(_cut(terms[name], -math.inf, math.inf)))[: max(0, rows - 1)]
    return [(name, value) for name, value in terms.items() if name in largest], len(terms) - len(largest)


class Card:
    """A card's inside: lengths are given for a scale of 100 %."""

    def __init__(self, surface: pygame.Surface, fonts: theme.Fonts) -> None:
        self.surface, self.fonts = surface, fonts
        self.width, self.height = (side / fonts.scale for side in surface.get_size())

    def part(self, left: float, top: float, width: float, height: float) -> Card:
        """A part of it, as far as it is there."""
        px = self.fonts.px
        rect = pygame.Rect(px(left), px(top), px(width), px(height)).clip(self.surface.get_rect())
        return Card(self.surface.subsurface(rect), self.fonts)

    def text(
        self,
        font: pygame.font.Font,
        text: str,
        at: tuple[float, float],
        colour: theme.Colour = theme.TEXT,
        align: theme.Align = "left",
        width_max: float | None = None,
    ) -> float:
        """One line, with its top at `at`; returns its width."""
        px, most = self.fonts.px, None if width_max is None else self.fonts.px(width_max)
        box = theme.draw_text(self.surface, font, text, (px(at[0]), px(at[1])), colour, align, most)
        return box.width / self.fonts.scale

    def row(self, y: float, label: str, value: str) -> None:
        """A fact: its name to the left, its value to the right."""
        body = self.fonts.body
        name = self.text(body, label, (0, y), theme.MUTED)
        self.text(body, value, (self.width, y), align="right", width_max=self.width - name - 8)

    def bar(self, y: float, label: str, value: str) -> pygame.Rect:
        """Name and value of something that a bar shows; returns the bar's place between them, in pixels."""
        name_w, value_w = self.width * 0.39, 56
        self.text(self.fonts.body, label, (0, y), theme.MUTED, width_max=name_w - 6)
        self.text(self.fonts.body, value, (self.width, y), align="right", width_max=value_w)
        px = self.fonts.px
        return pygame.Rect(px(name_w), px(y + 4), px(self.width - name_w - value_w), px(9))

    def share(self, bar: pygame.Rect, share: float, colour: theme.Colour) -> None:
        """Fill a bar from the left; `share` is cut to [0, 1]."""
        radius = bar.height // 2
        theme.fill_rounded(self.surface, bar, theme.TRACK, radius)
        filled = round(bar.width * _cut(share, 0.0, 1.0))
        if filled:
            rect = pygame.Rect(bar.left, bar.top, max(bar.height, filled), bar.height)
            theme.fill_rounded(self.surface, rect, colour, radius)

    def signed(self, bar: pygame.Rect, share: float, gain: theme.Colour, loss: theme.Colour) -> None:
        """Fill a bar from its middle to the right or left; `share` is cut to [-1, 1]."""
        theme.fill_rounded(self.surface, bar, theme.TRACK, bar.height // 2)
        filled = round(bar.width / 2 * _cut(share, -1.0, 1.0))
        rect = pygame.Rect(bar.centerx + min(0, filled), bar.top, abs(filled), bar.height)
        theme.fill_rounded(self.surface, rect, gain if filled > 0 else loss, bar.height // 3)
        self.surface.fill(theme.MUTED, (bar.centerx - 1, bar.top - 2, 2, bar.height + 4))

    def dot(self, x: float, y: float, radius: float, colour: theme.Colour) -> None:
        px = self.fonts.px
        theme.fill_disc(self.surface, (px(x), px(y)), px(radius), colour)


def _draw_session(card: Card, scene: Scene) -> None:
    name, colour = scene.signal.name.lower(), _SIGNAL_COLOURS[scene.signal]
    if scene.recorded_s is not None:
        name, colour = f"recording {scene.recorded_s:.0f} s", theme.VERMILLION
    width = card.text(card.fonts.label, name, (card.width, 3), colour, "right")
    card.dot(card.width - width - 10, 10, 4, colour)
    card.text(
        card.fonts.title, session_name(scene.session, scene.bundle), (0, 0), width_max=card.width - width - 24
    )
    bundle = scene.bundle
    card.row(25, "server", bundle.server if bundle else "–")
    card.row(45, "map", bundle.map.rpartition("/")[2] if bundle else "–")


def _draw_driving(card: Card, bundle: Bundle) -> None:
    speed_mps = bundle.ego.speed_mps if bundle.ego is not None else math.nan
    figure = f"{speed_mps * 3.6:.0f}" if math.isfinite(speed_mps) else "–"
    width = card.text(card.fonts.figure, figure, (0, -6))
    card.text(card.fonts.body, "km/h", (width + 7, 17), theme.MUTED)
    control = bundle.control or Control(0.0, 0.0, 0.0)
    width = card.text(card.fonts.body, gear_words(control), (card.width, 17), theme.MUTED, "right")
    _draw_lights(card, bundle, card.width - width - 12)
    steer = card.bar(50, "steer", _signed(control.steer, 2))
    card.signed(steer, control.steer, theme.YELLOW, theme.YELLOW)
    for y, label, value, colour in (
        (77, "throttle", control.throttle, theme.SKY),
        (104, "brake", control.brake, theme.VERMILLION),
    ):
        card.share(card.bar(y, label, f"{value:.2f}"), value, colour)


def _draw_lights(card: Card, bundle: Bundle, right: float) -> None:
    """The traffic light that the vehicle faces, as a dot with its word; above it the lamps that are lit."""
    ego = bundle.ego
    if ego is None:
        return
    if ego.light is not None:
        colour = _LIGHT_COLOURS.get(ego.light, theme.MUTED)
        width = card.text(card.fonts.label, ego.light, (right, 19), colour, "right")
        card.dot(right - width - 9, 26, 5, colour)
    if ego.lamps:
        words = ", ".join(lamp.replace("_", " ") for lamp in ego.lamps)
        card.text(card.fonts.label, words, (card.width, -2), theme.MUTED, "right", card.width / 2)


def gear_words(control: Control) -> str:
    """What gear the vehicle is in."""
    if control.reverse or control.gear == -1:
        return "reverse"
    if control.hand_brake:
        return "hand brake"
    return "drive" if control.gear is None else "neutral" if control.gear == 0 else f"gear {control.gear}"


def _draw_reward(card: Card, bundle: Bundle) -> None:
    card.text(card.fonts.label, "REWARD", (0, 0), theme.MUTED)
    total = f"this step {_signed(sum(bundle.reward_terms.values()), 2)}"
    card.text(card.fonts.label, total, (card.width, 0), theme.MUTED, "right", card.width - 64)
    card.row(card.height - 18, "episode return", _signed(bundle.episode_return, 1))
    top, room = 24.0, card.height - 24 - 26
    shown, more = shown_terms(bundle.reward_terms, int(room // _TERM_H_MIN))
    row_h = min(_TERM_H_MAX, room / max(1, len(shown) + bool(more)))
    for row, (name, value) in enumerate(shown):
        digits = 3 if abs(value) < 10 else 1
        bar = card.bar(top + row * row_h, name.replace("_", " "), _signed(value, digits))
        card.signed(bar, signed_share(value), theme.SKY, theme.VERMILLION)
    if more and row_h >= _TERM_H_MIN - 1:
        card.text(card.fonts.body, f"and {more} smaller", (0, top + len(shown) * row_h), theme.MUTED)


def _draw_training(card: Card, bundle: Bundle, scene: Scene) -> None:
    success = bundle.success_rate
    text = "–" if success is None else f"{_cut(success, 0.0, 1.0):.0%}"
    card.share(card.bar(0, "success", text), success or 0.0, theme.GREEN)
    name, share = _score(bundle)
    card.share(
        card.bar(27, name, "–" if share is None else f"{_cut(share, 0, 1):.0%}"), share or 0.0, theme.SKY
    )
    half = card.width / 2
    columns = card.part(0, 56, half - 10, 80), card.part(half + 10, 56, half - 10, 80)
    steps = "–" if bundle.steps_per_s is None else f"{bundle.steps_per_s:,.0f}"
    late = scene.latency_s if scene.signal is Signal.LIVE else scene.age_s
    facts = (
        (("steps/s", steps), ("episode", f"{bundle.episode:,}"), ("tick", f"{bundle.tick:,}")),
        (
            ("latency" if scene.signal is Signal.LIVE else "age", "–" if late is None else _age(late)),
            ("time", f"{bundle.sim_time_s:,.1f} s"),
            _step_or_frame(bundle),
        ),
    )
    for column, rows in zip(columns, facts, strict=True):
        for row, (label, value) in enumerate(rows):
            column.row(row * 25, label, value)


def _step_or_frame(bundle: Bundle) -> tuple[str, str]:
    """What a step takes where the environment tells that."""
    step_ms = bundle.timings_ms.get("step")
    return ("frame", f"{bundle.frame:,}") if step_ms is None else ("step", f"{step_ms:.1f} ms")


def _score(bundle: Bundle) -> tuple[str, float | None]:
    """The share of the route that is done, which every score begins with."""
    return "route", bundle.scores.get("route_completion")


def _age(age_s: float) -> str:
    return f"{age_s * 1000:.0f} ms" if age_s < 1 else f"{age_s:,.0f} s"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "\u2212")
    return text if text.strip("+\u22120.") else text[1:]


def _cut(value: float, low: float, high: float) -> float:
    return min(high, max(low, value)) if math.isfinite(value) else 0.0

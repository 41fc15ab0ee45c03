"""The bird's-eye view: lanes, route, actors and the ego vehicle, north up, drawn on a pygame Surface."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pygame

from carlad.telemetry import Actor, Bundle, Ego, Lanes, Light
from viz import theme
from viz.roads import RoadLayer
from viz.theme import Points
from viz.view import ViewFromWorld

_ROUTE_WIDTH_M = 1.1
_BOX_LENGTH_MIN_PX = 9.0
_IDS_SCALE_MIN = 4.0  # px/m; farther out the actors' numbers would only cover the streets
_STOP_LINE_M = 3.0
_LIGHT_COLOURS = {"red": theme.VERMILLION, "yellow": theme.YELLOW, "green": theme.GREEN}
_NUMBER_MAX = 1e6  # metres or degrees; what a diverged simulation sends is not drawn
_BODY = np.array(
    [(0.0, 0.2), (0.0, 0.8), (0.07, 1.0), (0.95, 1.0), (1.0, 0.87), (1.0, 0.13), (0.95, 0.0), (0.07, 0.0)]
)
_WINDSCREEN = np.array([(0.23, 0.12), (0.23, 0.88), (0.4, 0.82), (0.4, 0.18)])


def box_corners(x: float, y: float, yaw_deg: float, half_length_m: float, half_width_m: float) -> Points:
    """World corners (4, 2) of a box: front left, front right, rear right, rear left."""
    forward = np.array([math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))])
    right = np.array([-forward[1], forward[0]])
    signs = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)])
    axes = np.array([forward * half_length_m, right * half_width_m])
    corners: Points = np.array([x, y]) + signs @ axes
    return corners


class BirdsEye:
    """Draws one view of one tick."""

    def __init__(self) -> None:
        self._roads = RoadLayer()

    def draw(
        self,
        surface: pygame.Surface,
        fonts: theme.Fonts,
        view_from_world: ViewFromWorld,
        lanes: Lanes | None,
        bundle: Bundle | None,
    ) -> None:
        """Fill `surface` (as large as the view) with the picture."""
        surface.fill(theme.GROUND)
        if lanes is not None:
            self._roads.blit(surface, view_from_world, lanes)
        if bundle is not None:
            _draw_route(surface, view_from_world, bundle.route)
            for light in bundle.lights:
                _draw_light(surface, view_from_world, light)
            placed = [actor for actor in bundle.actors if _is_placed(actor)]
            for actor in placed:
                _draw_actor(surface, view_from_world, actor)
            if view_from_world.scale >= _IDS_SCALE_MIN:
                for actor in placed:
                    _draw_id(surface, fonts, view_from_world, actor)
            if bundle.ego is not None and _is_placed(bundle.ego):
                _draw_ego(surface, view_from_world, bundle.ego)
        _draw_ruler(surface, fonts, view_from_world.scale)


def _is_placed(body: Actor | Ego) -> bool:
    """Whether a body's numbers are some that a world could have; false for those that are not finite."""
    numbers = (body.x, body.y, body.yaw_deg, body.half_length_m, body.half_width_m)
    return all(abs(number) < _NUMBER_MAX for number in numbers)


def _draw_route(surface: pygame.Surface, view: ViewFromWorld, route: Sequence[tuple[float, float]]) -> None:
    """The way still ahead, with a ring at its end."""
    places = [(x, y) for x, y in route if abs(x) < _NUMBER_MAX and abs(y) < _NUMBER_MAX]
    if len(places) < 2:
        return
    points = view.points(places)
    width = max(3.0, _ROUTE_WIDTH_M * view.scale)
    theme.draw_stroke(surface, points, width, theme.ROUTE)
    theme.fill_disc(surface, points[-1], width, theme.GREEN)
    theme.fill_disc(surface, points[-1], width * 0.55, theme.ASPHALT)


def _draw_actor(surface: pygame.Surface, view: ViewFromWorld, actor: Actor) -> None:
    kind = actor.kind.split(".")[0]
    if kind == "walker":
        radius = max(3.0, max(actor.half_length_m, actor.half_width_m, 0.35) * view.scale)
        theme.fill_disc(surface, view.points([(actor.x, actor.y)])[0], radius, theme.YELLOW)
        return
    colour = theme.SKY if kind == "vehicle" else theme.PURPLE
    _draw_box(surface, view, actor, colour)


def _draw_id(surface: pygame.Surface, fonts: theme.Fonts, view: ViewFromWorld, actor: Actor) -> None:
    """The actor's number, beside it."""
    aside = max(actor.half_length_m, actor.half_width_m) * view.scale * 0.7 + fonts.px(4)
    x, y = view.points([(actor.x, actor.y)])[0]
    if theme.visible(surface, np.array([(x - 60, y - 60), (x + 60, y + 60)])):
        theme.draw_text(
            surface, fonts.label, str(actor.id), (x + aside, y - aside - fonts.px(8)), theme.MUTED
        )


def _draw_light(surface: pygame.Surface, view: ViewFromWorld, light: Light) -> None:
    """A bar across the lane where a traffic light's stop line is."""
    if not all(abs(number) < _NUMBER_MAX for number in (light.x, light.y, light.yaw_deg)):
        return
    colour = _LIGHT_COLOURS.get(light.state, theme.MUTED)
    bar = box_corners(light.x, light.y, light.yaw_deg, max(0.3, 2 / view.scale), _STOP_LINE_M / 2)
    theme.fill_polygon(surface, view.points(bar), colour)


def _draw_ego(surface: pygame.Surface, view: ViewFromWorld, ego: Ego) -> None:
    halo = max(14.0, (ego.half_length_m + 1.4) * view.scale)
    layer = pygame.Surface((2 * halo, 2 * halo), pygame.SRCALPHA)
    theme.fill_disc(layer, (halo, halo), halo - 1, theme.ORANGE)
    layer.set_alpha(38)
    centre = view.points([(ego.x, ego.y)])
    if theme.visible(surface, np.concatenate([centre - halo, centre + halo])):
        surface.blit(layer, centre[0] - halo)
    _draw_box(surface, view, ego, theme.ORANGE)


def _draw_box(surface: pygame.Surface, view: ViewFromWorld, body: Actor | Ego, colour: theme.Colour) -> None:
    """A box with cut corners and a dark windscreen towards its front; never too small to see."""
    grown = max(1.0, _BOX_LENGTH_MIN_PX / max(2 * body.half_length_m * view.scale, 1e-3))
    length, width = body.half_length_m * grown, body.half_width_m * grown
    world = box_corners(body.x, body.y, body.yaw_deg, length, width)
    theme.fill_polygon(surface, view.points(_shape(_BODY, world)), colour)
    theme.fill_polygon(surface, view.points(_shape(_WINDSCREEN, world)), theme.GROUND)


def _shape(outline: Points, corners: Points) -> Points:
    """World points (N, 2) of an outline in shares of a box: from front to rear, and from left to right."""
    front_left, front_right, _, rear_left = corners
    axes = np.array([rear_left - front_left, front_right - front_left])
    points: Points = front_left + outline @ axes
    return points


def _draw_ruler(surface: pygame.Surface, fonts: theme.Fonts, scale: float) -> None:
    """A bar of a round number of metres in the lower left corner."""
    metres = next((m for m in (1, 2, 5, 10, 20, 50, 100, 200) if m * scale >= fonts.px(60)), 500)
    left, bottom, width = (
        surface.get_width() - fonts.px(18),
        surface.get_height() - fonts.px(16),
        round(metres * scale),
    )
    left -= width
    for rect in ((left, bottom, width, 2), (left, bottom - 4, 2, 10), (left + width - 2, bottom - 4, 2, 10)):
        surface.fill(theme.MUTED, rect)
    theme.draw_text(
        surface, fonts.label, f"{metres} m", (left + width / 2, bottom - fonts.px(20)), theme.MUTED, "centre"
    )

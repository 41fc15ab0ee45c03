"""What vehicles touch and stand before, compiled: boxes, obstacles, stop boxes of traffic lights."""

from __future__ import annotations

from math import cos, floor, radians, sin, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from carlad.standin.motion import columns as c
from carlad.standin.motion.kernel import compiled
from carlad.wire.types import TrafficLightState

# Rows of boxes: middle (world, m), unit vector along the box, half sizes, radius of the circle around it.
BOX = 9
# Rows of bodies: middle of the box in the vehicle's frame, half sizes, 1 where it collides.
BODY = 7
# Rows of other bodies: such a box, 1 / mass (1/kg; 0 for what nothing can move), velocity in x and y (m/s),
# and how far it was pushed in x and y (m).
OTHER = 14
INVERSE_MASS, OTHER_VX, OTHER_VY, PUSHED_X, PUSHED_Y = 9, 10, 11, 12, 13
# Rows of stop boxes: unit vector along the lane, middle along and across it, half sizes, index of the light.
STOP_BOX = 7
GREEN = int(TrafficLightState.GREEN)  # what is shown to who stands before no light
BOX_HEADING = 0.7  # a vehicle heads along the lane: cosine of the angle between them
RESTITUTION = 0.1  # nearly inelastic, as car bodies are
CLEARANCE_M = 0.2  # what is lower passes under vehicles and their wheels roll over it

Table = npt.NDArray[np.float64]
Row = npt.NDArray[np.float64] | tuple[float, ...]


@compiled
def push_apart(state: Table, car: Table, bodies: Table, count: int, others: Table) -> Table:
    """Push apart what touches, one pair after the other, by one impulse along each contact's normal: float64
    (K, 4), both bodies of a pair and the impulse in x and y (N s) that the second one felt.

    Bodies are counted, vehicles first, then `others`, (M, OTHER), whose rows are changed.
    """
    a, b = np.empty(BOX), np.empty(BOX)
    pairs = touching_pairs(state, bodies, count, others)
    felt = np.empty((len(pairs), 4))
    size = 0
    for position in range(len(pairs)):
        first, second = pairs[position, 0], pairs[position, 1]
        inverse_a = _inverse_mass(state, car, count, others, first)
        inverse_b = _inverse_mass(state, car, count, others, second)
        inverse = inverse_a + inverse_b
        _box_of(state, bodies, count, others, first, a)
        _box_of(state, bodies, count, others, second, b)
        normal_x, normal_y, depth = contact(a, b)
        if depth == 0.0 or inverse == 0.0:
            continue
        a_x, a_y = _velocity(state, count, others, first)
        b_x, b_y = _velocity(state, count, others, second)
        closing = (a_x - b_x) * normal_x + (a_y - b_y) * normal_y
        impulse = max(0.0, (1.0 + RESTITUTION) * closing / inverse)
        back, on = inverse_a / inverse * depth, inverse_b / inverse * depth
        _push(state, count, others, first, -back, -impulse * inverse_a, normal_x, normal_y)
        _push(state, count, others, second, on, impulse * inverse_b, normal_x, normal_y)
        felt[size, 0], felt[size, 1] = first, second
        felt[size, 2], felt[size, 3] = impulse * normal_x, impulse * normal_y
        size += 1
    return felt[:size]


@compiled
def touching_pairs(state: Table, bodies: Table, count: int, others: Table) -> npt.NDArray[np.int64]:
    """Pairs of boxes that overlap, in their order: int64 (K, 2). What does not collide touches nothing."""
    everybody = count + len(others)
    box = np.empty((everybody, BOX))
    for row in range(count):
        _place(state[row], bodies[row], box[row])
    box[count:] = others[:, :BOX]
    order = np.argsort(box[:, 0] - box[:, 8])
    found = np.empty(16, np.int64)
    size = 0
    for position in range(len(order)):
        first = order[position]
        if box[first, 8] < 0.0:
            continue
        for follower in range(position + 1, len(order)):
            second = order[follower]
            if box[second, 0] - box[second, 8] > box[first, 0] + box[first, 8]:
                break
            if _overlap(box[first], box[second]):
                if size == len(found):
                    found = np.concatenate((found, found))
                found[size] = min(first, second) * everybody + max(first, second)
                size += 1
    pairs = np.empty((size, 2), np.int64)
    found = np.sort(found[:size])
    for position in range(size):
        pairs[position, 0], pairs[position, 1] = found[position] // everybody, found[position] % everybody
    return pairs


@compiled
def _inverse_mass(state: Table, car: Table, count: int, others: Table, body: int) -> float:
    """1/kg; 0 for what nothing can move."""
    if body >= count:
        return float(others[body - count, INVERSE_MASS])
    return float(1.0 / car[body, c.MASS] if state[body, c.SIMULATED] != 0.0 else 0.0)


@compiled
def _velocity(state: Table, count: int, others: Table, body: int) -> tuple[float, float]:
    """In x and y, m/s."""
    if body >= count:
        return others[body - count, OTHER_VX], others[body - count, OTHER_VY]
    return state[body, c.VX], state[body, c.VY]


@compiled
def _box_of(state: Table, bodies: Table, count: int, others: Table, body: int, box: Table) -> None:
    """A body's box where it is now."""
    if body >= count:
        box[:] = others[body - count, :BOX]
    else:
        _place(state[body], bodies[body], box)


@compiled
def _push(
    state: Table, count: int, others: Table, body: int,
    shift: float, change: float, normal_x: float, normal_y: float,
) -> None:  # fmt: skip
    """Move a body along a normal by `shift` (m), and change its velocity by `change` (m/s)."""
    if body < count:
        _shove(state[body], shift, change, normal_x, normal_y)
        return
    other = others[body - count]
    other[0] += shift * normal_x
    other[1] += shift * normal_y
    other[PUSHED_X] += shift * normal_x
    other[PUSHED_Y] += shift * normal_y
    other[OTHER_VX] += change * normal_x
    other[OTHER_VY] += change * normal_y


@compiled
def _shove(s: Table, shift: float, change: float, normal_x: float, normal_y: float) -> None:
    """As `_push`, a vehicle."""
    s[c.X] += shift * normal_x
    s[c.Y] += shift * normal_y
    s[c.VX] += change * normal_x
    s[c.VY] += change * normal_y
    s[c.FORWARD] = s[c.VX] * s[c.HEADING_X] + s[c.VY] * s[c.HEADING_Y]
    s[c.SIDEWAYS] = s[c.VY] * s[c.HEADING_X] - s[c.VX] * s[c.HEADING_Y]


@compiled
def meet_obstacles(
    state: Table,
    car: Table,
    bodies: Table,
    count: int,
    obstacles: Table,
    frame: Table,
    starts: npt.NDArray[np.int64],
    members: npt.NDArray[np.int64],
) -> Table:
    """Push vehicles out of obstacles that they are in: float64 (K, 4), vehicle, obstacle, and the impulse
    in x and y (N s) that the vehicle felt. A pair may come more than once.

    `obstacles` are boxes (M, BOX), the others say which is where, see obstacles.py.
    """
    box = np.empty(BOX)
    felt = np.empty((16, 4))
    size = 0
    rows, columns = int(frame[4]), int(frame[3])
    for row in range(count):
        if state[row, c.SIMULATED] == 0.0:
            continue
        _place(state[row], bodies[row], box)
        if box[8] < 0.0:
            continue
        first_x, last_x = _squares(box[0] - frame[0], box[8], frame[2], columns)
        first_y, last_y = _squares(box[1] - frame[1], box[8], frame[2], rows)
        for column in range(first_x, last_x + 1):
            for line in range(first_y, last_y + 1):
                square = column * rows + line
                for position in range(starts[square], starts[square + 1]):
                    other = members[position]
                    if not _near(box, obstacles[other]):
                        continue
                    normal_x, normal_y, depth = contact(box, obstacles[other])
                    if depth == 0.0:
                        continue
                    impulse = _bounce(state[row], car[row, c.MASS], normal_x, normal_y, depth)
                    _place(state[row], bodies[row], box)
                    if size == len(felt):
                        felt = np.concatenate((felt, felt))
                    felt[size, 0], felt[size, 1] = row, other
                    felt[size, 2], felt[size, 3] = -impulse * normal_x, -impulse * normal_y
                    size += 1
    return felt[:size]


@compiled
def _bounce(s: Table, mass: float, normal_x: float, normal_y: float, depth: float) -> float:
    """Take a vehicle out of what does not move, and its speed towards it: the impulse for that, N s."""
    closing = s[c.VX] * normal_x + s[c.VY] * normal_y
    change = max(0.0, (1.0 + RESTITUTION) * closing)
    _shove(s, -depth, -change, normal_x, normal_y)
    return float(change * mass)


@compiled
def _squares(middle: float, radius: float, side: float, count: int) -> tuple[int, int]:
    """The first and the last of a row of squares that a body reaches into; an empty span where none."""
    first = max(0.0, floor((middle - radius) / side))
    last = min(float(count - 1), floor((middle + radius) / side))
    return int(first), int(last)


@compiled
def _place(s: Table, body: Table, box: Table) -> None:
    """The box of a vehicle where it stands."""
    along_x, along_y = cos(radians(s[c.YAW])), sin(radians(s[c.YAW]))
    box[0] = s[c.X] + body[0] * along_x - body[1] * along_y
    box[1] = s[c.Y] + body[0] * along_y + body[1] * along_x
    box[2] = s[c.Z] + body[2] + 0.5 * CLEARANCE_M
    box[3], box[4] = along_x, along_y
    box[5:7] = body[3:5]
    box[7] = body[5] - 0.5 * CLEARANCE_M
    box[8] = sqrt(body[3] * body[3] + body[4] * body[4]) if body[6] != 0.0 else -1.0


@compiled
def _near(a: Table, b: Table) -> bool:
    """Whether the circles around two boxes overlap; never where one of them does not collide."""
    dx, dy, reach = b[0] - a[0], b[1] - a[1], a[8] + b[8]
    return bool(a[8] >= 0.0 and b[8] >= 0.0 and dx * dx + dy * dy < reach * reach)


@compiled
def _overlap(a: Table, b: Table) -> bool:
    """Whether two boxes overlap."""
    return bool(_near(a, b) and contact(a, b)[2] > 0.0)


@compiled
def contact(a: Row, b: Row) -> tuple[float, float, float]:
    """The shortest way out of each other of two boxes, by the separating axis theorem: a unit vector in the
    ground plane that points from `a` to `b`, and the depth in metres, 0 where they are apart.
    """
    best_x, best_y, least = 0.0, 0.0, 0.0
    if abs(a[2] - b[2]) >= a[7] + b[7]:
        return best_x, best_y, least
    for number in range(4):
        box = a if number < 2 else b
        axis_x, axis_y = (box[3], box[4]) if number % 2 == 0 else (-box[4], box[3])
        distance = (b[0] - a[0]) * axis_x + (b[1] - a[1]) * axis_y
        depth = _reach(a, axis_x, axis_y) + _reach(b, axis_x, axis_y) - abs(distance)
        if depth <= 0.0:
            return 0.0, 0.0, 0.0
        if number == 0 or depth < least:
            side = 1.0 if distance >= 0.0 else -1.0
            best_x, best_y, least = side * axis_x, side * axis_y, depth
    return best_x, best_y, least


@compiled
def _reach(box: Row, axis_x: float, axis_y: float) -> float:
    """Half the box's shadow on an axis."""
    along = abs(box[3] * axis_x + box[4] * axis_y)
    across = abs(box[3] * axis_y - box[4] * axis_x)
    return float(box[5] * along + box[6] * across)


@compiled
def publish(
    state: Table,
    bodies: Table,
    count: int,
    stop_boxes: Table,
    lights: tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]],
    records: tuple[Any, ...],
    delta_s: float,
) -> None:
    """Write what a tick of `delta_s` seconds changes into the vehicles' records: kinematics, gear, and the
    light before which each stands. `lights` are the ids and states of all, `records` columns as records.py
    names them.

    The acceleration is what has become of the velocity since it was published last, by whatever means, as in
    CARLA's WorldObserver.cpp (0.9.16).
    """
    kinematics, gear, is_at_light, light_id, light_state = records
    for row in range(count):
        for axis in range(3):
            velocity = state[row, c.VX + axis]
            state[row, c.AX + axis] = (velocity - state[row, c.SHOWN_VX + axis]) / delta_s
            state[row, c.SHOWN_VX + axis] = velocity
        for column in range(c.KINEMATICS):
            kinematics[row, column] = state[row, column]
        gear[row] = int(state[row, c.GEAR])
        light = _light_before(state[row], bodies[row, 3], stop_boxes)
        is_at_light[row] = light >= 0
        light_id[row] = lights[0][light] if light >= 0 else 0
        light_state[row] = lights[1][light] if light >= 0 else GREEN


@compiled
def _light_before(s: Table, half_length: float, stop_boxes: Table) -> int:
    """Index of the light before which a vehicle stands, or -1."""
    heading_x, heading_y = s[c.HEADING_X], s[c.HEADING_Y]
    front_x, front_y = s[c.X] + heading_x * half_length, s[c.Y] + heading_y * half_length
    for number in range(len(stop_boxes)):
        b = stop_boxes[number]
        if (
            abs(front_x * b[0] + front_y * b[1] - b[2]) < b[4]
            and abs(front_y * b[0] - front_x * b[1] - b[3]) < b[5]
            and heading_x * b[0] + heading_y * b[1] > BOX_HEADING
        ):
            return int(b[6])
    return -1


@compiled
def cells_entered(state: Table, count: int, size: Table) -> npt.NDArray[np.int64]:
    """Note for the vehicles that have left their cell of the ground in which one they are now: int64 (K, 4),
    row and cell. `size` is float64 (3,), m.
    """
    found = np.empty((count, 4), np.int64)
    moved = 0
    for row in range(count):
        left = False
        for axis in range(3):
            cell = floor(state[row, c.X + axis] / size[axis])
            left = left or cell != state[row, c.CELL + axis]
            found[moved, 1 + axis] = cell
        if left:
            found[moved, 0] = row
            state[row, c.CELL : c.CELLS_END] = found[moved, 1:]
            moved += 1
    return found[:moved]

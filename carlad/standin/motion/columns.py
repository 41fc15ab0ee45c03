"""Where each number of a vehicle stands in its rows of the tables `state` and `car`: both float64 (N, ...).

Metres, seconds, kilograms, newtons; world frame as CARLA's, body frame x forward, y to the right. Angles are
radians unless they are among the kinematics.
"""

from __future__ import annotations

# --- state: the kinematics of the wire's records, in their order and units (degrees, deg/s) ----------
X, Y, Z = 0, 1, 2
PITCH, YAW, ROLL = 3, 4, 5
VX, VY, VZ = 6, 7, 8
WX, WY, WZ = 9, 10, 11
AX, AY, AZ = 12, 13, 14
KINEMATICS = 15
# Unit vector of the heading in the ground plane.
HEADING_X, HEADING_Y = 15, 16
# Velocity forward and to the right (m/s) and yaw rate (rad/s) of the middle between the axles.
FORWARD, SIDEWAYS, TURNING = 17, 18, 19
# Gearbox: -1 reverse, 0 neutral; seconds left of a shift, negative since it ended; engine speed, 1/min.
GEAR, SHIFTING, RPM = 20, 21, 22
# Angle halfway between the front wheels; forces upon the car by drive, brakes and the tyres of each axle, N.
STEERED, DRIVE_N, BRAKE_N, FRONT_N, REAR_N = 23, 24, 25, 26, 27
# Controls: pedals in [0, 1], steer in [-1, 1], switches 0 or 1. With MANUAL the gear is GEAR_ASKED.
THROTTLE, BRAKE, STEER, HAND_BRAKE, REVERSE, MANUAL, GEAR_ASKED = 28, 29, 30, 31, 32, 33, 34
# What pushes during the next tick: force in the world frame, torque about the vertical.
FORCE_X, FORCE_Y, FORCE_Z, TORQUE = 35, 36, 37, 38
# A velocity in the body frame that is kept whatever the forces, while HELD is 1.
HELD, HELD_X, HELD_Y = 39, 40, 41
# The ground below: height = GROUND + SLOPE_X * x + SLOPE_Y * y.
GROUND, SLOPE_X, SLOPE_Y = 42, 43, 44
SIMULATED, GRAVITY = 45, 46  # whether physics move it; m/s^2
# Of the grid of world.py: the cell in which the ground was looked up last.
CELL, CELLS_END = 47, 50
# The velocity that was published last: three numbers.
SHOWN_VX = 50
STATE = 53

# --- car: what a physics control says, see physics.py ------------------------------------------------
MASS, INERTIA = 0, 1
FRONT_M, REAR_M = 2, 3  # from the centre of mass to the axles
STEER_MAX = 4  # of the inner front wheel
WHEEL_M = 5  # radius
BRAKE_MAX_N, HAND_BRAKE_MAX_N = 6, 7
GRIP, STIFFNESS = 8, 9  # friction coefficient; cornering stiffness by load, 1/rad
DRAG = 10  # air drag by the square of the speed, kg/m
RPM_MAX, ENGINE_INERTIA = 11, 12
DAMPING_FULL, DAMPING_CLOSED = 13, 14  # N m s: engine drag with full throttle, and without
SHIFT_S, FINAL_RATIO, GEARS, AUTOMATIC = 15, 16, 17, 18
TRACK = 19  # half the track by the wheelbase
# Curves at CURVE evenly spaced points: torque (N m) from 0 to RPM_MAX, steering (share of STEER_MAX) from
# 0 to STEERING_KMH; then for each gear its ratio and the shares of RPM_MAX at which to shift.
CURVE = 17
GEARS_MAX = 10
STEERING_KMH = 20
TORQUE_CURVE = 21
STEERING_CURVE = TORQUE_CURVE + CURVE
RATIO = STEERING_CURVE + CURVE
SHIFT_DOWN = RATIO + GEARS_MAX
SHIFT_UP = SHIFT_DOWN + GEARS_MAX
CAR = SHIFT_UP + GEARS_MAX

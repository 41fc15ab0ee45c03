"""How vehicles move: the compiled equations, what they are given, and what steers by speed instead of pedals.

Nothing here imports numba before the first vehicle: that takes longer than the server's start.
"""

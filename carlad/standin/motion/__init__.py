"""How vehicles move: the compiled equations, what they are given, and what steers by speed instead of pedals.

Importing `model` or `contacts` imports numba, which takes longer than a start: kernels.py does so when the
first vehicle comes.
"""

"""carlad: a pool of CARLA servers that reinforcement learning can rely on."""

__version__ = "0.1.0"

"""Env sessions: a Gymnasium environment in a process of its own, and the step messages that drive it.

`python -m carlad.session` is the host, `RemoteEnv` the client's end. The official carla client lives in the
host, so its aborts, time-outs and Python version stay there.
"""

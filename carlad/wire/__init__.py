"""CARLA 0.9.16's wire protocol without I/O: msgpack-rpc, streams, types and sensor bodies.

Shared by the raw RPC client of the daemon (`carlad.rpc`) and by the stand-in server. Everything here
takes bytes and returns values, or the other way round; sockets belong to the callers.

Distances are metres, angles degrees and the frame is Unreal's: x forward, y right, z up (left-handed),
a positive yaw turns clockwise seen from above.
"""

CARLA_VERSION = "0.9.16"

"""A raw CARLA client for probes: trio sockets over `carlad.wire`, without the `carla` package."""

from carlad.rpc.client import RpcClient, connect
from carlad.rpc.observer import WorldObserver, observe_world

__all__ = ["RpcClient", "WorldObserver", "connect", "observe_world"]

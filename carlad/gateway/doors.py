"""Every socket that clients reach the daemon by: a Unix socket, and TCP for those who have a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trio
import zmq

from carlad.config import DaemonSection, RemoteSection
from carlad.errors import ConfigError
from carlad.gateway.auth import Admitted, Doorkeeper, bind, cut_off
from carlad.gateway.endpoint import listening
from carlad.gateway.router import router_socket
from carlad.gateway.zmq_socket import ZmqSocket
from carlad.keys import KeyPair, read_pair
from carlad.log import get_logger
from carlad.messages import notices_endpoint

log = get_logger(__name__)

_REBIND_MAX_S = 3.0


class Doors:
    """`published` is for the notices. `admitted` and `doorkeeper`: None where nobody comes in by TCP."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        requests: ZmqSocket,
        published: zmq.Socket[bytes],
        admitted: Admitted | None = None,
        doorkeeper: Doorkeeper | None = None,
        by_tcp: tuple[tuple[zmq.Socket[bytes], str], ...] = (),
    ) -> None:
        self.context = context
        self.requests = requests
        self.published = published
        self.admitted = admitted
        self.doorkeeper = doorkeeper
        self._by_tcp = by_tcp

    async def reread_keys(self) -> None:
        """Whose key is not there any more is out. Raises ConfigError, and then nothing has changed."""
        if self.admitted is not None and self.admitted.reread():
            for socket, address in self._by_tcp:
                with trio.move_on_after(_REBIND_MAX_S) as patience:
                    await cut_off(socket, address)
                if patience.cancelled_caught:
                    log.error("door.closed", address=address, reason="its address was taken by somebody else")


@contextmanager
def open_doors(daemon: DaemonSection, remote: RemoteSection) -> Iterator[Doors]:
    """Until the end of the block, which removes what was made. Raises ConfigError."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    requests, published = router_socket(context), context.socket(zmq.PUB)
    with ExitStack() as stack:
        stack.callback(context.destroy)
        stack.enter_context(listening(requests, daemon.endpoint, daemon.group))
        stack.enter_context(listening(published, notices_endpoint(daemon.endpoint), daemon.group))
        if not remote.listen:
            yield Doors(context, ZmqSocket(requests), published)
            return
        pair, folder = _keys(Path(remote.keys_dir))
        admitted = Admitted(folder)
        doorkeeper = Doorkeeper(context, admitted)
        stack.callback(doorkeeper.close)
        by_tcp = tuple(
            place
            for address in remote.listen
            for place in ((requests, address), (published, notices_endpoint(address)))
        )
        for socket, address in by_tcp:
            bind(socket, address, pair)
        yield Doors(context, ZmqSocket(requests), published, admitted, doorkeeper, by_tcp)


def _keys(folder: Path) -> tuple[KeyPair, Path]:
    """The daemon's own pair, and the folder of its clients' keys."""
    try:
        return read_pair(folder / "server.key_secret"), folder / "clients"
    except ConfigError as error:
        raise ConfigError(
            f"remote.listen: {error}; TCP is open to those who have a key alone: `carlactl keygen --server`"
        ) from error

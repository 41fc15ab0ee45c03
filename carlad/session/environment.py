"""What an environment may offer to its host beyond Gymnasium's interface."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from carlad.telemetry import Frame, Lanes


class Server(NamedTuple):
    """A CARLA server as its lease names it; `map` is the one it runs, None where that is not known."""

    host: str
    rpc_port: int
    traffic_manager_port: int
    map: str | None = None


@runtime_checkable
class Attachable(Protocol):
    """An environment that is told its server after it was constructed, and connects then.

    Gymnasium constructs environments where none is wanted (AsyncVectorEnv makes one to look at its spaces),
    so a constructor must take neither a lease nor a connection.
    """

    def attach(self, server: Server) -> None:
        """Connect to the server. Raises RuntimeError if it does not answer."""


@runtime_checkable
class Watchable(Protocol):
    """An environment that viewers can look into."""

    def lanes(self) -> Lanes:
        """The geometry of the map that is loaded."""

    def frame_bundle(self, channels: frozenset[str]) -> Frame:
        """The last tick: of `channels` (see `carlad.telemetry.bundle`) what there is, the others may be left
        out. The host fills in what belongs to the session: its name, episode, return, rates."""


@runtime_checkable
class Showing(Protocol):
    """An environment that does something for viewers alone, where its configuration allows that."""

    @property
    def viewers_may(self) -> frozenset[str]:
        """ "pause", and the extra cameras ("view.chase", ...) that viewers may have it carry."""

    def show(self, views: frozenset[str]) -> None:
        """Carry these cameras, and no others, from the next tick on. Called between steps."""

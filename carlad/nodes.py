"""Several daemons, one on each node: a server is taken where there is room.

First each is asked how it stands, and those with a free server are tried, the best one first. Where none
has one, all are asked at once: the first to grant wins, and the requests to the others are withdrawn, or
what they granted meanwhile is given back. A loser that cannot be reached just then keeps a lease that nobody
renews.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from carlad.errors import CarladError, NoDaemonError, RequestError, WaitedInVainError
from carlad.messages import Granted, Queued, Status

if TYPE_CHECKING:
    from carlad.client import Client

# Asks one daemon for a server, for as long as it is worth waiting there.
Ask = Callable[["Client", float, Callable[[Queued], None] | None], Granted]


class Look(NamedTuple):
    """How a node stands: its status, or why there is none."""

    client: Client
    status: Status | None
    trouble: CarladError | None = None


def acquire(
    clients: Sequence[Client],
    map: str | None,
    wait_s: float,
    ask: Ask,
    on_queued: Callable[[Queued], None] | None = None,
) -> tuple[Client, Granted]:
    """The client whose daemon granted, and what it granted. Raises what the likeliest of them says."""
    if len(clients) == 1:
        return clients[0], ask(clients[0], wait_s, on_queued)
    looks = _look_around(clients)
    troubles = [look.trouble for look in looks if look.trouble is not None]
    for client in with_room(looks, map):
        outcome = _try(client, ask)
        if isinstance(outcome, Granted):
            return client, outcome
        troubles.append(outcome)
    reachable = [look.client for look in looks if look.status is not None]
    if reachable and wait_s > 0:
        return _race(reachable, wait_s, ask, on_queued)
    raise _likeliest(troubles or [_no_room()])


def choose(clients: Sequence[Client], map: str | None) -> Client:
    """For what is asked of one daemon: one with room, else the one where fewest wait for each of its servers.

    Raises what the likeliest of them says where none answers.
    """
    if len(clients) == 1:
        return clients[0]
    looks = _look_around(clients)
    queues = [(_queue(look.status), look.client) for look in looks if look.status is not None]
    if not queues:
        raise _likeliest([look.trouble for look in looks if look.trouble is not None])
    return (with_room(looks, map) or [min(queues, key=lambda queue: queue[0])[1]])[0]


def _queue(status: Status) -> float:
    return (status.waiting + 1) / len(status.slots) if status.slots else float("inf")


def with_room(looks: Sequence[Look], map: str | None) -> list[Client]:
    """The clients of nodes with a server that may be had now: those where it runs the map already come
    first, then those with more of them."""

    def rank(look: Look) -> tuple[int, int]:
        free = _free_maps(look)
        return (-sum(map in (None, running) for running in free), -len(free))

    return [look.client for look in sorted(looks, key=rank) if _free_maps(look)]


def _free_maps(look: Look) -> list[str | None]:
    """What the free servers of a node run; none while others wait for them."""
    if look.status is None or look.status.waiting:
        return []
    return [slot.map for slot in look.status.slots if slot.state == "READY" and not slot.draining]


def _look_around(clients: Sequence[Client]) -> list[Look]:
    def look(client: Client) -> Look:
        try:
            return Look(client, client.status())
        except CarladError as error:
            return Look(client, None, error)

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(look, clients))


def _try(client: Client, ask: Ask) -> Granted | CarladError:
    """Without waiting. Somebody may have been faster, or it has not that map."""
    try:
        return ask(client, 0.0, None)
    except (RequestError, NoDaemonError) as error:
        return error


def _race(
    clients: Sequence[Client], wait_s: float, ask: Ask, on_queued: Callable[[Queued], None] | None
) -> tuple[Client, Granted]:
    outcomes: queue.SimpleQueue[tuple[Client, Granted | BaseException]] = queue.SimpleQueue()

    def run(client: Client) -> None:
        try:
            outcomes.put((client, ask(client, wait_s, on_queued)))
        except BaseException as error:  # whatever it is, the one who waits must hear of it
            outcomes.put((client, error))

    with ExitStack() as stack:
        for client in clients:
            thread = threading.Thread(target=run, args=(client,), name=f"asks {client.endpoint}", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(client.give_up)
        winner, troubles = _first(outcomes, len(clients))
    _give_back(outcomes)
    if winner is None:
        raise _likeliest(troubles)
    return winner


def _first(
    outcomes: queue.SimpleQueue[tuple[Client, Granted | BaseException]], count: int
) -> tuple[tuple[Client, Granted] | None, list[CarladError]]:
    """The first grant, if there is any, and what was said instead."""
    troubles: list[CarladError] = []
    for _ in range(count):
        client, outcome = outcomes.get()
        if isinstance(outcome, Granted):
            return (client, outcome), troubles
        if not isinstance(outcome, CarladError):
            raise outcome
        troubles.append(outcome)
    return None, troubles


def _give_back(outcomes: queue.SimpleQueue[tuple[Client, Granted | BaseException]]) -> None:
    """What losers were granted before they heard that they had lost."""
    while not outcomes.empty():
        client, outcome = outcomes.get()
        if isinstance(outcome, Granted):
            with type(client)(client.endpoint) as another, suppress(NoDaemonError, RequestError):
                another.release(outcome.lease_id, outcome.token)  # that client has given up


def _likeliest(troubles: Sequence[CarladError]) -> CarladError:
    """Of several reasons the one that says most: that all is taken, then another refusal, then silence."""

    def rank(error: CarladError) -> int:
        return 0 if isinstance(error, WaitedInVainError) else 1 if isinstance(error, RequestError) else 2

    return min(troubles, key=rank)


def _no_room() -> WaitedInVainError:
    return WaitedInVainError("cannot lease: no server is free at any of the daemons", "waited-in-vain")

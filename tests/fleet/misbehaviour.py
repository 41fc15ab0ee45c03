"""Every misbehaviour of the stand-in, at a real daemon: what is seen of it, when, what its holder is told.

`CASES` is the table. `play` makes one happen and returns what came of it; whoever calls judges. Servers are
stand-ins behind shims, limits are the defaults but for what a case says.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

import carlad
from carlad.client import Client, Lease
from carlad.errors import ServerError
from carlad.messages import Notice, Restart
from carlad.rpc import connect
from carlad.wire import types as t
from tests.daemon_process import DaemonProcess, until

_PATIENCE_S = 120.0  # of who plays a case, on a machine that is busy with others
_ALL_LAYERS = 0xFFFF
_GOES_ON = frozenset({"slot.starting", "slot.backoff", "slot.quarantined", "slot.stopped"})


@dataclass
class Scene:
    """A daemon with two slots, and who holds a server, where somebody does. Times are of time.time()."""

    daemon: DaemonProcess
    client: Client
    lease: Lease | None = None
    slot: int = 0  # whose server misbehaves
    struck_at_s: float = 0.0
    told: list[tuple[float, str]] = field(default_factory=list)  # when, and why the server was lost
    replaced_at_s: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int:
        pid = self.client.status().slots[self.slot].pid
        assert pid is not None
        return pid

    def notices(self) -> list[Notice]:
        """Of the slot."""
        return [notice for notice in self.client.events().notices if notice.slot == self.slot]

    def first(self, *events: str, after_s: float = 0.0) -> Notice:
        """Waits for it."""
        found: list[Notice] = []

        def look() -> bool:
            found[:] = [one for one in self.notices() if one.event in events and one.at_unix_s >= after_s]
            return bool(found)

        until(look, _PATIENCE_S)
        return found[0]

    def signal(self, number: signal.Signals = signal.SIGUSR1) -> None:
        """SIGUSR1 is the stand-in's word to begin."""
        pid = self.pid
        self.struck_at_s = time.time()
        os.kill(pid, number)

    def ask(self, *questions: tuple[object, ...]) -> None:
        """As a holder's script does, which does not wait for long."""
        assert self.lease is not None
        self.struck_at_s = time.time()
        trio.run(_ask, self.lease.port, questions)

    def release(self) -> None:
        assert self.lease is not None
        self.struck_at_s = time.time()
        self.lease.release()


async def _ask(port: int, questions: tuple[tuple[str, object], ...]) -> None:
    with suppress(ServerError):
        async with connect("127.0.0.1", port) as rpc:
            for question in questions:
                with trio.move_on_after(2.0):
                    await rpc.call(*question)


Strike = Callable[[Scene], None]


@dataclass(frozen=True)
class Case:
    """`event` is how it shows, with `reason` (a pattern) and `cause`; `within` is the promise, for people.
    `held`: while somebody holds the server, who loses it where `lost`. `faults`: the stand-in's command line.
    `strike` None: it happens at the start."""

    what: str
    event: str
    within: str = ""
    reason: str = ""
    cause: str | None = None
    faults: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = ()
    held: bool = False
    lost: bool = False
    squatted: bool = False
    strike: Strike | None = None
    then: str = ""


@dataclass(frozen=True)
class Outcome:
    """Seconds after it happened; None: that did not come. `over_s`: nothing of the server is left."""

    reason: str
    cause: str | None
    seen_s: float
    told: str | None
    told_s: float | None
    replaced_s: float | None
    over_s: float | None
    lost: int  # servers
    left: tuple[int, ...]  # pids and ports after the daemon's end


# --- what is done


def _loads_a_map(scene: Scene) -> None:
    scene.ask(("load_new_episode", "Town02", True, _ALL_LAYERS))


def _loads_a_map_and_waits(scene: Scene) -> None:
    _loads_a_map(scene)
    time.sleep(5.0)
    scene.release()


def _ticks_by_hand(scene: Scene) -> None:
    still = t.EpisodeSettings(synchronous_mode=True, fixed_delta_seconds=(True, 0.05))
    scene.ask(("set_episode_settings", still))
    scene.signal()
    scene.ask(("tick_cue",))
    scene.release()


def _fills_memory(scene: Scene) -> None:
    """And gives it back when that was seen."""
    scene.signal()
    until(lambda: max(vitals.rss_bytes for vitals in scene.client.vitals().slots) > 600 << 20, _PATIENCE_S)
    scene.release()


def _writes_for_a_while(scene: Scene) -> None:
    time.sleep(5.0)
    scene.release()


def _is_restarted(scene: Scene) -> None:
    scene.struck_at_s = time.time()
    scene.client.operate(Restart(slot=scene.slot))


def _held(what: str, reason: str, within: str, *faults: str, **more: object) -> Case:
    """Its holder loses it and gets another."""
    return Case(what, "slot.lost", within, reason, faults=faults, held=True, lost=True, **more)  # type: ignore[arg-type]


_HUNG = r"hung: no answer to 3 probes in a row, 2 s each"
_ON_SIGNAL = "--fault-on-signal"
_SEGFAULT, _UNFIT = "segmentation fault", "not what it should be"
_BY_HAND = "it is restarted by hand"

CASES = (
    Case(
        "crashes at its start",
        "slot.lost",
        "50 ms",
        "was killed by SIGSEGV while it started: segmentation fault",
        cause=_SEGFAULT,
        faults=("--fault", "crash-at-start"),
        then="back-off, then quarantine; what several slots fail of is tried on one of them",
    ),
    _held(
        "crashes later",
        "was killed by SIGSEGV: segmentation fault",
        "50 ms",
        _ON_SIGNAL,
        "crash-after=0",
        cause=_SEGFAULT,
        strike=Scene.signal,
    ),
    _held(
        "crashes below a launcher that forks, as `CarlaUE4.sh` does",
        r"exited with status 139 \(SIGSEGV\): segmentation fault",
        "50 ms",
        "--fault",
        "fork",
        _ON_SIGNAL,
        "crash-after=0",
        cause=_SEGFAULT,
        strike=Scene.signal,
    ),
    _held(
        "crashes when its holder loads a map",
        "was killed by SIGSEGV: segmentation fault",
        "50 ms",
        "--fault",
        "crash-on-load",
        cause=_SEGFAULT,
        strike=_loads_a_map,
    ),
    _held(
        "is stopped (SIGSTOP)",
        _HUNG,
        "10 s",
        cause="hung",
        strike=lambda scene: scene.signal(signal.SIGSTOP),
    ),
    _held(
        "hangs, and SIGTERM does not end it",
        _HUNG,
        "10 s",
        _ON_SIGNAL,
        "hang-after=0",
        cause="hung",
        strike=Scene.signal,
    ),
    _held(
        "hangs in its game thread, and still tells its version",
        _HUNG,
        "10 s",
        _ON_SIGNAL,
        "hang-game-after=0",
        cause="hung",
        strike=Scene.signal,
    ),
    Case(
        "answers, but carries out no tick for its holder, in synchronous mode",
        "lease.released",
        faults=(_ON_SIGNAL, "stuck-tick-after=0"),
        held=True,
        strike=_ticks_by_hand,
        then="no fault: so does a world that its holder does not tick; his call's own time-out tells him, "
        "and the scrub heals or replaces it",
    ),
    Case(
        "answers, but does not tick while nobody holds it",
        "slot.lost",
        "two looks, from 10 s on",
        "it answers, but its world does not tick",
        cause=_UNFIT,
        faults=(_ON_SIGNAL, "mute-streams-after=0"),
        strike=Scene.signal,
    ),
    Case(
        "is never ready",
        "slot.lost",
        "`probe.start_max_s`, here 3 s",
        r"not ready 3 s after its start: a listener on port \d+ is missing",
        cause=_UNFIT,
        faults=("--fault", "never-ready"),
        config=(("probe", "start_max_s = 3"),),
        then="as when it crashes at its start",
    ),
    Case(
        "takes 4 s longer to start",
        "slot.ready",
        "as long as it takes",
        faults=("--fault", "slow-start=4"),
        then="no fault, up to `probe.start_max_s`; who waits for a server waits on",
    ),
    Case(
        "is of another version",
        "slot.lost",
        "its first answer",
        r"it is CARLA 0\.9\.15, carlad speaks to 0\.9\.16 only",
        cause=_UNFIT,
        faults=("--fault", "wrong-version=0.9.15"),
        then="quarantine at once: another start would be no better",
    ),
    Case(
        "would find a squatter on its port",
        "slot.ready",
        "before its start",
        squatted=True,
        then="it is started on other ports; the warning `ports.busy` names the squatter's pid",
    ),
    Case(
        "takes 4 s longer to load a map for its holder",
        "lease.released",
        faults=("--fault", "slow-load=4"),
        config=(("probe", "period_s = 0.2\ntimeout_s = 0.5"),),
        held=True,
        strike=_loads_a_map_and_waits,
        then="no fault; nor is a load that takes up to `probe.load_max_s`, as long as it computes or reads",
    ),
    Case(
        "leaks 100 MB a second",
        "slot.stopping",
        "it is given back",
        r"it is recycled: .*rss_max_mb",
        faults=(_ON_SIGNAL, "leak=100"),
        config=(("recycle", "rss_max_mb = 500\nperiod_s = 1"),),
        held=True,
        strike=_fills_memory,
        then="its holder is left alone; whoever comes next gets a new server",
    ),
    Case(
        "writes 100 MB a second to stderr",
        "lease.released",
        faults=("--fault", "stderr-flood=100"),
        held=True,
        strike=_writes_for_a_while,
        then="no fault: what exceeds 8 MiB/s is dropped and counted, and the disk's bound is kept",
    ),
    Case(
        "ignores SIGTERM",
        "slot.stopping",
        "at once",
        _BY_HAND,
        faults=("--fault", "ignore-sigterm"),
        strike=_is_restarted,
        then="SIGKILL after 1 s",
    ),
    Case(
        "ignores SIGTERM, and is a grandchild: its launcher does not",
        "slot.stopping",
        "at once",
        _BY_HAND,
        faults=("--fault", "fork", "--fault", "ignore-sigterm"),
        strike=_is_restarted,
        then="SIGKILL for the whole tree when the launcher has gone",
    ),
    Case(
        "ends with a crash (139) where it is asked to end",
        "slot.stopping",
        "at once",
        _BY_HAND,
        faults=("--fault", "crash-at-sigterm"),
        strike=_is_restarted,
        then="no crash: it was asked",
    ),
)


# --- one of them


def play(case: Case) -> Outcome:
    """Makes it happen, sees the daemon through, and looks at what is left of all after its end."""
    fleet = f"size = 2\nspares = 1\nextra_args = {json.dumps(case.faults)}"
    with tempfile.TemporaryDirectory(prefix="carlad-") as folder:
        daemon = DaemonProcess(Path(folder), {"fleet": fleet, **dict(case.config)}, {})
        try:
            with _squatter(daemon.ports[0] if case.squatted else None):
                daemon.start()
                with Client(daemon.endpoint) as client:
                    outcome = _happen(case, Scene(daemon, client))
                daemon.terminate()
            left = (*daemon.descendants(), *daemon.busy_ports())
        finally:
            daemon.close()
    return replace(outcome, left=left)


@contextmanager
def _squatter(port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    with closing(socket.create_server(("127.0.0.1", port))):
        yield


def _happen(case: Case, scene: Scene) -> Outcome:
    if case.held:
        until(lambda: all(slot.state == "READY" for slot in scene.client.status().slots), _PATIENCE_S)
        with carlad.lease(
            endpoint=scene.daemon.endpoint,
            replace=True,
            on_lost=lambda lease: scene.told.append((time.time(), str(lease.lost_reason))),
            on_replaced=lambda _lease: scene.replaced_at_s.append(time.time()),
        ) as scene.lease:
            scene.slot = scene.lease.slot
            return _strike(case, scene)
    if case.strike is not None:
        scene.first("slot.ready")
    else:
        scene.struck_at_s = scene.first("slot.starting").at_unix_s
    return _strike(case, scene)


def _strike(case: Case, scene: Scene) -> Outcome:
    if case.strike is not None:
        case.strike(scene)
    seen = scene.first(case.event, after_s=scene.struck_at_s)
    over = None
    if case.event in ("slot.lost", "slot.stopping"):
        over = scene.first(*_GOES_ON, after_s=seen.at_unix_s).at_unix_s
    if case.lost:
        until(lambda: bool(scene.told and scene.replaced_at_s), _PATIENCE_S)

    def after(at_s: float | None) -> float | None:
        return None if at_s is None else at_s - scene.struck_at_s

    return Outcome(
        reason=_warning(scene) if case.squatted else seen.reason or "",
        cause=seen.cause,
        seen_s=seen.at_unix_s - scene.struck_at_s,
        told=scene.told[0][1] if scene.told else None,
        told_s=after(scene.told[0][0] if scene.told else None),
        replaced_s=after(scene.replaced_at_s[0] if scene.replaced_at_s else None),
        over_s=after(over),
        lost=sum(notice.event == "slot.lost" for notice in scene.client.events().notices),
        left=(),
    )


def _warning(scene: Scene) -> str:
    """Of the daemon's log."""
    lines = scene.daemon.log.read_text().splitlines()
    return next((line.partition("ports.busy ")[2] for line in lines if "ports.busy" in line), "")

"""The public contract between the daemon and its clients: tagged, versioned structs over ZeroMQ.

A client's DEALER sends one frame, a msgpack `Request`; the daemon's ROUTER answers with one frame, a
msgpack `Reply` that carries the same `request_id`. An `Acquire` that has to wait is answered with
`Queued` first, once for each time that it is sent. Decoding is strict: an unknown field or tag is
refused with a reason. Requests are idempotent by `request_id`: one that is sent again, because its
reply was lost, gets the reply of the first. `Notice`s are published on `notices_endpoint(endpoint)`
as two frames: the event's name, to subscribe by its beginning, and the msgpack `Notice`.

Durations are seconds. Times of day never decide anything; `Notice.at_unix_s` is for people.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from carlad.spaces import Space

PROTOCOL_VERSION = 1
REQUEST_BYTES_MAX = 64 << 10
LOG_LINES_MAX = 10_000
WAIT_MAX_S = 86_400.0
PRIORITY_MAX = 9

# Everything that the daemon keeps of a request has a limit.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all messages."""


# --- what clients ask ------------------------------------------------------------------------------


class Holder(Message, frozen=True):
    """Who holds a lease. `pid` 0: the lease belongs to no process and lives as long as it is renewed.

    These are the holder's own words. Of a client on a Unix socket the daemon puts the kernel's in their
    place: `user`, `pid` (unless it is 0) and `started`, clock ticks from boot to the process's start.
    """

    user: Name
    host: Name
    program: Name
    pid: int = 0
    started: int = 0

    def __str__(self) -> str:
        process = f"[{self.pid}]" if self.pid else ""
        return f"{self.user}@{self.host} {self.program}{process}"


class StatusQuery(Message, frozen=True, tag=True):
    """Answered with `Status`."""


class Acquire(Message, frozen=True, tag=True, omit_defaults=True):
    """Answered with `Granted` or `Refused`, and before that with `Queued` where it has to wait.

    `map` None: any. `wait_s`: how long to queue for a server; a map's loading comes on top. `priority`: 0
    for most; each step is a head start in the queue. `replace`: if the server is lost, the holder wants
    another one with the same map and settings, which `ReplacementQuery` then answers with. `furnish` False:
    without the settings, as whoever comes to a server first finds it.
    """

    holder: Holder
    map: Name | None = None
    ttl_s: float | None = None
    wait_s: float = 0.0
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 0
    replace: bool = False
    furnish: bool = True


class Renew(Message, frozen=True, tag=True):
    """Answered with `Renewed` or `Refused`. `token` guards against renewing another's lease."""

    lease_id: Name
    token: int | None = None
    ttl_s: float | None = None


class Release(Message, frozen=True, tag=True):
    """Answered with `Released` or `Refused`."""

    lease_id: Name
    token: int | None = None


class Withdraw(Message, frozen=True, tag=True):
    """The `Acquire` with that request id is wanted no more: it leaves the queue, or what it got is
    released. Answered with `Withdrawn`, whatever there was."""

    request_id: Name


class ReplacementQuery(Message, frozen=True, tag=True):
    """What came of a lease. Answered with `Granted`: of itself while it lives, or of its replacement as soon
    as there is one, with `Queued` before; or with `Refused` where it ended and is not replaced."""

    lease_id: Name
    token: int | None = None


# A secret that only the session's client knows.
Key = Annotated[str, msgspec.Meta(max_length=128)]


class OpenSession(Message, frozen=True, tag=True):
    """A leased server and an env host on it. Answered with `SessionOpened` or `Refused`, and before that
    with `Queued` where it takes a while.

    `env`: a name of the daemon's `session.envs`; `config`: the environment's keyword arguments. The other
    terms are those of the lease, and the session lives for `ttl_s` from each renewal, too.
    """

    holder: Holder
    env: Name
    config: dict[str, Any] = {}
    map: Name | None = None
    ttl_s: float | None = None
    wait_s: float = 0.0


class RenewSession(Message, frozen=True, tag=True):
    """Answered with `SessionRenewed` or `Refused`."""

    session_id: Name
    key: Key


class RecoverSession(Message, frozen=True, tag=True):
    """Env host number `host` serves no more, as far as the client can see: it is ended if it still runs.

    Answered as `OpenSession`, when there is another, at once where there is already.
    """

    session_id: Name
    key: Key
    host: int
    cause: Annotated[str, msgspec.Meta(max_length=2000)] = "its client lost it"


class CloseSession(Message, frozen=True, tag=True):
    """Answered with `SessionClosed` or `Refused`. `key` None: the word of an
    operator, or of its owner."""

    session_id: Name
    key: Key | None = None


class SpacesQuery(Message, frozen=True, tag=True):
    """The spaces of an environment, without a server for it. Answered with `Spaces` or `Refused`."""

    env: Name
    config: dict[str, Any] = {}


class VitalsQuery(Message, frozen=True, tag=True):
    """Answered with `Vitals`."""


class LogsQuery(Message, frozen=True, tag=True):
    """The last `lines` lines of a slot's server, oldest first. Answered with `LogLines`.

    `after`: the `place` of an earlier answer, for the next lines that came behind it, at most `lines`.
    """

    slot: int
    lines: Annotated[int, msgspec.Meta(ge=1, le=LOG_LINES_MAX)] = 200
    after: Name | None = None


class EventsQuery(Message, frozen=True, tag=True):
    """What was published after notice number `after` of that `run`. Answered with `Events`.

    Each run of the daemon begins at number 1: with another run's name, or without one a number that was not
    reached yet, `after` counts as 0.
    """

    after: int = 0
    run: Annotated[str, msgspec.Meta(max_length=128)] = ""


class Drain(Message, frozen=True, tag=True):
    """The slot is not leased any more; its server ends as soon as nobody holds it, and none is started
    until `Undrain` or `Restart`. Answered with `Done`, as all of the operator's requests are."""

    slot: int


class Undrain(Message, frozen=True, tag=True):
    slot: int


class Restart(Message, frozen=True, tag=True):
    """Another server as soon as nobody holds this one; at once where none runs. Lifts a quarantine."""

    slot: int


class Quarantine(Message, frozen=True, tag=True):
    """The slot's server ends now, whoever holds it, and none is started until `Restart`."""

    slot: int
    why: Name = "by hand"


class Scale(Message, frozen=True, tag=True):
    """So many slots, until the daemon or its configuration is loaded anew. Surplus ones drain."""

    size: Annotated[int, msgspec.Meta(ge=0, le=512)]


class Shutdown(Message, frozen=True, tag=True):
    """Ends all servers and the daemon, as SIGTERM does. `now`: without waiting for those who hold one."""

    now: bool = False


class Reload(Message, frozen=True, tag=True):
    """Reads the configuration file again, as SIGHUP does. Answered with `Reloaded` or `Refused`."""


class Upgrade(Message, frozen=True, tag=True):
    """The daemon makes way for a newly started one, as at SIGUSR2; servers and leases go on."""


OperatorRequest = Drain | Undrain | Restart | Quarantine | Scale | Shutdown | Reload | Upgrade
SessionRequest = OpenSession | RenewSession | RecoverSession | CloseSession | SpacesQuery
LeaseRequest = Acquire | Renew | Release | Withdraw | ReplacementQuery
RequestBody = (
    LeaseRequest | SessionRequest | OperatorRequest | StatusQuery | VitalsQuery | LogsQuery | EventsQuery
)


class Request(Message, frozen=True):
    version: int
    request_id: Name
    body: RequestBody


# --- what the daemon answers -----------------------------------------------------------------------

RefusalCode = Literal[
    "bad-request",  # not a message of this protocol, or of another version
    "bad-ttl",  # not in (0, lease.ttl_max_s]
    "unknown-map",  # no server of the fleet has that map
    "waited-in-vain",  # no server came free within wait_s
    "over-quota",  # the user has as many servers as one may have
    "no-such-lease",  # ended, or never was
    "stale-token",  # the lease has another fencing token
    "no-such-session",  # ended, or never was
    "unknown-environment",  # not in session.envs
    "environment-refused",  # its constructor raised, by its configuration or a defect
    "session-failed",  # its env host or its servers fail again and again
    "no-such-slot",
    "bad-size",  # more slots than the daemon has ports for
    "forbidden",  # not from another machine, with that key
    "bad-config",  # the configuration file cannot be used; nothing has changed
    "withdrawn",  # by a `Withdraw`
    "overloaded",  # the daemon's queue is full, or an answer took too long
    "unavailable",  # the daemon cannot do it now: it cannot write its journal, or a part of it failed
    "stopping",  # the daemon is shutting down
]


class Refused(Message, frozen=True, tag=True):
    code: RefusalCode
    reason: str


class Queued(Message, frozen=True, tag=True):
    """Not the answer yet. `position` 1 is next; 0: a server is reserved and loads `loading`.

    `expected_wait_s`: judged by how long servers were held of late; None where nothing is known yet.
    """

    position: int
    waiting: int
    loading: str | None = None
    expected_wait_s: float | None = None


class Granted(Message, frozen=True, tag=True):
    """A server, exclusively, for `ttl_s` from now and from each renewal, and no longer than `ends_in_s`."""

    lease_id: str
    token: int
    slot: int
    host: str
    rpc_port: int
    streaming_port: int
    traffic_manager_port: int
    map: str
    ttl_s: float
    ends_in_s: float | None = None


class Renewed(Message, frozen=True, tag=True):
    """`ends_in_s` None: it may be renewed for ever."""

    lease_id: str
    token: int
    ttl_s: float
    ends_in_s: float | None = None


class Released(Message, frozen=True, tag=True):
    lease_id: str


class SessionOpened(Message, frozen=True, tag=True):
    """An environment that waits for its client at `steps`, which obeys who says `secret`.

    `host` counts the session's env hosts; of each one after the first, `cause` and `lost_server` say why the
    one before it is gone. `telemetry` stays the same. For a client on another machine both endpoints are
    tcp://KEY@*:PORT: `*` is the host by which it reached the daemon, KEY the daemon's public key.
    """

    session_id: str
    key: str
    host: int
    steps: str
    secret: str
    telemetry: str
    observation_space: Space
    action_space: Space
    server: str
    map: str
    ttl_s: float
    cause: str | None = None
    lost_server: str | None = None


class SessionRenewed(Message, frozen=True, tag=True):
    session_id: str
    ttl_s: float


class SessionClosed(Message, frozen=True, tag=True):
    session_id: str


class Spaces(Message, frozen=True, tag=True):
    observation_space: Space
    action_space: Space


class Withdrawn(Message, frozen=True, tag=True):
    request_id: str


class DaemonStatus(Message, frozen=True):
    pid: int
    version: str
    uptime_s: float


SlotState = Literal[
    "STOPPED", "STARTING", "READY", "LEASED", "SCRUBBING", "STOPPING", "BACKOFF", "QUARANTINED"
]


class SlotStatus(Message, frozen=True):
    """One slot. `pid` is the server's main process, None where none runs; `reason` says why it is
    not READY, or why its last incarnation ended. `draining`: it is not leased any more."""

    slot: int
    state: SlotState
    incarnation: int
    pid: int | None
    host: str
    rpc_port: int | None
    streaming_port: int | None
    traffic_manager_port: int | None
    map: str | None
    lease_id: str | None
    restarts: int
    reason: str | None
    draining: bool = False
    cause: str | None = None  # of its last loss: one of `fleet.autopsy.Cause`
    last_words: tuple[str, ...] = ()  # what the server that was lost wrote last, a few lines


class SlotVitals(Message, frozen=True):
    """What the server of a slot takes of the machine: of all its processes together, as last looked at.

    `cores`: CPU seconds a second between the last two looks. `answer_s`: of the newest probe's answer.
    `gpu_memory_bytes` None: there is no NVML, or nothing of it is known.
    """

    slot: int
    incarnation: int
    age_s: float
    processes: int
    rss_bytes: int
    cores: float
    fds: int
    threads: int
    answer_s: float | None = None
    gpu_memory_bytes: int | None = None
    log_bytes: int = 0


class Vitals(Message, frozen=True, tag=True):
    """Of the slots that have a server at present."""

    slots: tuple[SlotVitals, ...]


class LeaseStatus(Message, frozen=True):
    lease_id: str
    token: int
    slot: int
    holder: str
    expires_in_s: float


SessionState = Literal["PREPARING", "WAITING", "ATTACHING", "SERVING", "CLOSED"]


class SessionStatus(Message, frozen=True):
    """`host`: the number of its env host, from 1, and `pid` its process. `server`: host:port. `losses`: env
    hosts and servers that were replaced, the last one because of `reason`. `log`: its hosts' output.
    `remote_telemetry`: for viewers on other machines, written as in `SessionOpened`; None: they see none."""

    session_id: str
    state: SessionState
    env: str
    holder: str
    lease_id: str | None
    server: str | None
    host: int
    pid: int | None
    expires_in_s: float
    losses: int
    reason: str | None
    telemetry: str
    log: str
    remote_telemetry: str | None = None


class Status(Message, frozen=True, tag=True):
    """All at one moment: after notice number `notice` of that `run` of the daemon, and before the next one.
    Who follows the notices from there on misses nothing."""

    daemon: DaemonStatus
    slots: tuple[SlotStatus, ...]
    leases: tuple[LeaseStatus, ...]
    sessions: tuple[SessionStatus, ...] = ()
    waiting: int = 0
    notice: int = 0
    run: str = ""


class LogLines(Message, frozen=True, tag=True):
    """`place` is behind the last line that is ended; `unfinished`, if there is, follows it. `is_gap`: lines
    after the place that was asked for are gone already, by rotation."""

    slot: int
    lines: tuple[str, ...]
    place: str = ""
    unfinished: str | None = None
    is_gap: bool = False


class Notice(Message, frozen=True):
    """Something that happened. `event` says what, such as `slot.ready` or `lease.granted`. Every change of
    a slot's state, of a lease, a session or a key of the configuration has one. `run` names the run of the
    daemon whose `number`th notice it is."""

    number: int
    run: str
    at_unix_s: float
    event: str
    slot: int | None = None
    lease_id: str | None = None
    session_id: str | None = None
    reason: str | None = None
    cause: str | None = None  # of `slot.lost`: one of `fleet.autopsy.Cause`


class Done(Message, frozen=True, tag=True):
    """What the operator asked for is under way, or done; `says` what that means."""

    says: str


Applies = Literal["now", "to each server as it becomes free", "after carlactl upgrade"]


class Changed(Message, frozen=True):
    """A key of the configuration, such as `lease.ttl_s`; values are TOML."""

    key: str
    old: str
    new: str
    applies: Applies


class Reloaded(Message, frozen=True, tag=True):
    """Empty: the file says what it said before."""

    changes: tuple[Changed, ...]


class Events(Message, frozen=True, tag=True):
    """`oldest` is the number of the oldest notice still kept: more is lost where it exceeds after + 1."""

    notices: tuple[Notice, ...]
    oldest: int
    run: str


SessionReply = SessionOpened | SessionRenewed | SessionClosed | Spaces
LeaseReply = Queued | Granted | Renewed | Released | Withdrawn
ReplyBody = LeaseReply | SessionReply | Refused | Status | Vitals | LogLines | Events | Done | Reloaded


class Reply(Message, frozen=True):
    version: int
    request_id: str
    body: ReplyBody


def notices_endpoint(endpoint: str) -> str:
    """Where the notices of the daemon at `endpoint` are published: beside its socket, or the next port."""
    if endpoint.startswith("ipc://"):
        return f"{endpoint}.notices"
    address, _, port = endpoint.rpartition(":")
    return f"{address}:{int(port) + 1}"

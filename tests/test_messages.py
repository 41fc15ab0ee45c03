"""The public contract: what travels comes back as it was, and nothing else is let in."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.gateway.requests import UnreadableError, read
from carlad.messages import (
    LOG_LINES_MAX,
    PROTOCOL_VERSION,
    Acquire,
    Drain,
    EventsQuery,
    Holder,
    LogsQuery,
    Quarantine,
    Release,
    Reload,
    Renew,
    Request,
    Restart,
    Scale,
    Shutdown,
    StatusQuery,
    Undrain,
    Upgrade,
    Withdraw,
    notices_endpoint,
)

names = st.text(min_size=1, max_size=128)
whole = st.integers(-(2**63), 2**63 - 1)
seconds = st.none() | st.floats(allow_nan=False)
holders = st.builds(Holder, user=names, host=names, program=names, pid=whole)
bodies = st.one_of(
    st.builds(StatusQuery),
    st.builds(
        Acquire, holder=holders, map=st.none() | names, ttl_s=seconds, wait_s=st.floats(allow_nan=False)
    ),
    st.builds(Renew, lease_id=names, token=st.none() | whole, ttl_s=seconds),
    st.builds(Release, lease_id=names, token=st.none() | whole),
    st.builds(Withdraw, request_id=names),
    st.builds(LogsQuery, slot=whole, lines=st.integers(1, LOG_LINES_MAX)),
    st.builds(EventsQuery, after=whole),
    *(st.builds(order, slot=whole) for order in (Drain, Undrain, Restart)),
    st.builds(Quarantine, slot=whole, why=names),
    st.builds(Scale, size=st.integers(0, 512)),
    st.builds(Shutdown, now=st.booleans()),
    st.builds(Reload),
    st.builds(Upgrade),
)
requests = st.builds(Request, version=st.just(PROTOCOL_VERSION), request_id=names, body=bodies)


@settings(max_examples=100, deadline=None)
@given(requests)
def test_every_request_travels_unchanged(request: Request) -> None:
    assert read([msgspec.msgpack.encode(request)]) == request


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_have_one_kind_of_error(payload: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"^cannot "):
        read([payload])


@settings(max_examples=200, deadline=None)
@given(requests, st.integers(0, 10_000), st.integers(0, 255))
def test_a_request_with_one_byte_changed_is_read_or_refused(request: Request, at: int, byte: int) -> None:
    payload = bytearray(msgspec.msgpack.encode(request))
    payload[at % len(payload)] = byte
    with contextlib.suppress(UnreadableError):
        assert isinstance(read([bytes(payload)]), Request)


def test_notices_are_published_beside_the_control_socket() -> None:
    assert notices_endpoint("ipc:///run/carlad/control.sock") == "ipc:///run/carlad/control.sock.notices"
    assert notices_endpoint("tcp://10.0.0.1:7000") == "tcp://10.0.0.1:7001"


def test_a_holder_reads_as_who_and_where() -> None:
    holder = Holder(user="ann", host="box", program="train.py", pid=7)
    assert str(holder) == "ann@box train.py[7]"
    assert str(msgspec.structs.replace(holder, pid=0)) == "ann@box train.py"

"""The RPC dialect against bytes worked out by hand from the msgpack and msgpack-rpc specifications."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carlad.wire.errors import CallError, WireError
from carlad.wire.msgpackrpc import (
    MessageSplitter,
    RequestReader,
    Response,
    ResponseReader,
    answer,
    answer_bare,
    decode,
    failure,
    fault,
    refuse,
    request,
    result_of,
    unknown_call,
)

# [0, 1, "version", [[false]]]
VERSION_REQUEST = bytes.fromhex("94 00 01 a7") + b"version" + bytes.fromhex("91 91 c2")
# [1, 1, nil, [[1, "0.9.16"]]]
VERSION_ANSWER = bytes.fromhex("94 01 01 c0 91 92 01 a6") + b"0.9.16"
# [1, 7, nil, [[false]]]
VOID_ANSWER = bytes.fromhex("94 01 07 c0 91 91 c2")


def only_response(data: bytes) -> Response:
    (response,) = ResponseReader().receive(data)
    return response


def test_request_has_the_golden_bytes() -> None:
    assert request(1, "version", ()) == VERSION_REQUEST


def test_fire_and_forget_is_told_in_the_metadata() -> None:
    assert request(2, "x", (5,), fire_and_forget=True) == bytes.fromhex("94 00 02 a1 78 92 91 c3 05")


def test_answers_have_the_golden_bytes() -> None:
    assert answer(1, "0.9.16") == VERSION_ANSWER
    assert answer(7, None) == VOID_ANSWER
    assert answer_bare(3, [((1, 42),)]) == bytes.fromhex("94 01 03 c0 91 91 92 01 2a")


def test_refusals_have_the_golden_bytes() -> None:
    assert refuse(4, "no", void=False) == bytes.fromhex("94 01 04 c0 91 92 00 91 a2 6e 6f")
    assert refuse(4, "no", void=True) == bytes.fromhex("94 01 04 c0 91 92 c3 91 a2 6e 6f")


def test_unknown_call_is_an_error_of_rpclib_itself() -> None:
    (message,) = MessageSplitter().receive(unknown_call(9, "fly", 2))
    kind, msgid, error, result = msgpack.unpackb(message)
    assert (kind, msgid, result) == (1, 9, None)
    assert "'fly' with argument count 2" in error


@pytest.mark.parametrize("cut", range(1, len(VERSION_REQUEST)))
def test_request_split_at_any_byte_is_read_once(cut: int) -> None:
    reader = RequestReader()
    assert reader.receive(VERSION_REQUEST[:cut]) == []
    (received,) = reader.receive(VERSION_REQUEST[cut:])
    assert (received.msgid, received.name, bytes(received.arguments)) == (1, "version", b"\x91\x91\xc2")


def test_messages_that_arrive_together_are_read_in_order() -> None:
    stream = b"".join(request(k, f"call_{k}", (k, "x" * k)) for k in range(50))
    received = RequestReader().receive(stream)
    assert [item.name for item in received] == [f"call_{k}" for k in range(50)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_any_cutting_of_a_stream_gives_the_same_requests(sizes: list[int], cuts: list[int]) -> None:
    stream = b"".join(request(k, "call", (b"\xff" * size,)) for k, size in enumerate(sizes))
    reader, received, at = RequestReader(), [], 0
    while at < len(stream):
        step = cuts[at % len(cuts)]
        received += reader.receive(stream[at : at + step])
        at += step
    assert [len(decode(item.arguments, tuple[list[bool], bytes])[1]) for item in received] == sizes


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xc1",  # the one byte that msgpack never uses
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x93\x00\x01\xa1x",  # three fields, type 0
        b"\x94\x01\x01\xa1x\x90",  # a response where requests are expected
        b"\x94\x00\xa1x\x01\x90",  # name and id swapped
    ],
)
def test_garbage_is_an_error(garbage: bytes) -> None:
    with pytest.raises(WireError):
        RequestReader().receive(garbage)


def test_a_message_over_the_limit_is_an_error() -> None:
    splitter = MessageSplitter(bytes_max=1000)
    assert splitter.receive(msgpack.packb(b"x" * 900)) != []
    unfinished = msgpack.packb(b"x" * 5000)
    assert splitter.receive(unfinished[:600]) == []
    with pytest.raises(WireError):
        splitter.receive(unfinished[600:1200])


def test_notification_has_no_id() -> None:
    (received,) = RequestReader().receive(msgpack.packb([2, "note", [[True]]]))
    assert received.msgid is None
    assert received.name == "note"


def test_results_are_unwrapped() -> None:
    assert result_of(only_response(VERSION_ANSWER), str) == "0.9.16"
    assert result_of(only_response(VOID_ANSWER), None) is None
    assert result_of(only_response(answer_bare(1, [1, 2])), list[int], bare=True) == [1, 2]


@pytest.mark.parametrize(
    ("data", "value_type"),
    [
        (refuse(1, "why not", void=False), int),
        (refuse(1, "why not", void=True), None),
        (fault(1, "why not"), str),
    ],
)
def test_refusals_raise_with_the_servers_words(data: bytes, value_type: type | None) -> None:
    with pytest.raises(CallError, match="why not"):
        result_of(only_response(data), value_type)


def test_result_of_another_type_is_an_error() -> None:
    with pytest.raises(WireError):
        result_of(only_response(VERSION_ANSWER), int)


@pytest.mark.parametrize("value_type", [int, None])
@pytest.mark.parametrize("parts", [(), (0,), (True,), (1,)])  # no tag, or one and no value
def test_a_result_without_its_parts_is_an_error(parts: tuple[object, ...], value_type: type | None) -> None:
    with pytest.raises(WireError):
        result_of(only_response(answer_bare(1, (parts,))), value_type)


def test_text_that_is_not_utf8_keeps_its_readable_part() -> None:
    assert decode(b"\x92\xa3a\xffb\x01", tuple[str, int]) == ("a\ufffdb", 1)


def test_failure_nests_in_a_batch() -> None:
    assert failure("bad") == (0, ("bad",))
    assert failure("bad", void=True) == (True, ("bad",))

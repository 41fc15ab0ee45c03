"""Every transcript in transcripts/ is a server that somebody ran: carlad has to understand it.

One of a real CARLA is added by putting the file there that `carlactl doctor --server --transcript` wrote.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from carlad.checkup.transcript import FORMAT, Recorder, call_deviations, findings, load, save
from carlad.errors import ConfigError
from carlad.rpc import connect
from carlad.wire.msgpackrpc import Response, fault
from carlad.wire.sensors import HEADER_BYTES, read_header, read_world_snapshot
from tests.checkup.replay import replayed

TRANSCRIPTS = sorted(Path(__file__).with_name("transcripts").glob("*.json"))


@pytest.fixture(params=TRANSCRIPTS, ids=lambda path: path.stem)
def transcript(request):
    return load(request.param)


def test_every_answer_has_the_shape_that_the_wire_says(transcript):
    assert transcript.format == FORMAT
    assert findings(transcript) == ()


def test_the_client_understands_every_answer(transcript):
    async def ask_again():
        with trio.fail_after(30):
            async with replayed(transcript) as port, connect("127.0.0.1", port) as rpc:
                for asked in transcript.asked:
                    if asked.result is not None:
                        await rpc.call(asked.call, *asked.arguments)

    trio.run(ask_again)


def test_every_message_of_a_stream_can_be_read(transcript):
    import zlib

    assert {watched.stream for watched in transcript.watched} >= {"world observer", "sensor.camera.rgb"}
    for watched in transcript.watched:
        payload = zlib.decompress(watched.payload)
        assert len(payload) == watched.payload_bytes > HEADER_BYTES
        assert read_header(payload).frame > 0
        if watched.stream == "world observer":
            assert read_world_snapshot(payload).poses


def test_a_transcript_survives_its_file(tmp_path):
    recorder = Recorder()
    recorder.answered(
        "version", (), Response(1, None, msgspec.Raw(msgspec.msgpack.encode([[1, "0.9.16"]]))), 0.5
    )
    recorder.saw("world observer", b"x" * 100)
    save(recorder.transcript("0.1", "a server"), tmp_path / "one.json")
    assert load(tmp_path / "one.json") == recorder.transcript("0.1", "a server")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([[1, "0.9.16"]], ()),
        ([[0, ["episode not ready"]]], ("refused: episode not ready",)),
        ([[1, 16]], ("cannot be read: Expected `str`, got `int`",)),
        (7, ("cannot be read: Expected `array`, got `int`",)),
    ],
)
def test_an_answer_that_is_none_is_told_from_a_refusal(result, said):
    response = Response(1, None, msgspec.Raw(msgspec.msgpack.encode(result)))
    assert call_deviations("version", response) == said


def test_a_call_that_the_server_does_not_know_is_told():
    _kind, msgid, error, result = msgspec.msgpack.decode(fault(1, "no such function"))
    response = Response(msgid, error, msgspec.Raw(msgspec.msgpack.encode(result)))
    assert call_deviations("version", response) == ("refused: no such function",)


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_file_that_is_none_is_named(tmp_path, content):
    file = tmp_path / "no.json"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigError, match=f"cannot read the transcript {file}"):
        load(file)

"""Env sessions by command."""

from __future__ import annotations

import json

import pytest

import carlad
from carlad.errors import RequestError
from tests.cli.calling import carlactl
from tests.gateway.daemons import FakeDaemon


def test_sessions_are_a_table_for_people_and_json_for_programs(daemon: FakeDaemon) -> None:
    assert carlactl(daemon.endpoint, "sessions") == "there are no sessions\n"
    with carlad.session("quiet", wait_s=5.0, endpoint=daemon.endpoint) as env:
        assert env.opened.session_id in carlactl(daemon.endpoint, "sessions")
        (shown,) = json.loads(carlactl(daemon.endpoint, "sessions", "--json"))
        assert (shown["session_id"], shown["state"]) == (env.opened.session_id, "SERVING")


def test_a_session_is_closed_by_hand_and_its_client_is_told(daemon: FakeDaemon) -> None:
    with carlad.session("quiet", wait_s=5.0, endpoint=daemon.endpoint) as env:
        env.reset()
        session_id = env.opened.session_id
        assert session_id in carlactl(daemon.endpoint, "words", "sessions")
        assert carlactl(daemon.endpoint, "sessions", "close", session_id) == f"{session_id} is closed\n"
        shown = json.loads(carlactl(daemon.endpoint, "status", "--json"))
        assert (shown["sessions"], shown["leases"]) == ([], [])
        with pytest.raises(RequestError, match="it was closed"):
            env.step(env.action_space.sample())
        said = carlactl(daemon.endpoint, "sessions", "close", session_id, code=1)
        assert said == f"carlactl: cannot close {session_id}: it was closed\n"


def test_a_session_that_never_was_is_not_closed(daemon: FakeDaemon) -> None:
    said = carlactl(daemon.endpoint, "sessions", "close", "session-0", code=1)
    assert "there is no such session" in said

"""The trainer's own PPO, as `python -m trainer train` runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from carlad.session.environment import Server
from carlad.session.members import Members, Phase
from carlad.session.sources import ChildSource
from tests.bench.peers.contender import POLICY, PPO
from tests.bench.peers.environments import ROUTE, SlowRoute
from trainer.config import decode
from trainer.drivers import Driver, Greedy
from trainer.learner import Learner
from trainer.sessions import ENVIRONMENT

_SLOW = f"{SlowRoute.__module__}:{SlowRoute.__qualname__}"
_REPLY_WITHIN_S = 600.0  # while the others have their turns, nobody looks whether these have answered


def hosted(servers: Sequence[Server], folder: Path, slow: int) -> Members:
    """An env host on each server, of which the first `slow` are slow; all of them are there."""
    sources = [
        ChildSource(
            _SLOW if i < slow else ENVIRONMENT, {"config": ROUTE}, server, f"env-{i}", folder / f"env-{i}.log"
        )
        for i, server in enumerate(servers)
    ]
    members = Members(sources, _REPLY_WITHIN_S)
    while Phase.OPENING in members.phases():
        members.events(0.1)
    return members


class Ours:
    """`trainer.ppo` over elastic collection."""

    def __init__(self, servers: Sequence[Server], slow: int, seed: int) -> None:
        """The first `slow` environments are slow."""
        self._folder = tempfile.TemporaryDirectory()
        self.members = hosted(servers, Path(self._folder.name), slow)
        table = {"train": {"seed": seed}, "env": ROUTE, "servers": {"sessions": len(servers)}}
        sections = {"ppo": msgspec.to_builtins(PPO), "policy": msgspec.to_builtins(POLICY)}
        spaces = self.members.spaces(60.0, _never)
        assert spaces is not None
        self._learner = Learner(decode({**table, **sections}), *spaces)
        self._rounds = self._learner.rounds(self.members)

    def learn(self) -> int:
        self._rounds.collect(_never)
        self._rounds.learn(0.0)
        return self._rounds.player.steps

    def driver(self) -> Driver:
        return Greedy(self._learner.policy)

    def close(self) -> None:
        self.members.close()
        self._folder.cleanup()


def _never() -> bool:
    return False

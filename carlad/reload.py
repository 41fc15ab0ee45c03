"""What another configuration changes while the daemon runs, and what it cannot. Pure."""

from __future__ import annotations

import json

import msgspec

from carlad.config import Config
from carlad.messages import Applies, Changed

# What a running server is made from: it is replaced. Everything else of its section is not about servers.
_SERVERS = ("fleet.", "docker.", "gpu.", "resources.", "logs.")
_LATER = ("fleet.open",)  # who holds the servers is settled when the daemon starts
_NOW = (
    "lease.",
    "session.",
    "probe.",
    "restart.",
    "recycle.",
    "fleet.size",
    "fleet.spares",
    "fleet.park_after_s",
    "daemon.drain_s",
)


def changes(old: Config, new: Config) -> tuple[Changed, ...]:
    """Key by key, in the order of the file."""
    before, after = _keys(old), _keys(new)
    return tuple(
        Changed(key=key, old=_toml(before[key]), new=_toml(after[key]), applies=applies(key))
        for key in after
        if before[key] != after[key]
    )


def applies(key: str) -> Applies:
    """When a change of `key` has its effect."""
    if key in _LATER:
        return "after carlactl upgrade"
    if key.startswith(_NOW):
        return "now"
    if key.startswith(_SERVERS):
        return "to each server as it becomes free"
    return "after carlactl upgrade"


def effective(old: Config, new: Config) -> Config:
    """`new`, but for the keys that only another daemon can obey."""
    kept: dict[str, dict[str, object]] = {}
    for changed in changes(old, new):
        if changed.applies == "after carlactl upgrade":
            section, _, key = changed.key.partition(".")
            kept.setdefault(section, {})[key] = getattr(getattr(old, section), key)
    sections = {name: msgspec.structs.replace(getattr(new, name), **keys) for name, keys in kept.items()}
    return msgspec.structs.replace(new, **sections)


def _keys(config: Config) -> dict[str, object]:
    """By full key; a table inside a section counts as one value."""
    return {
        f"{section}.{key}": value
        for section, keys in msgspec.to_builtins(config).items()
        for key, value in keys.items()
    }


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

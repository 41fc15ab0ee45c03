"""Errors by whose fault they are. Messages read "cannot X: why, with values", then what to do."""

from __future__ import annotations


class CarladError(Exception):
    """Base of all errors that carlad raises on purpose."""


class ConfigError(CarladError):
    """The operator's: a configuration that cannot be used. Nothing was started."""


class RequestError(CarladError):
    """The caller's: the daemon refused. `code` is one of `messages.RefusalCode`."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class WaitedInVainError(RequestError):
    """No server came free within the time that the caller gave, or none that the user's quota allows."""


class NoDaemonError(CarladError):
    """No daemon answers at the endpoint."""


class ServerError(CarladError):
    """The simulator's: it crashed, hung or answered something else than it should."""


class LeaseLostError(CarladError):
    """The lease ended before its holder released it."""


class GivenUpError(CarladError):
    """Another thread wanted the answer no more."""

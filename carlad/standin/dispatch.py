"""From a request to its handler, and from what came of it to the bytes of the answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from carlad.standin.errors import ActorError
from carlad.standin.handlers import CALLER_HANDLERS, HANDLERS
from carlad.wire import msgpackrpc
from carlad.wire.calls import BARE, CALLS
from carlad.wire.errors import CallError, WireError
from carlad.wire.msgpackrpc import Request

if TYPE_CHECKING:
    from carlad.standin.caller import Caller
    from carlad.standin.simulation import Simulation

log = logging.getLogger("carlad.standin")
_said: set[str] = set()  # what is logged once for each call
_SAID_MAX = 1000


class UnknownCallError(Exception):
    """CARLA 0.9.16 has no call of this name."""


def invoke(simulation: Simulation, caller: Caller, request: Request) -> Any:
    """What the handler returns: a result or a generator. Raises what `failed` turns into an answer."""
    call = CALLS.get(request.name)
    if call is None:
        raise UnknownCallError(request.name)
    arguments = call.decode_arguments(request.arguments)
    handler = HANDLERS.get(request.name)
    if handler is not None:
        return handler(simulation, *arguments)
    if request.name in CALLER_HANDLERS:
        return CALLER_HANDLERS[request.name](simulation, caller, *arguments)
    return None  # accepted only, see coverage.py


def succeeded(request: Request, result: Any) -> bytes:
    """The answer to a call that went well."""
    encode = msgpackrpc.answer_bare if request.name in BARE else msgpackrpc.answer
    return encode(request.msgid or 0, result)


def failed(request: Request, error: Exception) -> bytes:
    """The answer to a call that did not, whoever is to blame: the server stays up."""
    msgid, name = request.msgid or 0, request.name
    if isinstance(error, UnknownCallError):
        _say_once(name)
        return msgpackrpc.unknown_call(msgid, name, len(msgpackrpc.decode(request.arguments, list[Any])))
    if isinstance(error, WireError):
        return msgpackrpc.fault(msgid, f"rpclib: function '{name}' was called with unfit arguments: {error}")
    if isinstance(error, ActorError):
        return _refusal(msgid, name, error.during(name))
    if isinstance(error, CallError):
        return _refusal(msgid, name, str(error))
    log.error("call failed: %s", name, exc_info=error)
    return _refusal(msgid, name, f"internal error of the stand-in in {name}: {error!r}")


def _refusal(msgid: int, name: str, message: str) -> bytes:
    if name in BARE:
        return msgpackrpc.fault(msgid, message)
    return msgpackrpc.refuse(msgid, message, void=CALLS[name].result is None)


def _say_once(name: str) -> None:
    if name not in _said and len(_said) < _SAID_MAX:
        _said.add(name)
        log.warning("unknown call: %s", name[:100])

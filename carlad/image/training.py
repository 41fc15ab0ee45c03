"""`python -m carlad.image trainer`: a training in a container, with its TensorBoard beside it.

With START_CARLA_SERVER a daemon with servers of its own runs there, too, and ends with the training.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import trio

from carlad.errors import ServerError
from carlad.image.folders import Folders
from carlad.image.health import Health, look_at
from carlad.image.simulator import number, port_of
from carlad.image.trainer import Servers, command, environment, servers
from carlad.log import get_logger

log = get_logger(__name__)

TENSORBOARD_PORT = 6006
DATA = Path("data")  # below which each training has its logs for TensorBoard

_WAIT_S = 300.0  # a real server's start, and its image's
_LOOK_AGAIN_S = 1.0
_END_MAX_S = 30.0
_OWN_HOST = "127.0.0.1"


async def run(arguments: Sequence[str], environ: Mapping[str, str], folders: Folders) -> int:
    """The training's exit code. SIGTERM and SIGINT are told to it, so that it saves and ends.

    Raises ConfigError and ServerError.
    """
    chosen = servers(environ, folders)
    os.environ.update(chosen.variables)  # the client in this process finds its key there
    running: list[trio.Process] = []
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_forward, signals, running.copy, nursery.cancel_scope.cancel)
            async with _own_server(chosen, environ), _tensorboard(environ):
                await _until_serving(partial(look_at, chosen), number(environ, "CARLAD_WAIT_S", _WAIT_S))
                async with child(command(arguments, environ), environment(environ, chosen)) as trainer:
                    running.append(trainer)
                    code = await trainer.wait()
            nursery.cancel_scope.cancel()
            return exit_code(code)
    return exit_code(-signal.SIGTERM)  # told to end before the training had begun


def exit_code(code: int) -> int:
    """As shells have it, of a process that a signal ended."""
    return code if code >= 0 else 128 - code


@asynccontextmanager
async def child(argv: Sequence[str], environ: Mapping[str, str]) -> AsyncIterator[trio.Process]:
    """Told to end at the end of the block, and killed where it does not."""
    process = await trio.lowlevel.open_process(argv, env=dict(environ))
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.terminate()
                with trio.move_on_after(_END_MAX_S):
                    await process.wait()
            if process.poll() is None:
                process.kill()
                await process.wait()


async def _forward(
    signals: AsyncIterator[int], running: Callable[[], list[trio.Process]], give_up: Callable[[], None]
) -> None:
    async for told in signals:
        log.info("training.told", signal=signal.Signals(told).name)
        if not running():
            give_up()
        for process in running():
            process.send_signal(told)


async def _until_serving(look: Callable[[], Health], within_s: float) -> None:
    """Raises ServerError with what was seen last."""
    said = ""
    with trio.move_on_after(within_s):
        while not (health := await trio.to_thread.run_sync(look, abandon_on_cancel=True)).serving:
            if health.says != said:
                said = health.says
                log.info("training.waits", reason=said)
            await trio.sleep(_LOOK_AGAIN_S)
        return
    raise ServerError(
        f"cannot train: there was no server for {within_s:g} s: {said}; see the log of the servers' "
        "container, and CARLA_HOST and CARLAD_WAIT_S of this one"
    )


def _own_server(
    chosen: Servers, environ: Mapping[str, str]
) -> AbstractAsyncContextManager[trio.Process | None]:
    if not chosen.is_own:
        return nullcontext()
    log.info("training.server", port=port_of(environ))
    return child([sys.executable, "-m", "carlad.image", "server"], {**environ, "CARLAD_ADVERTISE": _OWN_HOST})


def _tensorboard(environ: Mapping[str, str]) -> AbstractAsyncContextManager[trio.Process | None]:
    """A training goes on without it."""
    if environ.get("TENSORBOARD_PORT") == "0":
        return nullcontext()
    port = port_of(environ, "TENSORBOARD_PORT", TENSORBOARD_PORT)
    argv = [sys.executable, "-m", "tensorboard.main", "--logdir", str(DATA)]
    return child([*argv, "--bind_all", "--port", str(port)], environ)

"""A tiny server that speaks enough CARLA for a supervisor, and misbehaves on demand.

Run as `python -m tests.fleet.fake_server -carla-rpc-port=N [options]`: a fraction of the stand-in's start
and memory, so that many of them fit on a small machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import time

from carlad.wire import CARLA_VERSION
from carlad.wire import types as t
from carlad.wire.calls import CALLS
from carlad.wire.msgpackrpc import RequestReader, answer, answer_bare, refuse, unknown_call
from carlad.wire.sensors import SensorType, episode_header, header
from carlad.wire.streaming import WORLD_STREAM, Token, frame_prefix

TICK_S = 0.02


class World:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rpc_port = options.rpc_port
        self.streaming_port = options.streaming_port or options.rpc_port + 1
        self.map = options.map
        self.episode_id = 1
        self.loading_until = 0.0
        self.settings = t.EpisodeSettings(synchronous_mode=options.synchronous)
        self.frame = 1
        self.is_stuck = False
        self.has_episode = options.no_episode_until is None
        self.ticked = asyncio.Event()
        self.watched = asyncio.Event()
        self.ballast = b""

    def tick(self) -> int:
        self.frame += not self.options.frozen
        self.ticked.set()
        self.ticked = asyncio.Event()
        return self.frame

    def is_silent_to(self, name: str) -> bool:
        """A tick that waits for ever holds up all else but leaving synchronous mode."""
        self.is_stuck |= self.options.stuck_tick and name == "tick_cue"
        return self.is_stuck and name not in ("version", "set_episode_settings")

    def set_settings(self, settings: t.EpisodeSettings) -> int:
        self.is_stuck &= settings.synchronous_mode
        self.settings = settings
        return self.frame

    def result(self, name: str, arguments: tuple) -> object:
        while time.monotonic() < self.loading_until and name not in ("version", "get_available_maps"):
            pass  # the game thread works
        token = Token(WORLD_STREAM, self.streaming_port).encode()
        if name == "tick_cue":
            return self.tick()
        self.watched.set()
        if name == "set_episode_settings":
            return self.set_settings(*arguments)
        if not CALLS[name].waits or name in ("reset_all_traffic_lights",):
            return None
        results = {
            "version": self.options.version,
            "get_available_maps": ["Carla/Maps/Town01", "Carla/Maps/Town02"],
            "get_episode_info": t.EpisodeInfo(self.episode_id, t.TokenBox(token)),
            "get_sensor_token": t.TokenBox(token),
            "get_episode_settings": self.settings,
            "get_map_info": t.MapInfo(f"Carla/Maps/{self.map}", []),
            "get_weather_parameters": t.WeatherParameters(),
            "get_imui_gravity": 9.81,
            "get_actors_by_id": [],
            "is_traffic_manager_running": False,
        }
        return results[name]

    def load(self, name: str) -> None:
        if self.options.crash_on_load:
            os.kill(os.getpid(), signal.SIGSEGV)
        self.map = name
        self.episode_id += 1
        self.loading_until = time.monotonic() + self.options.load_s


async def serve_rpc(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    requests = RequestReader()
    while data := await reader.read(65536):
        for request in requests.receive(data):
            if not world.is_silent_to(request.name):
                writer.write(respond(world, request))
    writer.close()


def respond(world: World, request) -> bytes:
    if request.name not in CALLS:
        return unknown_call(request.msgid, request.name, 0)
    world.has_episode |= request.name == world.options.no_episode_until
    if request.name == world.options.refuse or not world.has_episode:
        return refuse(request.msgid, "told to", void=CALLS[request.name].result is None)
    if request.name == world.options.hang_at:
        os.kill(os.getpid(), signal.SIGSTOP)
    if request.name == world.options.die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    arguments = CALLS[request.name].decode_arguments(request.arguments)
    if request.name == "load_new_episode":
        if arguments[0] not in ("Town01", "Town02"):
            return refuse(request.msgid, f"Map '{arguments[0]}' not found", void=True)
        world.load(arguments[0])
        return answer(request.msgid, None)
    if request.name == "apply_batch":
        return answer_bare(request.msgid, [])
    return answer(request.msgid, world.result(request.name, arguments))


async def serve_stream(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(4)
    try:
        while not reader.at_eof():
            payload = header(SensorType.WORLD_OBSERVER, world.frame, world.frame * TICK_S, None)
            payload += episode_header(world.episode_id, 0.0, TICK_S, 0)
            writer.write(frame_prefix(len(payload)) + payload)
            await writer.drain()
            await world.ticked.wait()
    except ConnectionError:
        pass
    writer.close()


async def tick(world: World) -> None:
    """The clock of asynchronous mode."""
    until = asyncio.get_running_loop().time() + world.options.freezes_after
    while True:
        await asyncio.sleep(TICK_S)
        if asyncio.get_running_loop().time() < until and not world.settings.synchronous_mode:
            world.tick()


async def serve(options: argparse.Namespace) -> None:
    world = World(options)
    await asyncio.start_server(lambda r, w: serve_rpc(world, r, w), options.host, world.rpc_port)
    await asyncio.start_server(lambda r, w: serve_stream(world, r, w), options.host, world.streaming_port)
    if options.grow_mb:
        asyncio.get_running_loop().create_task(grow(world, options.grow_mb))
    os.write(1, f"ready {world.rpc_port} {world.streaming_port}\n".encode())  # in one piece
    await tick(world)


async def grow(world: World, mb: int) -> None:
    """Once somebody watches it."""
    await world.watched.wait()
    world.ballast = b"x" * (mb << 20)


def fork_like_a_launcher() -> None:
    """The parent waits as CarlaUE4.sh does: it forwards no signal and is not the server."""
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _pid, status = os.waitpid(child, 0)
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
    os.setsid()


def flood() -> None:
    """Fills stderr in a process of its own as fast as it is read."""
    if os.fork() == 0:
        chunk = b"".join(b"LogSpam: Error: %06d %s\n" % (n, b"x" * 80) for n in range(1000))
        while True:
            os.write(2, chunk)


def count() -> None:
    """Writes numbered lines in a process of its own, about a thousand a second."""
    if os.fork() == 0:
        number = 0
        while True:
            os.write(1, b"count %d\n" % number)
            number += 1
            time.sleep(0.001)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("-carla-rpc-port", dest="rpc_port", type=int, required=True)
    parser.add_argument("-carla-streaming-port", dest="streaming_port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--version", default=CARLA_VERSION)
    parser.add_argument("--map", default="Town01")
    parser.add_argument("--load-s", type=float, default=0.0)
    for flag in (
        "ignore-sigterm",
        "never-ready",
        "frozen",
        "synchronous",
        "fork",
        "crash-on-load",
        "stuck-tick",
    ):
        parser.add_argument(f"--{flag}", action="store_true")
    for flag in ("flood", "count"):
        parser.add_argument(f"--{flag}", action="store_true")
    for call in ("refuse", "hang-at", "die-at", "no-episode-until"):
        parser.add_argument(f"--{call}", default=None)
    parser.add_argument("--freezes-after", type=float, default=float("inf"))
    parser.add_argument("--grow-mb", type=int, default=0)
    parser.add_argument("--exit", type=int, default=None)
    parser.add_argument("--hold-port", action="store_true")
    return parser.parse_known_args(argv)[0]  # the rest concerns Unreal


def main() -> None:
    options = parse(sys.argv[1:])
    if options.exit is not None:
        print("cannot start: told to", file=sys.stderr)
        sys.exit(options.exit)
    if options.fork:
        fork_like_a_launcher()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.ignore_sigterm else signal.SIG_DFL)
    if options.flood:
        flood()
    if options.count:
        count()
    if options.never_ready:
        time.sleep(3600)
    if options.hold_port:
        with socket.create_server(("127.0.0.1", options.rpc_port)):
            time.sleep(3600)
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast messages to a group reach WebSockets, as JSON. Runs in the portal's own Python, as root.

One process holds the sockets at the portal's consumer /ws/app-lifecycle/<word>/. Another, run by the portal's user with
the portal's own settings, sends to their group. First single messages, for the time that one takes; then always
so many on their way at once, for what gets through. The next message is only sent when one has reached every socket, so
that no capacity is exceeded, and one that has not within a time limit is counted as lost.

The frames are read with a few lines of code here, since a full WebSocket client would be the slowest part. With --bare
nothing but a small asyncio server stands at the other end, in the sender's process: what this program can do at most.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

LOST_SECONDS = 3.0
CLOSE, PING, PONG, TEXT = 8, 9, 10, 1


def percentile(ordered: list[float], share: float) -> float:
    """The value below which that share of them lies; they come in order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def frames(buffer: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a server in a buffer, as operation and payload, and what is left of it."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while len(buffer) - at >= 2:
        size, start = buffer[at + 1] & 127, at + 2
        if size == 126:
            size, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(buffer[start : start + 8], "big"), start + 8
        # A header that is not all there yet reads as too short a size, and still ends behind the buffer.
        if start + size > len(buffer):
            break
        found.append((buffer[at] & 15, buffer[start : start + size]))
        at = start + size
    return found, buffer[at:]


def frame(operation: int, payload: bytes, masked: bool = False) -> bytes:
    """One short frame; a client's are masked, here with nothing."""
    return bytes([128 | operation, len(payload) | (128 if masked else 0)]) + (bytes(4) if masked else b"") + payload


def handshake(host: str, word: str) -> bytes:
    """The request that opens a WebSocket in that word's group."""
    lines = [
        f"GET /ws/app-lifecycle/{word}/ HTTP/1.1",
        f"Host: {host}",
        f"Origin: http://{host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Socket(asyncio.Protocol):
    """One WebSocket; hands each message to a function, with the time at which it was read."""

    def __init__(self, request: bytes, heard: Callable[[bytes, float], None]) -> None:
        self.request, self.heard = request, heard
        self.buffer = b""
        self.open = False
        self.lost = False
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.buffer += data
        if not self.open:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self.open, self.buffer = True, rest
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.answered.set_exception(ConnectionError(head.split(b"\r\n")[0].decode("latin-1")))
                return
            self.answered.set_result(None)
        found, self.buffer = frames(self.buffer)
        for operation, payload in found:
            if operation == TEXT:
                self.heard(payload, now)
            elif operation == PING:
                self.transport.write(frame(PONG, payload, masked=True))
            elif operation == CLOSE:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.answered.done():
            self.answered.set_exception(ConnectionError("closed before it was open"))


class Load:
    """The sockets and the messages on their way to them."""

    def __init__(self, clients: int, order: Callable[[int], None]) -> None:
        self.clients, self.order = clients, order
        self.number = 0
        self.missing: dict[int, int] = {}
        self.times: list[float] = []
        self.delivered = 0
        self.lost = 0
        self.arrived = asyncio.Event()

    def send(self) -> int:
        """Have the next message sent."""
        self.number += 1
        self.missing[self.number] = self.clients
        self.order(self.number)
        return self.number

    def heard(self, payload: bytes, now: float) -> None:
        """One socket has one message."""
        number, sent = json.loads(payload)["bench"]
        left = self.missing.get(number)
        if left is None:
            return
        self.delivered += 1
        self.times.append(now - sent)
        if left > 1:
            self.missing[number] = left - 1
        else:
            del self.missing[number]
            self.arrived.set()

    async def flow(self, seconds: float, window: int, pause: float = 0.0) -> dict[str, float]:
        """Messages for so long, so many on their way at once."""
        self.times, self.delivered, self.lost = [], 0, 0
        busy = busy_seconds()
        start = last = time.monotonic()
        while (now := time.monotonic()) < start + seconds or self.missing:
            while len(self.missing) < window and now < start + seconds:
                self.send()
            self.arrived.clear()
            try:
                async with asyncio.timeout(LOST_SECONDS):
                    await self.arrived.wait()
                last = time.monotonic()
            except TimeoutError:
                self.lost += sum(self.missing.values())
                self.missing.clear()
            await asyncio.sleep(pause)
        if not self.times:
            raise SystemExit("No message arrived.")
        ordered = sorted(self.times)
        return {
            "deliveries": self.delivered / (last - start),
            "p50_ms": percentile(ordered, 0.5) * 1000,
            "p99_ms": percentile(ordered, 0.99) * 1000,
            "lost": self.lost,
            "cores_busy": (busy_seconds() - busy) / (time.monotonic() - start),
        }


def busy_seconds() -> float:
    """What all cores of the machine have worked."""
    user, nice, system, _idle, _wait, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    """A process's memory in MB, its part of what it shares with others counted by the number of them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


def processes() -> dict[str, list[int]]:
    """The server's daphne and Redis processes."""
    found: dict[str, list[int]] = {"daphne": [], "redis": [], "docker-proxy": []}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # Redis writes what it listens at behind its name.
        names = [word.partition(b" ")[0].rpartition(b"/")[2] for word in words[:2]]
        if names[0].startswith(b"python") and names[-1] == b"daphne":
            found["daphne"].append(int(folder.name))
        elif names[0] in (b"redis-server", b"docker-proxy"):
            found[names[0].decode().replace("redis-server", "redis")].append(int(folder.name))
    return found


def memory() -> dict[str, list[float]]:
    """MB of each of them."""
    return {name: [round(pss_mb(pid), 1) for pid in sorted(pids)] for name, pids in processes().items()}


def spread(port: int) -> list[int]:
    """How many of the sockets each process holds."""
    lines = subprocess.run(
        ["ss", "-Htnp", "state", "established", f"sport = :{port}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    pids = Counter(line.split("pid=")[1].split(",")[0] for line in lines if "pid=" in line)
    return sorted(pids.values(), reverse=True)


async def serve_bare(port: int) -> None:
    """Send each requested message to every connected client."""
    writers: list[asyncio.StreamWriter] = []

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        writers.append(writer)

    await asyncio.start_server(welcome, "127.0.0.1", port)
    print("ready", flush=True)
    async for number in orders():
        found = frame(TEXT, json.dumps({"bench": [number, time.monotonic()]}).encode())
        for writer in writers:
            writer.write(found)


async def send_to_group(group: str) -> None:
    """Send each requested message with the portal's own layer."""
    layer = import_module("channels.layers").get_channel_layer()
    print("ready", flush=True)
    async for number in orders():
        await layer.group_send(
            group, {"type": "progress.message", "progress_metadata": {"bench": [number, time.monotonic()]}}
        )


async def orders() -> Any:
    """The numbers that stand on standard input, one a line."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield int(line)


async def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Start the sender, open the sockets, and let messages flow."""
    word = f"bench_{secrets.token_hex(4)}"
    role = ["--serve"] if asked.bare else ["--send", f"app_{word}"]
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        *role,
        f"--port={asked.port}",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=asked.user,
        group=asked.user,
        extra_groups=[],
        cwd="/",
    )
    assert sender.stdin and sender.stdout
    while (line := await sender.stdout.readline()) != b"ready\n":
        if not line:
            raise SystemExit("The sender did not start.")
    stdin = sender.stdin
    load = Load(asked.clients, lambda number: stdin.write(b"%d\n" % number))
    request = handshake(asked.host, word)
    idle = memory()
    sockets: list[Socket] = []
    for _each in range(asked.clients):
        _transport, socket = await asyncio.get_running_loop().create_connection(
            lambda: Socket(request, load.heard), "127.0.0.1", asked.port
        )
        sockets.append(socket)
        # All at once would be one process's: an ASGI server takes every connection that waits when it comes to look.
        await asyncio.sleep(0.002)
    await asyncio.gather(*(socket.answered for socket in sockets))
    await asyncio.sleep(0.5)
    found: dict[str, Any] = {"clients": asked.clients, "spread": spread(asked.port), "memory_idle_mb": idle}
    await load.flow(0.5, 1)
    one = await load.flow(asked.seconds, 1, pause=0.02)
    full_seconds = asked.full_seconds or asked.seconds
    flowing = asyncio.ensure_future(load.flow(full_seconds, asked.window))
    await asyncio.sleep(full_seconds * 0.9)
    # In a thread, since the kernel takes its time over it.
    found["memory_load_mb"] = await asyncio.to_thread(memory)
    many = await flowing
    stdin.close()
    await sender.wait()
    return {
        **found,
        "one_p50_ms": one["p50_ms"],
        "one_p99_ms": one["p99_ms"],
        "window": asked.window,
        **many,
        "lost": one["lost"] + many["lost"],
        "closed": sum(socket.lost for socket in sockets),
    }


def main() -> None:
    """Be the process that holds the sockets, or the one that sends."""
    parser = argparse.ArgumentParser(description="Measure messages from a process to WebSockets.")
    parser.add_argument("--clients", type=int, default=48, help="sockets (default: %(default)s)")
    parser.add_argument("--window", type=int, default=20, help="messages on their way at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each of the two (default: %(default)s)")
    parser.add_argument("--full-seconds", type=float, help="for the second of them (default: as --seconds)")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="portal.example.org", help="a name the portal answers to")
    parser.add_argument("--user", default="www-data", help="the portal's user, who sends")
    parser.add_argument("--bare", action="store_true", help="measure this program alone")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve_bare(asked.port))
    elif asked.send:
        asyncio.run(send_to_group(asked.send))
    else:
        print(json.dumps(asyncio.run(run(asked))))


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to groups of WebSockets while something breaks, as JSON. Runs in the portal's own Python, as root.

One process holds the sockets at the portal's consumer /ws/app-lifecycle/<word>/, and opens another where one is
closed. Another, run by the portal's user with the portal's own settings, sends to their groups in turn. It prints
`ready`, then follows the words that it reads: `pause` and `resume` stop and start the messages, `fault` starts the
clock, `end` prints the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

from deliveries import MARGIN_SECONDS, Message, Place, Span, figures
from socket_load import Socket, busy_seconds, handshake, processes, pss_mb, spread

# A page that connects again waits about so long.
AGAIN_SECONDS = 1.0
OPEN_SECONDS = 10.0
# A send that has not returned so long after the end of all messages counts as refused.
SEND_SECONDS = 20.0
WARM_SECONDS = 3.0
# What happens beside the messages.
CHURN_EVERY, CHURN_OPEN = 0.05, 0.3
SLOW_SOCKETS, SLOW_EVERY, SLOW_BYTES = 5, 0.02, 16000
RAISING_SOCKETS, RAISING_EVERY, RAISING_AGAIN = 10, 0.25, 0.1
MANY_SOCKETS, MANY_EVERY = 5, 1 / 200
EXTRAS = ("churn", "slow_clients", "raise", "many")


class Listener(Socket):
    """A WebSocket whose end can be waited for."""

    def __init__(self, request: bytes, heard: Callable[[bytes, float], None]) -> None:
        super().__init__(request, heard)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        super().connection_lost(exc)
        if not self.gone.done():
            self.gone.set_result(None)


def ignore(_payload: bytes, _now: float) -> None:
    """Leave a message uncounted."""


class Field:
    """All clients, and what was sent to them."""

    def __init__(self, asked: argparse.Namespace, order: Callable[[bytes], None]) -> None:
        self.asked, self.order = asked, order
        self.word = f"faults_{secrets.token_hex(4)}"
        self.places = [Place(str(size)) for size in asked.groups for _each in range(size)]
        self.messages: list[Message] = []
        self.on_the_way: dict[int, tuple[str, float]] = {}
        self.number = 0
        self.fault: float | None = None
        self.flowing, self.over = True, False
        self.extra_closed = self.not_opened = 0
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, *work: Any) -> None:
        """Have coroutines run until the end."""
        self.tasks += [asyncio.ensure_future(each) for each in work]

    def send(self, group: str, **more: Any) -> None:
        """Have the sender send the next message."""
        self.number += 1
        self.on_the_way[self.number] = (group, time.monotonic())
        name = f"app_{self.word}_{group}"
        self.order(json.dumps({"number": self.number, "group": name, **more}).encode() + b"\n")

    def report(self, number: int, start: float, end: float, failed: bool) -> None:
        """Note what the sender says of a message."""
        group, _since = self.on_the_way.pop(number)
        self.messages.append(Message(number, group, start, end, failed))

    async def open(self, group: str, heard: Callable[[bytes, float], None]) -> Listener | None:
        """Return an open socket, or None."""
        request = handshake(self.asked.host, f"{self.word}_{group}")
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                transport, socket = await asyncio.get_running_loop().create_connection(
                    lambda: Listener(request, heard), "127.0.0.1", self.asked.port
                )
                try:
                    await socket.answered
                except BaseException:
                    transport.close()
                    raise
        except (OSError, TimeoutError):
            self.not_opened += 1
            return None
        return socket

    async def hold(self, place: Place, wait: float) -> None:
        """Keep a client's socket open."""

        def heard(payload: bytes, now: float) -> None:
            place.receive(json.loads(payload)["bench"], now)

        # All at once would be one process's: an ASGI server takes every connection that waits when it comes to look.
        await asyncio.sleep(wait)
        while True:
            socket = await self.open(place.group, heard)
            if socket:
                span = Span(time.monotonic())
                place.spans.append(span)
                await socket.gone
                span.closed = time.monotonic()
            await asyncio.sleep(AGAIN_SECONDS)

    async def hold_beside(self, group: str, reads: bool, again: float = AGAIN_SECONDS) -> None:
        """Keep a socket open that is not counted among the clients."""
        while True:
            socket = await self.open(group, ignore)
            if socket:
                if not reads:
                    socket.transport.pause_reading()
                await socket.gone
                self.extra_closed += 1
            await asyncio.sleep(again)

    async def flow(self, groups: list[str], every: float, **more: Any) -> None:
        """Send to the groups in turn."""
        due, turn = time.monotonic(), 0
        while True:
            if self.flowing:
                self.send(groups[turn % len(groups)], **more)
                turn += 1
            due = max(due + every, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def visit(self, group: str) -> None:
        """Open a socket for a moment."""
        socket = await self.open(group, ignore)
        if socket:
            await asyncio.sleep(CHURN_OPEN)
            socket.transport.close()

    async def churn(self, group: str) -> None:
        """Open and close sockets beside those that stay."""
        visits: set[asyncio.Task[None]] = set()
        while True:
            visit = asyncio.ensure_future(self.visit(group))
            visits.add(visit)
            visit.add_done_callback(visits.discard)
            await asyncio.sleep(CHURN_EVERY)

    def begin(self) -> None:
        """Start what happens beside the messages."""
        groups = [str(size) for size in self.asked.groups]
        if self.asked.extra == "churn":
            self.start(self.churn(groups[-1]))
        elif self.asked.extra == "slow_clients":
            self.start(*(self.hold_beside("slow_clients", reads=False) for _each in range(SLOW_SOCKETS)))
            self.start(self.flow(["slow_clients"], SLOW_EVERY, fill=SLOW_BYTES))
        elif self.asked.extra == "raise":
            self.start(
                *(self.hold_beside("raise", reads=True, again=RAISING_AGAIN) for _each in range(RAISING_SOCKETS))
            )
            self.start(self.flow(["raise"], RAISING_EVERY, wrong=True))
        elif self.asked.extra == "many":
            self.start(self.flow(["many"], MANY_EVERY))

    def stop(self) -> None:
        """End all messages and clients."""
        for task in self.tasks:
            task.cancel()


async def lines(stream: Any) -> AsyncIterator[bytes]:
    """Yield the lines of a pipe of this process."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    while line := await reader.readline():
        yield line


async def send_all() -> None:
    """Send each requested message with the portal's own layer, and report when, and whether it raised."""
    layer = import_module("channels.layers").get_channel_layer()
    print("ready", flush=True)
    sending: set[asyncio.Task[None]] = set()

    async def send(asked: dict[str, Any]) -> None:
        content = {"bench": asked["number"], "fill": "x" * asked.get("fill", 0)}
        # A consumer that finds no metadata in a message raises.
        message = {"type": "progress.message", **({} if asked.get("wrong") else {"progress_metadata": content})}
        start, failed = time.monotonic(), False
        try:
            await layer.group_send(asked["group"], message)
        except Exception:  # what ends a view
            failed = True
        print(json.dumps([asked["number"], start, time.monotonic(), failed]), flush=True)

    async for line in lines(sys.stdin):
        task = asyncio.ensure_future(send(json.loads(line)))
        sending.add(task)
        task.add_done_callback(sending.discard)


async def started_sender(asked: argparse.Namespace) -> asyncio.subprocess.Process:
    """Start the process that sends."""
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--send",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        user=asked.user,
        group=asked.user,
        extra_groups=[],
        cwd="/",
    )
    assert sender.stdout
    if await sender.stdout.readline() != b"ready\n":
        raise SystemExit("The sender did not start.")
    return sender


def memory() -> dict[int, float]:
    """Return the MB of each daphne."""
    found = {}
    for pid in processes()["daphne"]:
        with contextlib.suppress(OSError):  # it has ended
            found[pid] = pss_mb(pid)
    return found


async def ready(field: Field) -> None:
    """Wait until every client is open and has received something for a while."""
    until = time.monotonic() + 90
    while not all(place.times for place in field.places):
        if time.monotonic() > until:
            silent = sum(not place.times for place in field.places)
            raise SystemExit(f"{silent} of {len(field.places)} sockets received nothing within 90 s.")
        await asyncio.sleep(0.1)
    await asyncio.sleep(WARM_SECONDS)


async def follow(field: Field) -> None:
    """Do what is read, until the end."""
    print("ready", flush=True)
    async for line in lines(sys.stdin):
        word = line.decode().strip()
        if word == "fault":
            field.fault = time.monotonic()
        elif word in ("pause", "resume"):
            field.flowing = word == "resume"
        else:
            return


async def arrived(field: Field) -> None:
    """Stop the messages, and wait for those on the way."""
    field.flowing = False
    until = time.monotonic() + SEND_SECONDS
    while field.on_the_way and time.monotonic() < until:
        await asyncio.sleep(0.1)
    await asyncio.sleep(MARGIN_SECONDS)
    now = time.monotonic()
    for number, (group, since) in field.on_the_way.items():
        field.messages.append(Message(number, group, since, now, failed=True))


async def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Open the sockets, let messages flow, and return what came of them."""
    sender = await started_sender(asked)
    assert sender.stdin
    assert sender.stdout
    field = Field(asked, sender.stdin.write)
    if asked.extra == "many":
        field.places += [Place("many") for _each in range(MANY_SOCKETS)]

    async def read_reports(reports: asyncio.StreamReader) -> None:
        while line := await reports.readline():
            field.report(*json.loads(line))

    field.start(read_reports(sender.stdout))
    field.start(*(field.hold(place, 0.01 * number) for number, place in enumerate(field.places)))
    groups = [str(size) for size in asked.groups]
    warm = [*groups, "many"] if asked.extra == "many" else groups
    warming = asyncio.ensure_future(field.flow(warm, asked.every))
    await ready(field)
    warming.cancel()
    # What was missed before all were open is no figure of the row.
    field.messages.clear()
    for place in field.places:
        place.twice = 0
        del place.spans[:-1]
    before, busy, start = await asyncio.to_thread(memory), busy_seconds(), time.monotonic()
    spreading = spread(asked.port)
    field.start(field.flow(groups, asked.every))
    field.begin()
    await follow(field)
    await arrived(field)
    seconds = time.monotonic() - start
    found = figures(field.messages, field.places, field.fault)
    busy = busy_seconds() - busy
    after = await asyncio.to_thread(memory)
    field.stop()
    sender.kill()
    same = before.keys() & after.keys()
    return {
        **found,
        "sockets": len(field.places),
        "spread": spreading,
        "seconds": round(seconds, 1),
        "cores_busy": round(busy / seconds, 2),
        "extra_closed": field.extra_closed,
        "not_opened": field.not_opened,
        "restarted": len(before.keys() - after.keys()),
        "memory_before_mb": round(sum(before.values()), 1),
        "memory_growth_mb": round(sum(after[pid] - before[pid] for pid in same), 1),
    }


def main() -> None:
    """Be the process that holds the sockets, or the one that sends."""
    parser = argparse.ArgumentParser(description="Count messages to WebSockets while something breaks.")
    parser.add_argument("--groups", type=int, nargs="+", default=[5, 15, 30, 50, 100], help="sockets of each group")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between messages (default: %(default)s)")
    parser.add_argument("--extra", choices=EXTRAS, help="what happens beside the messages")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="portal.example.org", help="a name the portal answers to")
    parser.add_argument("--user", default="www-data", help="the portal's user, who sends")
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.send:
        asyncio.run(send_all())
    else:
        print(json.dumps(asyncio.run(run(asked))), flush=True)


if __name__ == "__main__":
    main()

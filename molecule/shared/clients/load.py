# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send requests to the chat app without a pause, check every answer, and print as JSON how many failed.

Half of the requests are POST with a body. Every other connection is kept for the next request, as browsers and proxies
do; the rest are new for each request. ``--websockets K`` also holds K sockets of the chat, and tells which were closed.

A kept connection may be closed by the server at any time: where not a byte of an answer has come, the request is sent
once more on a new one, as every client does (``reused_closed``). All else that is not the right answer has failed.
Ends with 1 where a request failed or a socket was closed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

URL = "http://127.0.0.1/apps/channelchat/echo/"


class Wrong(Exception):
    """What is not the right answer, in few words."""


class Closed(Exception):
    """The server closed a connection before a byte of the answer came."""


class Connection:
    """One worker's connection, which is kept or not."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.served = 0

    def close(self) -> None:
        """Forget the connection; the next request opens a new one."""
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None
        self.served = 0

    async def ask(self, request: bytes) -> tuple[int, bytes, bool]:
        """Send a request; return the answer's status and body, and whether the connection may be kept."""
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        try:
            self.writer.write(request)
            await self.writer.drain()
        except ConnectionError:
            pass  # what a dying connection sent before it ended is still to be read
        try:
            first = await self.reader.read(1)
        except ConnectionError as error:
            raise Closed(type(error).__name__) from error
        if not first:
            raise Closed("closed without an answer")
        head = (first + await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _colon, value in (line.partition(":") for line in head[1:])}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while True:
                size = int((await self.reader.readline()).split(b";")[0], 16)
                body += (await self.reader.readexactly(size + 2))[:-2]
                if not size:
                    break
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            raise Wrong("an answer without a length")
        self.served += 1
        return int(head[0].split()[1]), body, headers.get("connection", "").lower() != "close"


class Load:
    """All the workers, and what they have seen."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.parts = urlsplit(args.url)
        self.end = time.monotonic() + args.seconds if args.seconds else None
        self.started = 0
        self.reasons: Counter[str] = Counter()
        self.pids: Counter[int] = Counter()
        self.times: list[float] = []
        self.failed_at: list[float] = []
        self.posts = 0
        self.kept = 0
        self.reused_closed = 0

    def over(self) -> bool:
        """Whether enough was sent."""
        return bool(
            (self.args.requests and self.started >= self.args.requests)
            or (self.end and time.monotonic() >= self.end)
            or (self.args.stop and Path(self.args.stop).exists())
        )

    def request(self, number: int, post: bool, keep: bool) -> tuple[bytes, str, bytes]:
        """A request of its own, with the query and the body that the answer must tell."""
        query = f"n={number}" + (f"&sleep={self.args.sleep}" if self.args.sleep else "")
        body = os.urandom(self.args.bytes) if post else b""
        lines = [
            f"{'POST' if post else 'GET'} {self.parts.path}?{query} HTTP/1.1",
            f"Host: {self.args.host_header}",
            f"Connection: {'keep-alive' if keep else 'close'}",
        ]
        if post:
            lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body, query, body

    async def one(self, connection: Connection, post: bool, keep: bool) -> None:
        """Send one request and judge its answer."""
        self.started += 1
        request, query, body = self.request(self.started, post, keep)
        self.posts += post
        self.kept += keep and connection.served > 0
        start = time.monotonic()
        try:
            status, text, stays = await asyncio.wait_for(self.answer(connection, request), self.args.timeout)
            if status != 200:
                raise Wrong(f"HTTP {status}")
            found = json.loads(text)
            right = {"query": query, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            if {name: found.get(name) for name in right} != right:
                raise Wrong("another request's answer")
            self.pids[found["pid"]] += 1
            if not (keep and stays):
                connection.close()
        except Exception as error:  # each is counted, and the load goes on
            connection.close()
            self.failed_at.append(time.time())
            told = isinstance(error, (Wrong, Closed))
            self.reasons[f"{'POST' if post else 'GET'}: {error if told else type(error).__name__}"] += 1
            # What is refused at once would be asked again thousands of times.
            await asyncio.sleep(0.02)
        finally:
            self.times.append(time.monotonic() - start)

    async def answer(self, connection: Connection, request: bytes) -> tuple[int, bytes, bool]:
        """The answer, from a second connection where the first had served before and was closed meanwhile."""
        reused = connection.served > 0
        try:
            return await connection.ask(request)
        except Closed:
            if not reused:
                raise
            self.reused_closed += 1
            connection.close()
            return await connection.ask(request)

    async def worker(self, number: int) -> None:
        """Send one request after the other."""
        connection = Connection(self.parts.hostname or "127.0.0.1", self.parts.port or 80)
        keep = number % 2 == 0
        turn = number // 2
        while not self.over():
            await self.one(connection, post=turn % 2 == 1, keep=keep)
            turn += 1
            if self.args.pause:
                await asyncio.sleep(self.args.pause)
        connection.close()

    def figures(self) -> dict[str, Any]:
        """What came of it."""
        times = sorted(self.times) or [0.0]
        return {
            "requests": len(self.times),
            "failed": sum(self.reasons.values()),
            # Seconds since the epoch: when the first and the last of them failed.
            "failed_between": [self.failed_at[0], self.failed_at[-1]] if self.failed_at else [],
            "by_reason": dict(self.reasons.most_common()),
            "slowest_seconds": round(times[-1], 3),
            "p99": round(times[int(len(times) * 0.99)], 3),
            "posts": self.posts,
            "kept": self.kept,
            "reused_closed": self.reused_closed,
            "pids": {str(pid): count for pid, count in sorted(self.pids.items())},
        }


async def open_sockets(args: argparse.Namespace) -> list[Any]:
    """The chat sockets to hold; only they need what daphne brings."""
    from ws_client import CHAT, connect_all

    parts = urlsplit(args.url)
    chat = args.websocket_url or f"ws://{parts.netloc}{urlsplit(CHAT).path}"
    asked = {"url": chat, "clients": args.websockets, "host_header": args.host_header, "origin": None, "timeout": 10.0}
    clients, errors = await connect_all(argparse.Namespace(**asked))
    if errors:
        raise SystemExit(f"Not all sockets could be opened: {'; '.join(errors)}.")
    return clients


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Open the sockets, send the requests, and tell both."""
    clients = await open_sockets(args) if args.websockets else []
    load = Load(args)
    await asyncio.gather(*(load.worker(number) for number in range(args.connections)))
    figures = load.figures()
    if clients:
        await asyncio.sleep(0.5)
        figures["websockets"] = {
            "opened": len(clients),
            "closed": sum(not client.alive for client in clients),
            "by_pid": [
                {
                    "pid": pid,
                    "opened": sum(client.pid == pid for client in clients),
                    "closed": sum(client.pid == pid and not client.alive for client in clients),
                }
                for pid in sorted({client.pid for client in clients})
            ],
        }
    return figures


def main() -> int:
    """Send requests until one of the ends is reached."""
    parser = argparse.ArgumentParser(description="Send requests to the chat app and count what failed.")
    parser.add_argument("--url", default=URL, help="the app's echo (default: %(default)s)")
    parser.add_argument("--host-header", default="portal.example.org", help="a name the portal answers to")
    parser.add_argument("--connections", type=int, default=4, help="requests at once (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=20000, help="of a POST's body (default: %(default)s)")
    parser.add_argument("--sleep", type=float, default=0, help="seconds that the app waits before it answers")
    parser.add_argument("--pause", type=float, default=0, help="seconds between a worker's requests")
    parser.add_argument("--timeout", type=float, default=30, help="seconds after which a request has failed")
    parser.add_argument("--requests", type=int, help="end after so many")
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("--stop", help="end as soon as this file is there")
    parser.add_argument("--websockets", type=int, default=0, help="chat sockets to hold meanwhile")
    parser.add_argument("--websocket-url", help="the chat's socket (default: the chat on the URL's server)")
    args = parser.parse_args()
    if not (args.requests or args.seconds or args.stop):
        parser.error("say when to end: --requests, --seconds or --stop")
    figures = asyncio.run(run(args))
    print(json.dumps(figures))
    return int(bool(figures["failed"] or figures.get("websockets", {}).get("closed")))


if __name__ == "__main__":
    sys.exit(main())

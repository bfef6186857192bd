# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSocket clients of the chat app, for the programs beside this one. Needs autobahn, which daphne brings."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

CHAT = "ws://127.0.0.1:8000/apps/channelchat/chat/ws/"


class Client(WebSocketClientProtocol):  # type: ignore[misc]  # autobahn's own types are incomplete
    """One socket: what it has heard, whom it speaks to, and how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.pid: int | None = None
        self.heard: list[str] = []
        self.close_code: int | None = None
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # autobahn's names
        data: dict[str, Any] = json.loads(payload)
        self.pid = data["pid"]
        if data["type"] == "hello" and not self.greeted.done():
            self.greeted.set_result(None)
        elif data["type"] == "message":
            self.heard.append(data["text"])

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # autobahn's names
        self.close_code = code
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(f"closed with code {code} before the greeting: {reason}"))

    @property
    def alive(self) -> bool:
        """Return whether the socket is still open."""
        return self.close_code is None

    def say(self, text: str) -> None:
        """Send a message to everybody."""
        self.sendMessage(json.dumps({"text": text}).encode())


def options(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all programs share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default=CHAT, help="the chat's socket (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=12, help="sockets to open (default: %(default)s)")
    parser.add_argument("--host-header", default="portal.example.org", help="a name the portal answers to")
    parser.add_argument("--origin", help="Origin header (default: http:// and the host header)")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds to wait for an answer")
    return parser


async def connect(args: argparse.Namespace, protocol: type[Client] = Client) -> Client:
    """Open one socket and wait until its greeting says that it is in the group."""
    parts = urlsplit(args.url)
    tls = parts.scheme == "wss"
    port = parts.port or (443 if tls else 80)
    # The address in the factory only makes the Host header; the connection goes where the URL says.
    factory = WebSocketClientFactory(
        f"{parts.scheme}://{args.host_header}:{port}{parts.path}", origin=args.origin or f"http://{args.host_header}"
    )
    factory.protocol = protocol
    loop = asyncio.get_running_loop()
    _transport, client = await loop.create_connection(factory, parts.hostname, port, ssl=tls or None)
    assert isinstance(client, Client)
    await asyncio.wait_for(client.greeted, args.timeout)
    return client


async def connect_all(args: argparse.Namespace) -> tuple[list[Client], list[str]]:
    """Open all sockets at once; return those that got in, and why the others did not (each reason once)."""
    results = await asyncio.gather(*(connect(args) for _each in range(args.clients)), return_exceptions=True)
    clients = [result for result in results if isinstance(result, Client)]
    return clients, sorted(
        {f"{type(result).__name__}: {result}" for result in results if isinstance(result, BaseException)}
    )

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open WebSockets to several portals, send to each of their groups from this one, and print the receivers as JSON.

Runs in a test server, with its portal's Python and settings. ``--until-all`` sends again, each second, to those groups
in which a socket has received nothing, and reopens closed sockets, until all have received or ``--timeout`` is over.
``--stream FILE`` sends ten messages a second to one group until that file is there, opens again what is closed, and
reports which messages somebody has not received, and from when to when. ``FILE.whole`` holds the seconds for which
every socket has received every message.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
from channels.layers import get_channel_layer

# For how long the last messages may be under way on a busy machine.
LATE_SECONDS = 20


class Listener(WebSocketClientProtocol):  # type: ignore[misc]  # autobahn's own types are incomplete
    """One socket, and what it has received."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[str] = set()
        self.entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = False

    def onOpen(self) -> None:  # autobahn's names
        self.entered.set_result(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.heard.add(str(json.loads(payload).get("across")))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.over = True
        if not self.entered.done():
            self.entered.set_exception(ConnectionError(f"closed with code {code}: {reason}"))


async def listen(host: str, word: str) -> Listener:
    """One socket, through that server's nginx, in a separate group."""
    factory = WebSocketClientFactory(
        f"ws://portal.example.org/ws/app-lifecycle/{word}/", origin="http://portal.example.org"
    )
    factory.protocol = Listener
    factory.setProtocolOptions(openHandshakeTimeout=20)
    _transport, found = await asyncio.get_running_loop().create_connection(factory, host, 80)
    assert isinstance(found, Listener)
    await asyncio.wait_for(found.entered, 25)
    return found


class Across:
    """The sockets of one measurement: for each group one on each portal."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.words = [f"across_{uuid.uuid4().hex}" for _each in range(args.groups)]
        self.sockets: dict[tuple[str, str], Listener] = {}
        self.failed = 0

    def has_heard(self, host: str, word: str) -> bool:
        """Return whether that portal's socket in that group has received its message."""
        return (host, word) in self.sockets and word in self.sockets[host, word].heard

    def missing(self) -> set[str]:
        """Return the groups in which a socket has not."""
        return {word for word in self.words if not all(self.has_heard(host, word) for host in self.args.hosts)}

    async def connect(self) -> None:
        """Open what is not open."""
        for place in [(host, word) for host in self.args.hosts for word in self.words]:
            if place in self.sockets and not self.sockets[place].over:
                continue
            try:
                self.sockets[place] = await listen(*place)
            except (OSError, ConnectionError, asyncio.TimeoutError):
                if not self.args.until_all:
                    raise

    async def send(self) -> None:
        """Send a message to each group in which a socket has not received one."""
        for word in sorted(self.missing()):
            message = {"type": "progress.message", "progress_metadata": {"across": word}}
            try:
                await asyncio.wait_for(get_channel_layer().group_send(f"app_{word}", message), 20)
            except Exception:
                if not self.args.until_all:
                    raise
                self.failed += 1

    async def run(self) -> dict[str, Any]:
        """Return how many of the sockets on each portal have received their message."""
        start = time.monotonic()
        patience = 1.0 if self.args.until_all else self.args.wait
        while True:
            await self.connect()
            # The consumer joins its group after it has accepted.
            await asyncio.sleep(0.5)
            await self.send()
            wait = time.monotonic() + patience
            while self.missing() and time.monotonic() < wait:
                await asyncio.sleep(0.02)
            over = time.monotonic() > start + self.args.timeout
            if not self.missing() or over or not self.args.until_all:
                break
        return {
            "of": self.args.groups,
            "heard": {host: sum(self.has_heard(host, word) for word in self.words) for host in self.args.hosts},
            "seconds": round(time.monotonic() - start, 2),
            "failed_to_send": self.failed,
        }


class Stream(Across):
    """Messages that never pause, to one group with several sockets on each portal."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.words = self.words[:1]
        self.places = [(host, number) for host in args.hosts for number in range(args.groups)]
        self.heard: dict[tuple[str, int], set[str]] = {place: set() for place in self.places}
        self.sent: dict[str, float] = {}
        self.refused: dict[str, str] = {}
        self.opened = self.not_opened = 0
        self.over = False
        # When the last message was sent that some socket did not receive within a second.
        self.last_missed = 0.0

    def missed(self, name: str) -> bool:
        """Whether some socket has not received that message."""
        return not all(name in heard for heard in self.heard.values())

    def note_whole(self, number: int) -> None:
        """Write for how long every message was received by every socket, as far as one can know by now."""
        if number < 10:
            return
        name = str(number - 10)
        if self.missed(name):
            self.last_missed = self.sent[name]
        Path(f"{self.args.stream}.whole").write_text(f"{self.sent[name] - self.last_missed:.1f}\n", encoding="utf-8")

    async def keep_open(self, place: tuple[str, int]) -> None:
        """Keep one socket open, and reopen it whenever it is closed, as a page does."""
        while not self.over:
            try:
                found = await listen(place[0], self.words[0])
            except (OSError, ConnectionError, asyncio.TimeoutError):
                self.not_opened += 1
                await asyncio.sleep(0.5)
                continue
            self.opened += 1
            found.heard = self.heard[place]
            while not (found.over or self.over):
                await asyncio.sleep(0.05)

    async def say(self, name: str) -> None:
        """One message."""
        message = {"type": "progress.message", "progress_metadata": {"across": name}}
        try:
            await asyncio.wait_for(get_channel_layer().group_send(f"app_{self.words[0]}", message), 20)
        except Exception as error:
            self.refused[name] = type(error).__name__

    async def run(self) -> dict[str, Any]:
        """Return what was not received by all, and for how long."""
        keepers = [asyncio.create_task(self.keep_open(place)) for place in self.places]
        while self.opened < len(self.places):
            await asyncio.sleep(0.1)
        # The consumer joins its group after it has accepted.
        await asyncio.sleep(1)
        before = self.opened
        start = time.monotonic()
        saying = []
        print("begun", file=sys.stderr, flush=True)
        for number in itertools.count():
            if self.args.stream.exists():
                break
            await asyncio.sleep(max(0.0, start + number / 10 - time.monotonic()))
            name = str(number)
            self.sent[name] = time.monotonic() - start
            saying.append(asyncio.create_task(self.say(name)))
            self.note_whole(number)
        await asyncio.gather(*saying)
        end = time.monotonic() + LATE_SECONDS
        while self.missed(str(len(self.sent) - 1)) and time.monotonic() < end:
            await asyncio.sleep(0.1)
        self.over = True
        await asyncio.gather(*keepers)
        missed = [name for name in self.sent if self.missed(name)]
        times = [self.sent[name] for name in missed]
        return {
            "messages": len(self.sent),
            "refused_to_the_sender": len(self.refused),
            "not_heard_by_all": len(set(missed) - set(self.refused)),
            "from": round(min(times), 1) if times else None,
            "seconds": round(max(times) - min(times) + 0.1, 1) if times else 0,
            "sockets": len(self.places),
            "opened_again": self.opened - before,
            "could_not_be_opened": self.not_opened,
            "errors": sorted(set(self.refused.values())),
        }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Count who hears what this portal sends.")
    parser.add_argument("hosts", nargs="+", help="the portals' addresses")
    parser.add_argument("--groups", type=int, default=12, help="groups, each with one socket on each portal")
    parser.add_argument("--wait", type=float, default=5.0, help="seconds that a message may take")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds after which all is given up")
    parser.add_argument("--until-all", action="store_true")
    parser.add_argument("--stream", type=Path, help="the file that ends a stream of messages")
    args = parser.parse_args()
    found = asyncio.run((Stream if args.stream else Across)(args).run())
    print(json.dumps(found))
    return int(any(number < found["of"] for number in found.get("heard", {}).values()))


if __name__ == "__main__":
    sys.exit(main())

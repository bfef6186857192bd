# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let clients of the chat speak in turn without a pause, and print as JSON who heard what.

A socket that is closed is opened again. A message is due to whoever held the same open socket from before it was sent
until ``--margin`` seconds later: those who are away at that moment cannot hear. What a socket was given last before it
was closed, and nobody heard, its process had not read when it ended; that is ``unread``. Of what is due, what did not
arrive is ``lost``. Ends with 1 where something was lost or refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from ws_client import Client, connect, options

# The close code of a consumer that raised, as when Redis refuses the message that it passes on.
FAILED = 1011


class Listener(Client):
    """One socket, from its greeting to its end, with the time at which it heard each message."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = 0.0
        self.closed: float | None = None
        self.times: dict[int, float] = {}

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # autobahn's names
        data: dict[str, Any] = json.loads(payload)
        now = time.monotonic()
        if data["type"] == "hello":
            self.opened = now
        elif data["type"] == "message":
            self.times.setdefault(int(data["text"]), now)
        super().onMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # autobahn's names
        self.closed = time.monotonic()
        super().onClose(wasClean, code, reason)

    def there(self, start: float, end: float) -> bool:
        """Whether the socket was open all the while."""
        return bool(self.opened and self.opened <= start and (self.closed is None or self.closed > end))


class Stream:
    """All the clients, and what was said."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        # One row a client, which holds its sockets one after the other.
        self.rows: list[list[Listener]] = [[] for _each in range(args.clients)]
        self.sent: list[tuple[float, Listener]] = []
        self.failed: Counter[str] = Counter()
        self.over = False

    async def stay(self, row: list[Listener]) -> None:
        """Keep a socket open, and open another when it is closed."""
        while not self.over:
            try:
                found = await connect(self.args, Listener)
            except (OSError, ConnectionError, asyncio.TimeoutError) as error:
                self.failed[f"{type(error).__name__}: {error}"] += 1
                await asyncio.sleep(0.2)
                continue
            assert isinstance(found, Listener)
            row.append(found)
            while found.alive and not self.over:
                await asyncio.sleep(0.05)

    async def speak(self) -> None:
        """One message after the other, each by the next client whose socket is open."""
        end = time.monotonic() + self.args.seconds if self.args.seconds else None
        due, turn = time.monotonic(), 0
        while not (self.args.stop and Path(self.args.stop).exists()) and not (end and time.monotonic() > end):
            # One that is being closed has not ended yet, and takes nothing more.
            speakers = self.rows[: self.args.speakers or None]
            open_now = [row[-1] for row in speakers if row and row[-1].state == Listener.STATE_OPEN]
            if open_now:
                turn += 1
                speaker = open_now[turn % len(open_now)]
                speaker.say(str(len(self.sent)))
                self.sent.append((time.monotonic(), speaker))
            due = max(due + self.args.every, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def run(self) -> dict[str, Any]:
        """Open all sockets, speak, and tell what came of it."""
        tasks = [asyncio.ensure_future(self.stay(row)) for row in self.rows]
        start = time.monotonic()
        while not all(self.rows) and time.monotonic() < start + self.args.timeout:
            await asyncio.sleep(0.05)
        await self.speak()
        await asyncio.sleep(self.args.margin + 1)
        self.over = True
        await asyncio.gather(*tasks)
        return self.figures()

    def silence(self, row: list[Listener]) -> float:
        """The longest time that a client heard nothing, while somebody spoke."""
        heard = sorted(at for listener in row for at in listener.times.values())
        if not self.sent:
            return 0.0
        marks = [self.sent[0][0], *heard, max([self.sent[-1][0], *heard])]
        return max(after - before for before, after in zip(marks, marks[1:], strict=False))

    def figures(self) -> dict[str, Any]:
        """What was sent, due, heard, lost and refused."""
        margin = self.args.margin
        sockets = [listener for row in self.rows for listener in row]
        heard = {number for each in sockets for number in each.times}
        # A process reads what one socket gives it in order.
        read = {speaker: number for number, (_at, speaker) in enumerate(self.sent) if number in heard}
        due = lost = unread = 0
        lost_at: dict[int, float] = {}
        for number, (at, speaker) in enumerate(self.sent):
            if speaker.closed is not None and number > read.get(speaker, -1):
                unread += 1
                continue
            for row in self.rows:
                listener = next((each for each in row if each.there(at, at + margin)), None)
                if listener:
                    due += 1
                    if number not in listener.times:
                        lost += 1
                        lost_at[number] = at
        # From the clock of this process to seconds since 1970.
        clock = time.time() - time.monotonic()
        codes = Counter(str(each.close_code) for each in sockets if each.close_code is not None)
        return {
            "clients": len(self.rows),
            "messages": len(self.sent),
            "seconds": round(self.sent[-1][0] - self.sent[0][0], 1) if self.sent else 0,
            "heard": sum(len(each.times) for each in sockets),
            "due": due,
            "lost": lost,
            "lost_messages": len(lost_at),
            "lost_within_seconds": round(max(lost_at.values()) - min(lost_at.values()), 2) if lost_at else 0,
            "last_lost_at": round(max(lost_at.values()) + clock, 2) if lost_at else None,
            "last_sent_at": round(self.sent[-1][0] + clock, 2) if self.sent else None,
            "unread": unread,
            "heard_by_nobody": len(self.sent) - len(heard),
            "refused": codes[str(FAILED)],
            "closed": dict(codes),
            "reopened": sum(max(len(row) - 1, 0) for row in self.rows),
            "failed_to_open": dict(self.failed),
            "longest_silence_seconds": round(max((self.silence(row) for row in self.rows), default=0), 2),
            "pids": sorted({each.pid for each in sockets if each.pid}),
            "pids_at_the_end": sorted({row[-1].pid for row in self.rows if row and row[-1].alive and row[-1].pid}),
        }


def main() -> int:
    """Speak until one of the ends is reached."""
    parser = options("Let clients of the chat speak in turn, and count what each hears.")
    parser.add_argument("--speakers", type=int, default=0, help="how many of the clients speak (default: all)")
    parser.add_argument("--every", type=float, default=0.02, help="seconds between messages (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=3.0, help="seconds that a message may take to arrive")
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("--stop", help="end as soon as this file is there")
    args = parser.parse_args()
    if not (args.seconds or args.stop):
        parser.error("say when to end: --seconds or --stop")
    figures = asyncio.run(Stream(args).run())
    print(json.dumps(figures))
    return int(bool(figures["lost"] or figures["refused"]))


if __name__ == "__main__":
    sys.exit(main())

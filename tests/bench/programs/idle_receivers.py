# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of a channel layer that wait while Redis is idle, frozen or gone. Runs in any Python with channels_redis.

It prints `ready`, then follows the words that it reads: `fault` starts the clock, `send` sends to every receiver and
`end` prints what became of each as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from importlib import import_module
from typing import Any

CLASSES = {"core": ("core", "RedisChannelLayer"), "pubsub": ("pubsub", "RedisPubSubChannelLayer")}
# How long a message may take to arrive, and a send to return.
ARRIVAL_SECONDS = 3.0


def entry(address: str, timeout: str) -> dict[str, Any]:
    """The host's entry: without the key for `absent`, else with that number of seconds or null."""
    found: dict[str, Any] = {"address": address}
    if timeout != "absent":
        found["socket_timeout"] = None if timeout == "null" else float(timeout)
    return found


class Case:
    """Some receivers on one layer."""

    def __init__(self, layer: Any, receivers: int) -> None:
        self.layer = layer
        self.receivers = receivers
        self.channels: list[str] = []
        self.waiting: list[asyncio.Task[Any]] = []
        self.ended: dict[int, float] = {}
        self.received: set[int] = set()
        self.since = time.monotonic()
        self.sender: asyncio.Task[Any] | None = None
        self.sent_after: float | None = None

    async def start(self) -> None:
        """Have all of them wait."""
        self.channels = [await self.layer.new_channel() for _each in range(self.receivers)]
        self.waiting = [asyncio.ensure_future(self.receive(number)) for number in range(self.receivers)]

    async def receive(self, number: int) -> None:
        """Wait for one message, and note what comes."""
        try:
            await self.layer.receive(self.channels[number])
        except Exception:  # what ends a consumer
            self.ended[number] = time.monotonic() - self.since
        else:
            self.received.add(number)

    def fault(self) -> None:
        """Start the clock, and send one message to nobody."""
        self.since = time.monotonic()
        self.sender = asyncio.ensure_future(self.send_to_nobody())

    async def send_to_nobody(self) -> None:
        """Note when a send returns or fails."""
        with contextlib.suppress(Exception):  # what ends a view
            await self.layer.send("nobody", {"type": "bench"})
        self.sent_after = time.monotonic() - self.since

    async def send(self) -> None:
        """Send to every receiver, and wait for what arrives."""
        for channel in self.channels:
            with contextlib.suppress(Exception):  # counted by what does not arrive
                await asyncio.wait_for(self.layer.send(channel, {"type": "bench"}), ARRIVAL_SECONDS)
        await asyncio.wait(self.waiting, timeout=ARRIVAL_SECONDS)

    def result(self) -> dict[str, Any]:
        """What became of them."""
        return {
            "of": self.receivers,
            "received": len(self.received),
            "ended": len(self.ended),
            "ended_after": [round(min(self.ended.values()), 1), round(max(self.ended.values()), 1)]
            if self.ended
            else None,
            "waiting": self.receivers - len(self.received) - len(self.ended),
            "sender_after": None if self.sent_after is None else round(self.sent_after, 1),
        }


async def follow(cases: dict[str, Case]) -> None:
    """Do what is read."""
    await asyncio.gather(*(case.start() for case in cases.values()))
    print("ready", flush=True)
    while True:
        word = (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()
        if word == "fault":
            for case in cases.values():
                case.fault()
        elif word == "send":
            await asyncio.gather(*(case.send() for case in cases.values()))
        else:
            break
    print(json.dumps({timeout: case.result() for timeout, case in cases.items()}), flush=True)
    os._exit(0)


def main() -> None:
    """Wait for messages."""
    parser = argparse.ArgumentParser(description="Wait for messages of a channel layer.")
    parser.add_argument("--address", required=True, help="a redis:// URL")
    parser.add_argument("--layer", choices=CLASSES, required=True)
    parser.add_argument("--timeouts", nargs="+", default=["absent"], help="absent, null or seconds, one layer each")
    parser.add_argument("--receivers", type=int, default=6)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    module, name = CLASSES[asked.layer]
    layer_class = getattr(import_module(f"channels_redis.{module}"), name)
    layers = {timeout: layer_class(hosts=[entry(asked.address, timeout)]) for timeout in asked.timeouts}
    asyncio.run(follow({timeout: Case(layer, asked.receivers) for timeout, layer in layers.items()}))


if __name__ == "__main__":
    main()

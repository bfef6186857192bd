# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the portal's channel layer does from one process, as JSON. Runs in the portal's own Python, as its user.

A round trip is a message sent to a channel of one's own and received. Fan-out is messages to a group of channels which
all receive at the same time, sent in bursts that the core layer's default capacity holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from importlib import import_module
from typing import Any

# The core layer drops what exceeds its capacity, 100 messages by default.
BURST = 60
CHANNELS = 50
# The pub/sub layer does not wait until Redis has confirmed a subscription.
SUBSCRIBED_SECONDS = 0.3
LOST_SECONDS = 3.0


def percentile(ordered: list[float], share: float) -> float:
    """The value below which that share of them lies; they come in order."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def trips(layer: Any, seconds: float) -> dict[str, float]:
    """Send and receive, one after the other."""
    channel = await layer.new_channel()
    await asyncio.sleep(SUBSCRIBED_SECONDS)
    times: list[float] = []
    lost = 0
    start = time.perf_counter()
    warm = start + 0.2
    end = warm + seconds
    number = 0
    while start < end:
        number += 1
        start = time.perf_counter()
        await layer.send(channel, {"type": "bench", "number": number})
        try:
            async with asyncio.timeout(LOST_SECONDS):
                while (await layer.receive(channel))["number"] != number:
                    pass
        except TimeoutError:
            lost += 1
            continue
        if start >= warm:
            times.append(time.perf_counter() - start)
    if not times:
        raise SystemExit("No message came back.")
    ordered = sorted(times)
    return {
        "trips": len(times) / sum(times),
        "p50_ms": percentile(ordered, 0.5) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "trips_lost": lost,
    }


async def fan_out(layer: Any, seconds: float) -> dict[str, float]:
    """Bursts of messages to a group, each over when every channel has all of them."""
    group = f"bench-{os.getpid()}"
    channels = [await layer.new_channel() for _each in range(CHANNELS)]
    for channel in channels:
        await layer.group_add(group, channel)
    await asyncio.sleep(SUBSCRIBED_SECONDS)
    received = 0

    async def drain(channel: str) -> None:
        nonlocal received
        for _each in range(BURST):
            await layer.receive(channel)
            received += 1

    due = 0
    taken = 0.0
    while taken < seconds:
        due += BURST * CHANNELS
        start = time.perf_counter()
        readers = [asyncio.ensure_future(drain(channel)) for channel in channels]
        for number in range(BURST):
            await layer.group_send(group, {"type": "bench", "number": number})
        _done, late = await asyncio.wait(readers, timeout=LOST_SECONDS)
        taken += time.perf_counter() - start
        for reader in late:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return {"deliveries": received / taken, "deliveries_lost": due - received}


async def without_redis(layer: Any, seconds: float) -> dict[str, float]:
    """Fan-out through the pub/sub layer's own queues and decoding alone: what one process can take at most."""
    queues = layer._get_layer().channels
    channels = [f"bench-{number}" for number in range(CHANNELS)]
    queues.update({channel: asyncio.Queue() for channel in channels})
    message = layer.serialize({"type": "bench", "number": 1})

    async def drain(channel: str) -> None:
        for _each in range(BURST):
            await layer.receive(channel)

    received, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        readers = [asyncio.ensure_future(drain(channel)) for channel in channels]
        for _number in range(BURST):
            for channel in channels:
                queues[channel].put_nowait(message)
            await asyncio.sleep(0)
        await asyncio.gather(*readers)
        received += BURST * CHANNELS
    return {"deliveries": received / (time.perf_counter() - start)}


async def measure(layer: Any, seconds: float) -> dict[str, float]:
    """Both, one after the other."""
    return {**await trips(layer, seconds), **await fan_out(layer, seconds)}


def main() -> None:
    """Measure the layer that Django has."""
    parser = argparse.ArgumentParser(description="Measure the portal's channel layer.")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each of the two (default: %(default)s)")
    parser.add_argument(
        "--without-redis", action="store_true", help="the pub/sub layer's own part of the fan-out alone"
    )
    parser.add_argument("--hiredis", help="a folder with the package hiredis")
    asked = parser.parse_args()
    if asked.hiredis:
        sys.path.insert(0, asked.hiredis)
    layer = import_module("channels.layers").get_channel_layer()
    hiredis = bool(import_module("redis.utils").HIREDIS_AVAILABLE)
    found = asyncio.run((without_redis if asked.without_redis else measure)(layer, asked.seconds))
    print(json.dumps({**found, "backend": type(layer).__name__, "hiredis": hiredis}), flush=True)
    # The connections that wait for messages are of no use to anybody now.
    os._exit(0)


if __name__ == "__main__":
    main()

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message to a group costs Redis, as JSON. Runs in the portal's own Python, as root.

So many processes hold the channels of so many sockets, all in one group, as a portal's ASGI processes do. A process of
its own sends in bursts, each over when every channel has all of it. What Redis took of CPU in that time is Redis's part
of a message, whatever the processes take: Redis does one thing at a time, so one core of it is full at 1 / that part.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

BURST = 10
# The pub/sub layer does not wait until Redis has confirmed a subscription.
SUBSCRIBED_SECONDS = 0.5
LOST_SECONDS = 60.0


def redis_pid() -> int:
    """The server's one Redis process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].partition(b" ")[0].rpartition(b"/")[2] == b"redis-server":
            return int(folder.name)
    raise SystemExit("No Redis runs here.")


def cpu_seconds(pid: int) -> float:
    """What a process has taken of CPU, by its clock in the kernel (clock_getcpuclockid), to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)


def memory_mb(pid: int) -> float:
    """What a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


def connections(pid: int) -> int:
    """How many sockets a process has open."""
    return sum(str(each.readlink()).startswith("socket:") for each in Path(f"/proc/{pid}/fd").iterdir())


def layer() -> Any:
    """The portal's."""
    return import_module("channels.layers").get_channel_layer()


async def listen(group: str, count: int) -> None:
    """Hold so many channels, and print a line for each burst that all of them have."""
    mine = layer()
    names = [await mine.new_channel() for _each in range(count)]
    for name in names:
        await mine.group_add(group, name)
    heard = 0

    async def hear(name: str) -> None:
        nonlocal heard
        while True:
            await mine.receive(name)
            heard += 1
            if heard % (count * BURST) == 0:
                print("all", flush=True)

    listening = [asyncio.ensure_future(hear(name)) for name in names]
    await asyncio.sleep(SUBSCRIBED_SECONDS)
    print("ready", flush=True)
    await asyncio.gather(*listening)


async def measure(sockets: int, processes: int, seconds: float) -> dict[str, Any]:
    """Send for so long, and return what a message took."""
    group = f"load-{os.getpid()}"
    pid = redis_pid()
    before = {"memory": memory_mb(pid), "connections": connections(pid)}
    command = [sys.executable, __file__, f"--sockets={sockets // processes}", f"--listen={group}"]
    listeners = [
        await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _each in range(processes)
    ]

    async def lines(word: bytes) -> None:
        for each in listeners:
            assert each.stdout
            async with asyncio.timeout(LOST_SECONDS):
                if (await each.stdout.readline()).strip() != word:
                    raise SystemExit("A process that listens has ended.")

    async def burst(sender: Any) -> float:
        used = cpu_seconds(pid)
        for number in range(BURST):
            await sender.group_send(group, {"type": "bench", "number": number})
        await lines(b"all")
        return cpu_seconds(pid) - used

    try:
        await lines(b"ready")
        sender = layer()
        # The first opens connections and loads the script.
        await burst(sender)
        taken, end = [await burst(sender)], time.monotonic() + seconds
        while time.monotonic() < end:
            taken.append(await burst(sender))
        return {
            "sockets": sockets,
            "processes": processes,
            "messages": BURST * len(taken),
            "redis_ms": sum(taken) / len(taken) / BURST * 1000,
            "memory_mb": memory_mb(pid) - before["memory"],
            "connections": connections(pid) - before["connections"],
            "backend": type(sender).__name__,
        }
    finally:
        for each in listeners:
            each.kill()
            await each.wait()


def main() -> None:
    """Be the process that sends, or one of those that hold channels."""
    parser = argparse.ArgumentParser(description="Measure what a message to a group costs Redis.")
    parser.add_argument("--sockets", type=int, default=400, help="(default: %(default)s)")
    parser.add_argument("--processes", type=int, default=4, help="that hold them (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="(default: %(default)s)")
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.listen:
        asyncio.run(listen(asked.listen, asked.sockets))
    else:
        print(json.dumps(asyncio.run(measure(asked.sockets, asked.processes, asked.seconds))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

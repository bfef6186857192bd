# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What versions of channels_redis and redis-py have broken: silence, and a Redis that was restarted.

The steps `portal:LINE` of scripts/run-tests run these, the step `portal` does not: the scenarios show both on a server.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

PYTHON = os.environ.get("TETHYS_TEST_PYTHON", "")
pytestmark = pytest.mark.versions

# Longer than redis-py 8 waits for an answer by default (5 s), and than BZPOPMIN blocks.
SILENCE_SECONDS = 7
LAYER = """
import asyncio, importlib, json, sys

described = json.loads(sys.argv[1])
module, _dot, name = described["default"]["BACKEND"].rpartition(".")
layer = getattr(importlib.import_module(module), name)(**described["default"]["CONFIG"])
"""
SILENT = """
async def main(receivers, seconds):
    channels = [await layer.new_channel() for _each in range(receivers)]
    for channel in channels:
        await layer.group_add("group", channel)
    waiting = [asyncio.ensure_future(layer.receive(channel)) for channel in channels]
    await asyncio.sleep(seconds)
    await layer.group_send("group", {"type": "said"})
    await asyncio.wait(waiting, timeout=10)
    print(json.dumps([repr(task.exception()) if task.done() and task.exception() else task.done() for task in waiting]))
    for task in waiting:
        task.cancel()

asyncio.run(main(6, float(sys.argv[2])))
"""
SENDER = """
async def use(channel):
    # What a WebSocket does when it opens, and a view that sends to all.
    await layer.group_add("group", channel)
    await layer.group_send("group", {"type": "said"})

async def main():
    failed = []
    channel = await layer.new_channel()
    await asyncio.gather(*(use(channel) for _each in range(3)))
    print("connected", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    for _each in range(6):
        try:
            await use(channel)
        except Exception as error:
            failed.append(repr(error))
    print(json.dumps(failed), flush=True)

asyncio.run(main())
"""


def test_receivers_outlast_silence(redis: Any) -> None:
    described = json.dumps(redis.layers(prefix="portal_"))
    command = [PYTHON, "-c", LAYER + SILENT, described, str(SILENCE_SECONDS)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True] * 6


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_after_a_restart_of_redis_no_message_fails(redis: Any, over: str) -> None:
    described = json.dumps(redis.layers(over, prefix="portal_"))
    command = [PYTHON, "-c", LAYER + SENDER, described]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        assert sender.stdout is not None
        assert sender.stdout.readline() == "connected\n"
        redis.stop()
        redis.start()
        sender.stdin.write("\n")
        sender.stdin.flush()
        assert json.loads(sender.stdout.readline()) == []

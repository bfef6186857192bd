# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send messages that nobody fetches, so that Redis has to keep them. Runs in the portal's own Python, as its user.

The core layer keeps up to 100 messages (its capacity) for each process that has stopped to listen, for 60 s. The
pub/sub layer keeps none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from importlib import import_module
from typing import Any

CAPACITY = 100


async def fill(layer: Any, messages: int, size: int) -> None:
    """So many messages of that many bytes, spread over as many channels as hold them."""
    for number in range(messages):
        await layer.send(f"bench-{number // CAPACITY}", {"type": "bench", "text": "x" * size})


def main() -> None:
    """Leave a backlog."""
    parser = argparse.ArgumentParser(description="Leave messages in Redis.")
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--bytes", type=int, default=1000, help="of each message's text (default: %(default)s)")
    asked = parser.parse_args()
    layer = import_module("channels.layers").get_channel_layer()
    asyncio.run(fill(layer, asked.messages, asked.bytes))
    print(json.dumps({"messages": asked.messages, "bytes": asked.bytes}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

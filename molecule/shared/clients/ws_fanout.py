# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open clients of the chat, let one of them speak, and print as JSON how many heard it.

``--processes K`` opens further sockets until K processes hold one: a shared listening socket spreads them unevenly.
Ends with 1 where somebody heard nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from argparse import Namespace

from ws_client import connect, connect_all, options

MOST_CLIENTS = 200


async def fanout(args: Namespace) -> dict[str, object]:
    """Return what came of one message."""
    clients, errors = await connect_all(args)
    asked = args.clients
    while not errors and len({client.pid for client in clients}) < args.processes and len(clients) < MOST_CLIENTS:
        clients.append(await connect(args))
        asked += 1
    text = uuid.uuid4().hex
    start = time.monotonic()
    slowest: float | None = None
    if clients:
        clients[0].say(text)
        while time.monotonic() - start < args.timeout:
            await asyncio.sleep(0.005)
            if all(text in client.heard for client in clients):
                slowest = time.monotonic() - start
                break
    return {
        "clients": asked,
        "connected": len(clients),
        "delivered": sum(text in client.heard for client in clients),
        "duplicates": sum(client.heard.count(text) > 1 for client in clients),
        "pids": sorted({client.pid for client in clients if client.pid}),
        "sender_pid": clients[0].pid if clients else None,
        "missing_at": sorted({client.pid for client in clients if client.pid and text not in client.heard}),
        "milliseconds": round(slowest * 1000) if slowest is not None else None,
        "errors": errors,
    }


if __name__ == "__main__":
    parser = options("Open clients of the chat, let one speak, and count who hears it.")
    parser.add_argument("--processes", type=int, default=0, help="open more sockets until so many processes hold one")
    parser.set_defaults(timeout=5.0)
    result = asyncio.run(fanout(parser.parse_args()))
    print(json.dumps(result))
    sys.exit(result["delivered"] != result["clients"])

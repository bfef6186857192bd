# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open clients of the chat, let them be silent, and print as JSON how many are alive. Ends with 1 where one is not."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace

from ws_client import connect_all, options


async def idle(args: Namespace) -> dict[str, object]:
    """Return what is left of the sockets after the silence."""
    clients, errors = await connect_all(args)
    await asyncio.sleep(args.seconds)
    return {
        "clients": args.clients,
        "connected": len(clients),
        "alive": sum(client.alive for client in clients),
        "close_codes": sorted(client.close_code for client in clients if client.close_code is not None),
        "pids": sorted({client.pid for client in clients if client.pid}),
        "errors": errors,
    }


if __name__ == "__main__":
    parser = options("Open clients of the chat, let them be silent, and count who is alive.")
    parser.add_argument("--seconds", type=float, default=12.0, help="the silence (default: %(default)s)")
    parser.set_defaults(clients=6)
    result = asyncio.run(idle(parser.parse_args()))
    print(json.dumps(result))
    sys.exit(result["alive"] != result["clients"])

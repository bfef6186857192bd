# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who listens on a TCP port, and on which address."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.server import (
    proc,
)
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    ListenerFacts,
)


def _address(text: str, redis: tuple[str, ...] = ()) -> str:
    """Classify the address of a row of net/tcp: Redis's, loopback, everything, or something else."""
    if text in redis:
        return "redis"
    if text in (*proc.in_table("127.0.0.1"), *proc.in_table("::1")):
        return "loopback"
    if not text.strip("0"):
        return "everything"
    return "other"


def listeners(ports: set[int], redis_address: str | None = None) -> list[ListenerFacts]:
    """Return who listens on these TCP ports."""
    redis = proc.in_table(redis_address) if redis_address else ()
    return [
        ListenerFacts(
            port=row.port,
            address=_address(row.address, redis),
            pid=row.pid,
            user=row.user,
            command=row.command,
            program=row.program,
        )
        for row in proc.listeners(ports)
    ]

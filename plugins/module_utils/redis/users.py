# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a Redis of the collection's own knows, what Sentinel calls it, and how either learns of another password."""

from __future__ import annotations

import hashlib

from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError, pairs, strings

# The portals', root's, and that of the other servers where Sentinel watches them.
PORTAL_USER = "tethys"
ADMIN_USER = "tethys_admin"
PEER_USER = "tethys_peer"
# The name of the primary, which Sentinel is asked for.
PRIMARY_NAME = "tethys-channels"
# What each of them sends before anything else. (Another order of the words would be another configuration.)
CONNECT = "+hello +auth +ping +select +client|setname"
# A Sentinel knows no databases.
CONNECT_TO_SENTINEL = "+hello +auth +ping +client|setname"
NO_USER = f"it has no user {PORTAL_USER}"


def sha256(text: str) -> str:
    """The hexadecimal sum, as Redis takes it in a user's definition."""
    return hashlib.sha256(text.encode()).hexdigest()


def tell(redis: Redis, sums: list[str], check: bool) -> bool:
    """Have a running server, or Sentinel, open to these passwords and no others; returns whether it did not."""
    about = redis.command("ACL", "GETUSER", PORTAL_USER)
    if not about:
        raise RedisError(NO_USER)
    have = strings(pairs(about).get("passwords") or [])
    words = ["#" + each for each in sums if each not in have] + ["!" + each for each in have if each not in sums]
    if words and not check:
        redis.command("ACL", "SETUSER", PORTAL_USER, *words)
    return bool(words)

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The users of a Redis of the collection, their rights (ACL), and how it gets another password."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Iterable

from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError, pairs, strings

# The portals', root's, and that of the other servers where Sentinel watches them.
PORTAL_USER = "tethys"
ADMIN_USER = "tethys_admin"
PEER_USER = "tethys_peer"
# The name of the primary in Sentinel.
PRIMARY_NAME = "tethys-channels"
# What each of them sends before anything else. (Another order of the words would be another configuration.)
CONNECT = "+hello +auth +ping +select +client|setname"
# A Sentinel has no databases.
CONNECT_TO_SENTINEL = "+hello +auth +ping +client|setname"
NO_USER = f"it has no user {PORTAL_USER}"
# What each layer class sends, and nothing else (read in channels_redis 4.3, seen with redis-py 7.4 and 8.1). The first
# of each shows which class a user's rights are for.
COMMANDS = {
    "core": "+bzpopmin +zpopmin +zadd +zcount +zrange +zrem +zremrangebyscore +expire +del +eval +evalsha"
    " +script|load +multi +exec",
    "pubsub": "+publish +subscribe +unsubscribe",
}
# A health view and a change of password. ACL is what root needs for the latter, and could give itself more.
ADMIN_COMMANDS = "+info +client +acl +memory +latency +dbsize +scan +config|get"
# Besides, where servers copy each other: what has one copy another, and what a copy and Sentinel send.
ADMIN_OF_COPIES = "+role +replicaof"
PEER_COMMANDS = (
    "+psync +replconf +role +info +multi +exec +replicaof +slaveof +publish +subscribe +config|rewrite +client|kill"
    " +script|kill"
)


def sha256(text: str) -> str:
    """The hexadecimal sum, as Redis takes it in a user's definition."""
    return hashlib.sha256(text.encode()).hexdigest()


def quoted(text: str) -> str:
    """A word in double quotes as Redis reads it; whatever could end the word or the line is written by its number."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in text.encode())
    return '"' + "".join(plain) + '"'


def class_of(backend: str) -> str:
    """Return the name of a layer class in COMMANDS."""
    return "pubsub" if ".pubsub." in backend else "core"


def classes_in(config: str) -> list[str]:
    """Return the layer classes for which a configuration gives the portal rights."""
    rows = [line.split() for line in config.splitlines() if line.startswith(f"user {PORTAL_USER} ")]
    return [name for name, commands in COMMANDS.items() if any(commands.split()[0] in row for row in rows)]


def has_channel_rights(version: str | None) -> bool:
    """Return whether a Redis of this version has rights on channels. An unknown version counts as a later one."""
    found = re.match(r"(\d+)\.(\d+)", version or "")
    return not found or (int(found.group(1)), int(found.group(2))) >= (6, 2)


def rights(prefix: str, classes: Iterable[str], channel_rights: bool = True) -> str:
    """Return the portal's rights; Redis 6.0 has none on channels, so they are named only where a class needs them."""
    channels = f"resetchannels &{prefix}* " if channel_rights else ""
    reach = {"core": f"~{prefix}* {COMMANDS['core']}", "pubsub": f"{channels}{COMMANDS['pubsub']}"}
    return " ".join(["resetkeys -@all", CONNECT, *(reach[name] for name in COMMANDS if name in classes)])


def users(credentials: dict[str, Any], granted: str, acl: bool = True, sums: list[str] | None = None) -> list[str]:
    """The lines that let the portal in, and nobody else; `sums` are those of the portal's passwords, where not one.

    With a peer's password among the credentials, they let the other servers in as well, and say how to get in there.

    Args:
        credentials: the passwords.
        granted: the portal's rights.
        acl: whether the server has users.
        sums: the digests of all passwords that open.
    """
    if not acl:
        return ["requirepass " + quoted(credentials["password"])]
    opening = " ".join("#" + each for each in sums or [sha256(credentials["password"])])
    peer = credentials.get("peer_password")
    more = f" {ADMIN_OF_COPIES}" if peer else ""
    lines = [
        "user default off",
        f"user {PORTAL_USER} on {opening} {granted}",
        f"user {ADMIN_USER} on #{sha256(credentials['admin_password'])} ~* -@all {CONNECT} {ADMIN_COMMANDS}{more}",
    ]
    if peer:
        lines += [
            f"user {PEER_USER} on #{sha256(peer)} ~* &* -@all {CONNECT} {PEER_COMMANDS}",
            f"masteruser {PEER_USER}",
            "masterauth " + quoted(peer),
        ]
    return lines


def tell(redis: Redis, sums: list[str], check: bool, granted: str = "") -> bool:
    """Have a running server, or Sentinel, open to these passwords and no others; returns whether it did not.

    With `granted`, the portal's user gets these rights and no others, at once: no client is disconnected that keeps
    what it uses. What rights it has is not compared, since each version of Redis shows them in another form.
    """
    about = redis.command("ACL", "GETUSER", PORTAL_USER)
    if not about:
        raise RedisError(NO_USER)
    have = strings(pairs(about).get("passwords") or [])
    words = ["#" + each for each in sums if each not in have] + ["!" + each for each in have if each not in sums]
    if (words or granted) and not check:
        redis.command("ACL", "SETUSER", PORTAL_USER, *words, *granted.split())
    return bool(words)

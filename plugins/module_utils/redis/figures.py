# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a Redis or a Sentinel, and the messages that wait in it."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import (
    MOST_DIGITS,
    MOST_VERSION,
    NO_REDIS,
    STEP,
    Redis,
    RedisError,
)
from ansible_collections.tethys.channels.plugins.module_utils.redis.sentinels import healthy_copies, primary_of

# A look must not keep a busy server from its work: so many keys at a time, and no more than so many in all.
MOST_KEYS = 20 * STEP
FIGURES = {
    "uptime_seconds": "uptime_in_seconds",
    "used_memory": "used_memory",
    "max_memory": "maxmemory",
    "clients": "connected_clients",
    "max_clients": "maxclients",
    "rejected_connections": "rejected_connections",
    "evicted_keys": "evicted_keys",
}
UNKNOWN: dict[str, Any] = {
    "problem": None,
    "known": False,
    "version": None,
    "watches": False,
    "primary": None,
    "copies": None,
    **dict.fromkeys(FIGURES),
    "oom_errors": None,
    "backlog": None,
}
Connect = Callable[["dict[str, Any]"], Redis]


def info_of(redis: Redis) -> dict[str, str]:
    """Return the fields of INFO by name; raise RedisError if this user may not run it."""
    # `all`, because the counts of errors, added in 6.2, are not in the default sections.
    lines = str(redis.command("INFO", "all")).splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name: value for name, _colon, value in pairs}


def _number(text: str | None) -> int | None:
    """A figure of INFO; None where it is no number."""
    return int(text) if text and text.isdecimal() and len(text) <= MOST_DIGITS else None


def figures(info: dict[str, str]) -> dict[str, Any]:
    """Return the figures of INFO that the report shows."""
    found: dict[str, Any] = {name: _number(info.get(field)) for name, field in FIGURES.items()}
    version = clean(info["redis_version"], MOST_VERSION) if "redis_version" in info else None
    numbers = tuple(int(part) for part in (version or "0").split(".")[:2] if part.isdecimal())
    refused = info.get("errorstat_OOM")
    # Since 6.2 an error is counted by its first word; one that never came is not in the list.
    oom = _number(refused.partition("=")[2]) if refused else 0 if numbers >= (6, 2) else None
    if found["clients"] is not None:
        found["clients"] -= 1  # ours
    known = all(found[name] is not None for name in FIGURES if name != "max_clients")
    return {**found, "known": known, "version": version, "oom_errors": oom}


def channel_keys(redis: Redis, prefix: str) -> tuple[set[str], bool]:
    """The keys in which messages wait, and whether these are all of them."""
    # What a person could have put into the prefix means itself.
    pattern = "".join(f"\\{sign}" if sign in "*?[]^\\" else sign for sign in prefix) + "*"
    cursor, seen = "0", 0
    found: set[str] = set()
    while True:
        cursor, keys = redis.scan(cursor, STEP, "MATCH", pattern)
        # So many are walked over, whether they match or not.
        seen += STEP
        # Groups are no channels, and what is in flight was taken already.
        found.update(key for key in keys if not key.startswith(f"{prefix}:group:") and not key.endswith("$inflight"))
        if cursor == "0" or seen >= MOST_KEYS:
            return found, cursor == "0"


def waiting(redis: Redis, keys: set[str], complete: bool) -> dict[str, Any]:
    """How many messages wait in how many channels."""
    counts = [redis.command("ZCOUNT", key, "-inf", "+inf") for key in sorted(keys)]
    if not all(isinstance(count, int) for count in counts):
        raise RedisError(NO_REDIS)
    return {"messages": sum(counts), "channels": sum(bool(count) for count in counts), "complete": complete}


def place(endpoint: dict[str, Any]) -> str:
    """Where a server is, without its password."""
    name = f" ({endpoint['inventory_name']})" if endpoint.get("inventory_name") else ""
    return str(endpoint.get("path") or f"{endpoint.get('host')}:{endpoint.get('port')}{name}")


def watched(look: dict[str, Any]) -> dict[str, Any]:
    """Where a Sentinel of the collection's own has the primary, and how many copies that are well it sees."""
    try:
        with Redis(look) as sentinel:
            primary = primary_of(sentinel)
            copies = healthy_copies(sentinel) if primary else 0
    except (OSError, RedisError, ValueError) as error:
        return {"watches": True, "problem": f"does not answer ({error})"}
    if primary is None:
        return {"watches": True, "problem": "watches no primary"}
    return {"watches": True, "primary": f"{primary['host']}:{primary['port']}", "copies": copies}


def read_redis(
    look: dict[str, Any], portal: dict[str, Any], prefix: str, keeps: bool, connect: Connect = Redis
) -> dict[str, Any]:
    """One server, asked for its figures as `look`, and for its messages as `portal` where that is another user."""
    return read_figures(look, portal, prefix, keeps, connect)[0]


def read_figures(
    look: dict[str, Any], portal: dict[str, Any], prefix: str, keeps: bool, connect: Connect
) -> tuple[dict[str, Any], bool]:
    """Return the same, and whether it refused the login or the command."""
    found = {**UNKNOWN, "place": place(look)}
    if look.get("sentinel"):
        # A Sentinel, not a Redis. One that the collection does not run may need another login.
        return {**found, **watched(look)} if look.get("inventory_name") else found, False
    try:
        with connect(look) as redis:
            redis.command("PING")
            try:
                found.update(figures(info_of(redis)))
                keys, complete = channel_keys(redis, prefix) if keeps else (set(), True)
            except RedisError:
                return found, False  # what this user may not ask is not known
        if keeps:
            with connect(portal) as redis, contextlib.suppress(RedisError):
                found["backlog"] = waiting(redis, keys, complete)
    except ssl.SSLCertVerificationError:
        return found, False  # which certificates the portal trusts is the portal's
    except RedisError as error:
        found["problem"] = f"refuses {'the login' if 'PASS' in str(error) or 'AUTH' in str(error) else 'us'} ({error})"
        return found, True
    except (OSError, ValueError) as error:
        found["problem"] = f"cannot be reached ({error})"
    return found, False

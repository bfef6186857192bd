# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what the portal's redis-py requires of Redis and of CHANNEL_LAYERS."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal, Settings
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import READ_TIMEOUT
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import sets_timeout
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Data, Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import is_mapping, list_of, mapping_of

# The first redis-py that opens a connection with HELLO unless `protocol` is 2, the first Redis that has it, and the
# first that takes it from a client that has not logged in yet where the default user is off, as in our container.
CLIENT_WITH_HELLO = 8
SERVER_WITH_HELLO = (6, 0)
SERVER_WITH_HELLO_BEFORE_LOGIN = (6, 2)
OLDER_CLIENT = "channels_redis_requirements to ['channels_redis>=4.2,<5', 'redis>=4.6,<8']"


def major(version: object) -> int | None:
    """Return the first number of a version, or None."""
    found = re.match(r"(\d+)", str(version or ""))
    return int(found.group(1)) if found else None


def client_version(packages: Data, portal: Portal) -> str | None:
    """Return the version of redis-py that the portal has after the run, or None."""
    moves = map(mapping_of, list_of(packages.get("moves")))
    moved = {str(row.get("name")): row.get("to") for row in moves}
    installed = mapping_of(packages.get("installed")).get("redis")
    found = moved.get("redis") or installed or (portal.get("versions") or {}).get("redis")
    return str(found) if found else None


def _first_two(version: object) -> tuple[int, int] | None:
    """Return the first two numbers of a version; of `6` alone the newest of that line, as a tag means it."""
    found = re.match(r"(\d+)(?:\.(\d+))?", str(version or ""))
    return (int(found.group(1)), int(found.group(2) or 99)) if found else None


def hello_refusal(
    variable: str, value: str, server: object, client: object, fix: str, ours: bool = False
) -> Problem | None:
    """Return why this redis-py cannot connect to this Redis, or None.

    Args:
        variable: the variable that names the Redis, with its value.
        value: what it says.
        server: the version of Redis, or None where it is not known.
        client: the version of redis-py, or None where it is not known.
        fix: what to set, before "or".
        ours: whether it is a container of ours, whose default user is off.
    """
    version, client_major = _first_two(server), major(client)
    if version is None or client_major is None or client_major < CLIENT_WITH_HELLO:
        return None
    if version >= (SERVER_WITH_HELLO_BEFORE_LOGIN if ours else SERVER_WITH_HELLO):
        return None
    text = (
        f"{variable} is {value}: redis-py {client} opens a connection with HELLO, and Redis {server} does not have that"
        f" command. {fix}"
    )
    if version >= SERVER_WITH_HELLO:
        text = (
            f"{variable} is {value}: redis-py {client} opens a connection with HELLO, and Redis {server} denies that"
            f" command to a client that has not logged in. {fix}"
        )
    return Problem("redis-without-hello", variable, text)


def without_protocol(hosts: object) -> bool:
    """Return whether an entry of a list of hosts leaves the protocol to redis-py."""
    return isinstance(hosts, (list, tuple)) and any(_protocol(host) != "2" for host in hosts)


def _protocol(host: object) -> str:
    """Return the protocol that a host's entry names, or its URL."""
    entry = mapping_of(host if is_mapping(host) else {"address": host})
    url = parse_qs(urlsplit(str(entry.get("address") or "")).query)
    return str(entry.get("protocol") or "".join(url.get("protocol", [])[-1:]))


def timeout_is_new(settings: Settings, backend: str) -> bool:
    """Return whether a run adds socket_timeout to the layer that the portal has."""
    hosts = settings.get("layer_hosts")
    return (
        settings.get("layer_backend") == backend
        and isinstance(hosts, list)
        and any(not sets_timeout(host) for host in hosts)
    )


def timeout_announcement(rolls: bool) -> str:
    """Return the sentence for a layer that gets socket_timeout, and for the restart if nothing else announces one."""
    how = " The processes restart one at a time." if rolls else ""
    return f"CHANNEL_LAYERS changes: its hosts get socket_timeout {READ_TIMEOUT}, which redis-py 8 needs.{how}"

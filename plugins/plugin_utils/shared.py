# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Redis that several portals share: where it is, what speaks against it, and how the portals reach it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis_way import url_host
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.sentinel import (
    SENTINEL,
    topology_of,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import Hosts, SharedServer
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import DEFAULT_PORT
from ansible_collections.tethys.channels.plugins.plugin_utils.model import PUBSUB_BACKEND, SHARED_CA_HERE
from ansible_collections.tethys.channels.plugins.plugin_utils.sentinel import (
    NOT_KNOWN_YET,
    SharedEndpoint,
    SharedLogin,
    endpoints,
    layer_hosts,
    sentinel_port,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number

# What a portal's connection to another machine needs besides: the core layer's read lasts 5 s, and one that lasts
# longer will never end, since the machine at the other end has gone without a word.
PATIENCE = {"socket_connect_timeout": 5, "socket_timeout": 15, "health_check_interval": 10}
# The pub/sub class waits for no answer, also not to a health check, so that the kernel has to find that out (the
# numbers are Linux's TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT and TCP_USER_TIMEOUT). A network that is away for less
# than half a minute loses nothing.
PATIENCE_OF_PUBSUB = {
    **PATIENCE,
    "socket_keepalive": True,
    "socket_keepalive_options": {4: 10, 5: 5, 6: 4, 18: 30000},
}
NOBODY: SharedLogin = {"username": PORTAL_USER, "password": None, "ca": None, "started_at": 0, "classes": []}


class LoginRow(TypedDict, total=False):
    """What `redis_login` returned for one server; without `login`, the server was not reached."""

    login: SharedLogin
    msg: str


class SharedRedis(TypedDict):
    """How a portal reaches the Redis that it shares with others.

    Args:
        servers: where it is.
        hosts: for the channel layer.
        endpoints: the same for `redis_ping`.
        authorities: one file of certificates.
        started_at: the last of the servers' starts.
        missing: servers without a login yet.
        unreached: servers that Ansible does not reach.
    """

    servers: list[SharedServer]
    hosts: list[Any]
    endpoints: list[SharedEndpoint]
    authorities: str
    started_at: float
    missing: list[str]
    unreached: list[str]


def shared_redis(names: Iterable[str], hosts: Hosts, backend: str, logins: Sequence[LoginRow] = ()) -> SharedRedis:
    """How a portal reaches the Redis that it shares with others.

    Args:
        names: the inventory's names of that Redis's servers, in any order.
        hosts: every host's variables by its name.
        backend: the layer's class.
        logins: what `redis_login` read on these servers, as a loop over the sorted names registers it.

    Where Sentinel watches, one login is enough.
    """
    servers = servers_of(names, hosts)
    # A server that cannot be reached returns nothing.
    found: list[SharedLogin] = [row.get("login") or NOBODY for row in logins]
    authorities = "".join(dict.fromkeys(str(login["ca"]).strip() + "\n" for login in found if login["ca"]))
    ready = [bool(login["password"] and login["ca"]) for login in found]
    unreachable = [
        f"{server['name']} ({_first_line(row.get('msg'))})"
        for server, row in zip(servers, logins)
        if "login" not in row
    ]
    if servers and topology_of(hosts[servers[0]["name"]]) == SENTINEL:
        # All of them have the same, and which one serves is not known beforehand. The data of one of them are
        # replicated to the others, so that nothing is lost when it is restarted.
        login = next((each for each, is_ready in zip(found, ready) if is_ready), NOBODY)
        return {
            "servers": servers,
            "hosts": layer_hosts(servers, login),
            "endpoints": endpoints(servers, login, authorities),
            "authorities": authorities,
            "started_at": 0,
            "missing": [] if any(ready) else [server["name"] for server in servers],
            "unreached": [] if any(ready) else unreachable,
        }
    return {
        "servers": servers,
        "hosts": _hosts(servers, found, PATIENCE_OF_PUBSUB if backend == PUBSUB_BACKEND else PATIENCE),
        "endpoints": _endpoints(servers, found),
        "authorities": authorities,
        "started_at": max((login["started_at"] for login in found), default=0),
        "missing": [server["name"] for server, is_ready in zip(servers, ready) if not is_ready],
        "unreached": unreachable,
    }


def _first_line(text: Any) -> str:
    return next(iter(str(text or "").strip().splitlines()), "no reason was given").rstrip(".:")


def servers_of(names: Iterable[str], hosts: Hosts) -> list[SharedServer]:
    """The servers of the shared Redis as the inventory has them, in the order that every portal takes.

    A layer takes the first, second, … of its hosts by a digest of the group's name, so another order is another Redis.
    """
    found: list[SharedServer] = []
    for name in sorted(names):
        variables = hosts[name]
        found.append(
            {
                "name": str(name),
                "address": str(variables.get("redis_container_address") or ""),
                "port": whole_number(variables.get("redis_container_port")) or DEFAULT_PORT,
                "sentinel_port": sentinel_port(variables),
            }
        )
    return found


def _hosts(servers: Sequence[SharedServer], logins: Sequence[SharedLogin], patience: Mapping[str, Any]) -> list[Any]:
    """The shared Redis as `hosts` of a channel layer. A URL cannot contain every password, so it is separate."""
    return [
        {
            "address": f"rediss://{url_host(server['address'])}:{server['port']}",
            "username": login["username"],
            "password": login["password"] or NOT_KNOWN_YET,
            "ssl_ca_certs": SHARED_CA_HERE,
            "ssl_check_hostname": True,
            **patience,
        }
        for server, login in zip(servers, logins)
    ]


def _endpoints(servers: Sequence[SharedServer], logins: Sequence[SharedLogin]) -> list[SharedEndpoint]:
    """The same as `redis_ping` takes them, before anything is written on the portal's server."""
    return [
        {
            "host": server["address"],
            "port": server["port"],
            "username": login["username"],
            "password": login["password"],
            "tls": True,
            "ca_data": login["ca"],
            "inventory_name": server["name"],
        }
        for server, login in zip(servers, logins)
    ]

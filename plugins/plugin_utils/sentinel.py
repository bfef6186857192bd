# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis under Sentinel, as a portal's channel layer and its check reach it, and the passwords of its servers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER, PRIMARY_NAME
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import Hosts, HostVariables, PeerLogin, SharedServer
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import SENTINEL_PORT
from ansible_collections.tethys.channels.plugins.plugin_utils.model import SHARED_CA_HERE, refused
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number

# A core layer's read lasts 5 s. That its server has gone without a word, the kernel finds out before (TCP_KEEPIDLE,
# TCP_KEEPINTVL and TCP_KEEPCNT, and for what was sent TCP_USER_TIMEOUT, as Linux numbers them): Sentinel has failed
# over to a replica by the time that a page reconnects.
PATIENCE = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "socket_keepalive_options": {4: 1, 5: 1, 6: 3, 18: 4000},
    "health_check_interval": 10,
    # Once, and by a new connection: one that the kernel gave up passes for a good one until it is written to.
    "retry_on_timeout": True,
}
# A sentinel that does not answer at once is passed by for the next. redis-py's own retries would outlast a handshake.
PATIENCE_WITH_SENTINEL = {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": None}
NOT_KNOWN_YET = "made by the run"


class SharedLogin(TypedDict):
    """The portals' login to a server, without a password where it was not set up yet; `classes` have rights there."""

    username: str | None
    password: str | None
    ca: str | None
    started_at: float
    classes: list[str]


class SharedEndpoint(TypedDict, total=False):
    """The same as `redis_ping` takes it."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    ca_data: str | None
    inventory_name: str
    sentinel: str


def sentinel_port(variables: HostVariables) -> int:
    """The port on which a host's Sentinel answers."""
    return whole_number(variables.get("redis_container_sentinel_port")) or SENTINEL_PORT


def common_secrets(names: Iterable[str], hosts: Hosts, rotate: bool = False) -> dict[str, str]:
    """The passwords that all servers have: those that the first of them keeps which has any, else new ones.

    Args:
        names: the inventory's names of the servers.
        hosts: every host's variables by its name, with what `redis_login` found for its peers.
        rotate: whether the portals' password is to be another one.

    Raises:
        Refusal: where nothing was read on any of them.
    """
    rows: list[PeerLogin] = [
        (hosts[name].get("__redis_container_peers") or {}).get("login") or {} for name in sorted(names)
    ]

    def first(name: Literal["password", "peer_password"], new: bool) -> str:
        kept = [mine[name] for row in rows if (mine := row.get("kept")) and mine[name]]
        offered = [row["offered"][name] for row in rows if row.get("offered")]
        found = [*([] if new else kept), *offered]
        if not found:
            raise refused(
                "secrets-unread",
                "redis_container_topology",
                "Nothing was read of what the servers keep that Sentinel watches: run tethys.channels.site.",
            )
        return str(found[0])

    return {"password": first("password", rotate), "peer_password": first("peer_password", False)}


def layer_hosts(servers: Sequence[SharedServer], login: SharedLogin) -> list[Any]:
    """Return the one entry of a channel layer's hosts, with which the layer queries Sentinel for the primary."""
    trust = {"ssl": True, "ssl_ca_certs": SHARED_CA_HERE, "ssl_check_hostname": True}
    who = {"username": login.get("username") or PORTAL_USER, "password": login.get("password") or NOT_KNOWN_YET}
    return [
        {
            "master_name": PRIMARY_NAME,
            "sentinels": [[server["address"], server["sentinel_port"]] for server in servers],
            **who,
            **trust,
            **PATIENCE,
            "sentinel_kwargs": {**who, **trust, **PATIENCE_WITH_SENTINEL},
        }
    ]


def endpoints(servers: Sequence[SharedServer], login: SharedLogin, authorities: str) -> list[SharedEndpoint]:
    """Return the sentinels as `redis_ping` takes them, which also checks the primary that they report."""
    return [
        {
            "host": server["address"],
            "port": server["sentinel_port"],
            "username": login.get("username"),
            "password": login.get("password"),
            "tls": True,
            "ca_data": authorities,
            "inventory_name": server["name"],
            "sentinel": PRIMARY_NAME,
        }
        for server in servers
    ]

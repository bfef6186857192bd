# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a Redis container of ours is reached: by the portal on its server, or by other servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.plugin_utils.model import DEFAULT_REDIS_PORT, Data
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number

# Where the collection keeps the CA certificate on a shared Redis host.
CA_BESIDE_REDIS = f"{PortalNames().state}/redis/ca.crt"
LOSS = "messages of about a second are lost"
LOSS_OF_CORE = f"{LOSS}, and the processes restart one at a time, since Redis loses its subscribers"
LOSS_OF_REPLICAS = "the primary after the others and once one of them has its place"
LOSS_OF_REPLICAS_OF_CORE = f"{LOSS_OF_REPLICAS}, and open WebSockets are closed then"


class RedisEndpoint(TypedDict, total=False):
    """Where Redis answers: a socket's path, or an address with the CA by which its certificate is verified."""

    host: str
    port: int
    path: str
    tls: bool
    ca: str


@dataclass(frozen=True)
class Way:
    """How a container is reached.

    Args:
        transport: `unix`, `published`, `host` or `tls`.
        port: the port, also where there is a socket.
        endpoint: where it answers.
        place: the same in a word.
        label: what a container carries as its label that is reached so.
        is_shared: whether other servers reach it, and no portal is on its server.
        loss: what users notice where the container is replaced for another image, with the pub/sub class.
        loss_of_core: the same with the core class.
    """

    transport: str
    port: int
    endpoint: RedisEndpoint
    place: str
    label: str
    is_shared: bool
    loss: str = LOSS
    loss_of_core: str = LOSS_OF_CORE


def portals_way(options: Data, group: str | None, socket: str) -> Way:
    """Return how a portal reaches its own Redis, by the roles' variables; its group may use the socket."""
    transport, port = str(options.get("redis_container_transport", "unix")), _port(options)
    if transport == "unix":
        label = f"{transport} {socket} (group {group})"
        return Way(transport, port, {"path": socket}, socket, label, False)
    place = f"127.0.0.1:{port}"
    return Way(transport, port, {"host": "127.0.0.1", "port": port}, place, f"{transport} {place}", False)


def shared_way(options: Data, watched: bool) -> Way:
    """Return how other servers reach a shared Redis host, which Sentinel may watch."""
    port = _port(options)
    place = f"{url_host(str(options['address']))}:{port}"
    endpoint: RedisEndpoint = {"host": str(options["address"]), "port": port, "tls": True, "ca": CA_BESIDE_REDIS}
    losses = (LOSS_OF_REPLICAS, LOSS_OF_REPLICAS_OF_CORE) if watched else (LOSS, LOSS_OF_CORE)
    return Way("tls", port, endpoint, place, f"tls {place}", True, *losses)


def _port(options: Data) -> int:
    """The port of the container, a number also where the command line delivered its digits."""
    return whole_number(options.get("redis_container_port")) or DEFAULT_REDIS_PORT


def url_host(address: str) -> str:
    """Return an address as a URL has it."""
    return f"[{address}]" if ":" in address else address

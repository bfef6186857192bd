# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a decision about one host reads of other hosts: their variables, and what the run has found there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import Probe
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server


class Place(TypedDict):
    """Where a Redis or a Sentinel answers."""

    host: str
    port: int


class SharedServer(TypedDict):
    """A server of the Redis that portals share, as the inventory has it."""

    name: str
    address: str
    port: int
    sentinel_port: int


class SentinelStep(TypedDict):
    """What a run does with the Redis and the Sentinel of one server."""

    primary: Place
    is_primary: bool
    port: int
    sentinels: list[Place]


class SentinelView(TypedDict, total=False):
    """What a server's Sentinel reported, or why it did not, and what is written down there."""

    set_up: bool
    authority: str
    problem: str | None
    problem_code: str | None
    primary: Place | None
    last: Place | None
    role: str | None


class FoundThere(TypedDict, total=False):
    """What the preflight check found on a host."""

    portal: Portal
    server: Server
    sentinel: SentinelView


class ProbedThere(TypedDict, total=False):
    """What the delivery check between portals returned on a host."""

    probe: Probe


class Secrets(TypedDict):
    """The passwords of servers that Sentinel watches."""

    password: str | None
    peer_password: str | None


class PeerLogin(TypedDict, total=False):
    """What a server keeps of them, and what it offers where none keeps any."""

    kept: Secrets
    offered: Secrets


class PeersThere(TypedDict, total=False):
    """What `redis_login` returned on a server for the others."""

    login: PeerLogin


# Written as a call, since a class would change names that begin with two underscores.
HostVariables = TypedDict(
    "HostVariables",
    {
        "redis_container_address": object,
        "redis_container_password": object,
        "redis_container_port": object,
        "redis_container_sentinel_port": object,
        "redis_container_topology": object,
        "portal_config_layer_options": object,
        "tethys_layer_backend": object,
        "__preflight_found": FoundThere,
        "__fleet_check_result": ProbedThere,
        "__redis_container_peers": PeersThere,
    },
    total=False,
)
Hosts = Mapping[str, HostVariables]

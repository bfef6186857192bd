# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which class a portal's layer has where the inventory leaves the choice to the run, and why.

The reasons for the default are in docs/docsite/rst/explanation_classes.rst. Each reason here continues a sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal, Settings
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.sentinel import SENTINEL, topology_of
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import FoundThere, Hosts
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import HOSTS
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import only_of_core
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    AUTO,
    CORE_BACKEND,
    PUBSUB_BACKEND,
    Refusal,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import mapping_of

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.server.workers import Worker

WATCHED = "with the pub/sub class, messages are lost for a minute where the server of the primary vanishes"
NOTHING: FoundThere = {}
NO_SETTINGS: Settings = {}
NO_SERVER: Server = {}


def chosen_class(asked: object, reason: str) -> str:
    """Return the layer's class: the one asked for, or, where the choice is left to the run, core for a reason."""
    if asked not in (None, "", AUTO):
        return str(asked)  # another check refuses what is not a class
    return CORE_BACKEND if reason else PUBSUB_BACKEND


def core_reason(options: object, hosts: object, found: FoundThere | None = None) -> str:
    """Return what of one portal needs the core class, or an empty text.

    Args:
        options: portal_config_layer_options.
        hosts: tethys_layer_hosts.
        found: what was found on the portal's server; None before it was inspected.
    """
    there = found or NOTHING
    of_variables = _of_options(options) or _of_hosts(hosts)
    return of_variables or _of_workers(there) or _of_portal(there.get("portal"))


def _of_options(options: object) -> str:
    found = only_of_core(options)
    return f"portal_config_layer_options has {', '.join(found)}, which only the core class takes" if found else ""


def _of_hosts(hosts: object) -> str:
    try:
        endpoints = redis_endpoints(hosts) if hosts else []
    except Refusal:
        return ""  # another check refuses it
    if any(endpoint["sentinel"] for endpoint in endpoints):
        return f"{HOSTS} names sentinels, and {WATCHED}"
    if any(endpoint["db"] for endpoint in endpoints):
        return f"{HOSTS} has a database, and a message of the pub/sub class is received in all databases of a Redis"
    if any(endpoint["host"] and not _is_here(endpoint["host"]) for endpoint in endpoints):
        return (
            f"{HOSTS} names a Redis that is reached over the network, and without TCP keepalive, the pub/sub class does"
            " not notice that a connection was cut"
        )
    return ""


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def named_workers(workers: Sequence[Worker]) -> str:
    """Return processes as an administrator finds them."""
    return ", ".join(f"{row['command']} (process {row['pid']} of {row['user']})" for row in workers)


def channel_workers(workers: Sequence[Worker]) -> list[Worker]:
    """Return those that receive from channels by their names."""
    return [row for row in workers if row["of_channels"]]


def _of_workers(found: FoundThere) -> str:
    """Return which worker needs the core class, of those that run and those that Supervisor is to run.

    A portal that has the pub/sub class keeps it: a worker alone, which may run for a minute, restarts no process.
    """
    server: Server = found.get("server") or NO_SERVER
    if _settings(found.get("portal")).get("layer_backend") == PUBSUB_BACKEND:
        return ""
    running = channel_workers(server.get("workers") or [])
    programs = [f"the program {name} under Supervisor" for name in server.get("channel_programs") or []]
    names = [named_workers(running[:1])] if running else programs[:1]
    return f"a worker receives from a channel by its name, which needs the core class: {names[0]}" if names else ""


def _of_portal(portal: Portal | None) -> str:
    layers = mapping_of(_settings(portal).get("channel_layers"))
    others = [name for name, layer in layers.items() if name != "default" and _class(layer) == CORE_BACKEND]
    if not others:
        return ""
    names = ", ".join(sorted(others))
    return f"CHANNEL_LAYERS has the core class under {names} as well, and Redis is to accept one class"


def _class(layer: object) -> object:
    return mapping_of(layer).get("BACKEND")


def _settings(portal: Portal | None) -> Settings:
    return (portal.get("settings") or NO_SETTINGS) if portal else NO_SETTINGS


def shared_reason(portals: Sequence[str], hosts: Hosts, redis: Sequence[str], classes: Collection[str] = ()) -> str:
    """Return why portals that share a Redis have the core class, all of them; empty where none needs it.

    Args:
        portals: the inventory's names of the portals.
        hosts: every host's variables by its name, with what was found there.
        redis: the inventory's names of the Redis's servers.
        classes: for which of the classes the portals have rights there, by their names in `COMMANDS`, where known.
    """
    if any(topology_of(hosts[name]) == SENTINEL for name in redis):
        return f"redis_container_topology is sentinel, and {WATCHED}"
    # Each of them once, because Ansible combines a host's variables at every access.
    known = {name: hosts[name] for name in sorted(portals)}
    found = {name: variables.get("__preflight_found") or NOTHING for name, variables in known.items()}
    for name, variables in known.items():
        asked = variables.get("tethys_layer_backend") or AUTO
        if asked == CORE_BACKEND:
            return f"it is {CORE_BACKEND} for {name}, which shares the Redis"
        options = variables.get("portal_config_layer_options")
        reason = core_reason(options, None, found[name]) if asked == AUTO else ""
        if reason:
            return f"for {name}, which shares the Redis, {reason}"
    return _of_unseen(found, "core" in classes)


def _of_unseen(found: Mapping[str, FoundThere], has_core_rights: bool) -> str:
    """Return why a run that does not inspect every portal does not change the class."""
    unseen = [name for name, there in found.items() if "server" not in there]
    now = [_settings(there.get("portal")).get("layer_backend") for there in found.values()]
    # A portal that is new has the class of those that are there.
    is_core = CORE_BACKEND in now or (has_core_rights and PUBSUB_BACKEND not in now)
    if not unseen or not is_core:
        return ""
    return f"this run does not inspect {', '.join(unseen)}, which may need the core class and shares the Redis"

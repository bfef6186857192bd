# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Portals of one inventory that are on one server: what they cannot have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import PurePosixPath
from typing import NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import AUTO, PORT
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import STATUS_FILES
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import OF_NAME, defaults
from ansible_collections.tethys.channels.plugins.plugin_utils.model import APART, DEFAULT_REDIS_PORT, Data, Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import mapping_of
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, whole_number

# What a variable of the inventory names is one portal's alone, besides its name, TETHYS_HOME and ports.
OWN = (
    *("redis_container_name", "asgi_service_run_dir", "asgi_service_log_dir", "nginx_upstream_name"),
    "layer_check_url",
)
UNKNOWN = object()


class Portal(NamedTuple):
    """A portal as the inventory has it."""

    host: str
    # The address by which Ansible reaches its server, and the port of that connection.
    server: tuple[str, str]
    name: str
    home: str
    # Those that the inventory names, or the usual one of a portal without a name.
    ports: frozenset[int]
    # Its values of OWN, and its Redis's port or the place of its messages in a Redis that exists already.
    own: dict[str, str]


def portal(host: str, variables: Data) -> Portal | None:
    """Return a portal; None where it is known only once its server was reached, or where it is in Tethys Docker."""

    def value(name: str) -> object:
        # A template inside of a template fails with errors of Jinja's and of Ansible's.
        with contextlib.suppress(Exception):
            return variables.get(name)
        return UNKNOWN

    def text(name: str) -> str | None:
        found = value(name)
        return None if found is UNKNOWN else "" if found is None else str(found)

    name, home = text("tethys_portal_name"), text("tethys_home")
    if name is None or not home:
        return None
    first = whole_number(text("tethys_port")) or (PORT if not name and text("tethys_port") in ("", AUTO) else None)
    count = (whole_number(text("tethys_asgi_processes")) or 1) if text("tethys_asgi_layout") == APART else 1
    ports = frozenset(range(first, first + count) if first else ())
    is_local = text("ansible_connection") == "local"
    server = ("localhost" if is_local else text("ansible_host") or host, text("ansible_port") or "22")
    # On the controller one file is for all hosts.
    alone = OWN if text("layer_check_status_on") == "controller" else (*OWN, *STATUS_FILES)
    own = {}
    for variable in alone:
        found = text(variable)
        usual = str(defaults().get(variable) or "").replace(OF_NAME, PortalNames(name).suffix)
        if found is not None and (found or usual):
            own[variable] = found or usual
    hosts, options = value("tethys_layer_hosts"), value("portal_config_layer_options")
    if hosts and hosts is not UNKNOWN:
        prefix = mapping_of(options).get("prefix")
        own["tethys_layer_hosts"] = f"{hosts} {prefix or 'asgi'}"
    elif text("redis_container_transport") in ("published", "host"):
        own["redis_container_port"] = text("redis_container_port") or str(DEFAULT_REDIS_PORT)
    return Portal(host, server, name, home, ports, own)


def problems(hosts: Iterable[str], variables: Mapping[str, Data], of: Iterable[str] = ()) -> list[Problem]:
    """Return why portals cannot be on one server together.

    Args:
        hosts: the portals' names in the inventory.
        variables: every host's variables by its name.
        of: the portals that are compared with each other and with the rest; without any, all are.
    """
    servers: dict[tuple[str, str], list[Portal]] = {}
    for found in (portal(host, variables[host]) for host in sorted(hosts)):
        if found:
            servers.setdefault(found.server, []).append(found)
    pairs = (pair for each in servers.values() for pair in combinations(each, 2))
    chosen = set(of)
    return [
        problem
        for one, other in pairs
        if not chosen or chosen & {one.host, other.host}
        for problem in _of_pair(one, other)
    ]


def _of_pair(one: Portal, other: Portal) -> Iterable[Problem]:
    """Yield what two portals of one server have in common and cannot; one that is listed twice is no other portal."""
    hosts = f"{one.host} and {other.host}, which are on one server ({one.server[0]})"
    if one.home == other.home:
        if one.name != other.name:
            yield Problem(
                "portal-home-twice",
                "tethys_home",
                f"tethys_home is {show(one.home)} for {hosts}, and tethys_portal_name differs. Set tethys_home to a"
                " separate folder for each of them.",
            )
        return
    if one.name == other.name:
        yield Problem(
            "portal-name-twice",
            "tethys_portal_name",
            f"tethys_portal_name is {show(one.name)} for {hosts}. Set it to another name for one of them, such as"
            " staging.",
        )
        return
    common = sorted(one.ports & other.ports)
    if common:
        yield Problem(
            "portal-port-twice",
            "tethys_port",
            f"tethys_port {common[0]} is a port of {hosts}. Set tethys_port to another port for one of them.",
        )
    yield from _same_values(one, other, hosts)


def _collide(variable: str, one: str, other: str) -> bool:
    """Return whether two values are the same, or one folder is in the other, which is removed with the portal."""
    if not variable.endswith("_dir"):
        return one == other
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first in (second, *second.parents) or second in first.parents


def _same_values(one: Portal, other: Portal, hosts: str) -> Iterable[Problem]:
    """Yield the variables with one value for two portals that each need their own."""
    for variable in sorted(one.own.keys() & other.own.keys()):
        if not _collide(variable, one.own[variable], other.own[variable]):
            continue
        if variable == "tethys_layer_hosts":
            # It may hold a password.
            yield Problem(
                "portal-value-twice",
                "portal_config_layer_options",
                f"tethys_layer_hosts and the prefix in portal_config_layer_options are the same for {hosts}: each would"
                " receive the other's messages. Set another prefix for one of them.",
            )
        else:
            yield Problem(
                "portal-value-twice",
                variable,
                f"{variable} is {show(one.own[variable])} for {hosts}. Set it to another value for one of them.",
            )

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs and facts of a healthy server, for the tests of decisions; each takes what is to differ."""

from __future__ import annotations

import copy
from typing import Any, cast

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import ContainerFacts, Program, Server
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    Facts,
    Gathered,
    Inputs,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.plan import decide
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided


def plan(asked: dict[str, Any], options: dict[str, Any], found: dict[str, Any]) -> Plan:
    """Return the plan of a run, with every reason against it.

    Args:
        asked: the `tethys_` variables, each with its default.
        options: the roles' variables that matter to the decision.
        found: `names` and `values` of the host's variables, `known` ones of the user's own, and what the modules
            returned (`portal`, `server`, `packages`, `redis`); without `server`, only the variables are checked.

    Returns:
        `refusals`, `warnings` and `announce` (sentences), and, where nothing is refused, what the roles do. They do
        nothing if `as_proved` says that nothing has changed since a verified run whose plan had the same `sum`.
    """
    return decide(Inputs.given(asked, options, found), Facts.given(cast(Gathered, found))).printed()


HOME, PREFIX = "/var/lib/tethys", "/opt/conda/envs/tethys"
SOCKET = "/var/lib/tethys_channels/redis.sock"
CONFIG_LABEL, WAY_LABEL = "tethys.channels.config", "tethys.channels.transport"
# How a container of ours says that it is reached.
WAYS = {
    "unix": f"unix {SOCKET} (group www-data)",
    "published": "published 127.0.0.1:6379",
    "host": "host 127.0.0.1:6379",
}
WORKS = {"installed": True, "running": True, "version": "20.10", "problem": None, "kind": "docker"}
MISSING = {"installed": False, "running": False, "version": None, "problem": "no", "kind": "docker"}


def asked(**changes: Any) -> dict[str, Any]:
    """The `tethys_` variables."""
    return {
        "tethys_home": HOME,
        "tethys_conda_prefix": PREFIX,
        "tethys_asgi_processes": 3,
        "tethys_port": 8000,
        "tethys_user": "",
        "tethys_layer_backend": CORE_BACKEND,
        "tethys_layer_hosts": [],
        "tethys_bokeh": "auto",
        "tethys_bokeh_policy": "single",
        "tethys_asgi_layout": "shared_socket",
        **copy.deepcopy(changes),
    }


def options(**changes: Any) -> dict[str, Any]:
    """The roles' variables that matter to the plan."""
    return {
        "asgi_service_start_timeout": 90,
        "goal": "site",
        "redis_container_image": "docker.io/library/redis:8.2",
        "redis_container_install_engine": True,
        "redis_container_port": 6379,
        "redis_container_transport": "published",
        **copy.deepcopy(changes),
    }


def portal(**changes: Any) -> Portal:
    """What portal_info returns of a portal with the manual's in-memory layer."""
    found: Any = {
        "user": "www-data",
        "group": "www-data",
        "user_problem": None,
        "prefix_problem": None,
        "home_problem": None,
        "versions": {"tethys_platform": "4.6.1", "channels_redis": None},
        "config": {"path": f"{HOME}/portal_config.yml", "exists": True, "problem": None},
        "settings": {"layer_backend": MEMORY_BACKEND, "layer_hosts": None},
        "settings_problem": None,
        "access": [
            {"path": HOME, "need": "traverse", "ok": True, "blocked_by": None, "owner": "www-data", "real": None}
        ],
        "leftovers": [],
        "bokeh": [],
        "bokeh_problem": None,
        "lifecycle_consumer": True,
        **copy.deepcopy(changes),
    }
    return Portal(**found)


def server(**changes: Any) -> Server:
    """What server_info returns of a Debian server with Docker and Supervisor, and nothing of ours."""
    found: Any = {
        "root": True,
        "name": "portal",
        "os": {"id": "debian", "id_like": "", "name": "Debian GNU/Linux", "version_id": "12"},
        "python": "3.11",
        "repositories": [],
        "selinux": {"mode": "disabled", "web_connects": None},
        "docker": WORKS,
        "podman": None,
        "docker_library": True,
        "yaml_library": True,
        "image_present": True,
        "image_name": None,
        "container": None,
        "left_container": None,
        "sentinel_container": None,
        "redis_unit": False,
        "redis_port_container": None,
        "supervisor": {
            "installed": True,
            "running": True,
            "silent": False,
            "pid": 300,
            "version": "4.2.5",
            "config": "/c",
            "include": ["/c/*"],
        },
        "programs": [],
        "unread_programs": [],
        "workers": [],
        "other_programs": [],
        "neighbors": [],
        "channel_programs": [],
        "taken_names": [],
        "environment": None,
        "systemd": True,
        "watch": True,
        "fronts": None,
        "processes": [],
        "nginx": None,
        "listeners": [],
        "redis_address_here": None,
        "clock_ahead": None,
        "state": [],
        "state_of_other": None,
        "proved_plan": None,
        "trust": None,
        "socket_folder_problem": None,
        **copy.deepcopy(changes),
    }
    return Server(**found)


def container(way: str | None = "published", **changes: Any) -> ContainerFacts:
    """Our Redis container, which is reached in this way; None is one of before there was the label."""
    labels = {CONFIG_LABEL: "sum", **({WAY_LABEL: WAYS.get(way, way)} if way else {})}
    found: Any = {
        "id": "ba9876543210",
        "name": "tethys-channels-redis",
        "image": "docker.io/library/redis:8.2",
        "running": True,
        "labels": labels,
        "ports": [6379] if way == "published" else [],
        **changes,
    }
    return ContainerFacts(**found)


def manuals_container(**changes: Any) -> ContainerFacts:
    """The Redis container that the manual has one start by hand."""
    found: Any = {
        "id": "0123456789ab",
        "name": "eager_euler",
        "image": "redis:5",
        "running": True,
        "labels": {},
        "redis": {"version": "5.0.14", "foreign_key": None, "problem": None},
        "restart_policy": "no",
        **changes,
    }
    return ContainerFacts(**found)


def program(**changes: Any) -> Program:
    """The manual's program file."""
    found: Any = {
        "path": "/etc/supervisor/conf.d/asgi.conf",
        "link": f"{HOME}/asgi_supervisord.conf",
        "others": [],
        "user": "root",
        "layout": "shared_socket",
        "numprocs": "1",
        "socket": "tcp://127.0.0.1:8000",
        "managed": False,
        **changes,
    }
    return Program(**found)


def planned(asked: dict[str, Any], options: dict[str, Any], **found: Any) -> dict[str, Any]:
    """Return the plan, which changes nothing of what it is given, and depends on no sentence."""
    given = (asked, options, found)
    before = copy.deepcopy(given)
    result = decided(plan, *given)
    assert given == before, "What was handed in is not changed."
    return result

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module server_info finds on a server, besides what the portal's Python answers."""

from __future__ import annotations

import importlib.util
import os
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils import proof_record
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    addresses,
    front,
    kept_environment,
    lock,
    root_files,
    supervisord,
    system_python,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.containers import container_facts
from ansible_collections.tethys.channels.plugins.module_utils.server.listeners import listeners
from ansible_collections.tethys.channels.plugins.module_utils.server.operating_system import (
    os_release,
    repositories,
    selinux,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.programs import (
    Programs,
    processes,
    programs,
    taken_names,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import SupervisorFiles
from ansible_collections.tethys.channels.plugins.module_utils.server.workers import workers_of
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    Server,
    SupervisorState,
)
from ansible_collections.tethys.channels.plugins.module_utils.services import (
    Supervisor,
)

# The program file that was found, which a removal puts back, and the settings of the watch.
ORIGINAL = "program.original"
WATCH = "watch.json"
# What exists where systemd runs the services.
SYSTEMD = "/run/systemd/system"


def ports_of(found: Programs, fronts: front.Fronts | None, count: int) -> set[int]:
    """Return the ports on which the portal's program listens, and to which the web server sends its requests."""
    first = {program["port"] for program in found.portals}
    portals = fronts["portal"] if fronts else None
    first |= {target["port"] for target in portals["targets"] if target["here"]} if portals else set()
    return {port + number for port in first if port for number in range(count)}


def fronts_of(nginx: Nginx, portal: dict[str, Any] | None, home: str) -> front.Fronts | None:
    """Return where the web server sends requests; None if no portal is inspected."""
    if portal is None:
        return None
    settings = portal.get("settings") or {}
    folders = [home, *(settings.get(name) or "" for name in ("static_root", "media_root", "workspaces_root"))]
    return front.find(nginx.processes, nginx.upstream, folders)


def folder_problem(path: str) -> str | None:
    """Why a folder that is to be ours cannot be made or used."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    if stat.S_ISLNK(mode):
        return "is a link"
    return None if stat.S_ISDIR(mode) else "is not a folder"


def supervisor_state(
    supervisor: Supervisor, answer: dict[str, Any] | None, where: dict[str, Any], state_dir: Path
) -> SupervisorState:
    """Return what is known of Supervisor, which answers or does not."""
    portal = where["home"], where["prefix"], PortalNames(where["portal_name"]).portal
    of_others = supervisor.configs_of_others
    ours = [path for path in of_others if programs(SupervisorFiles(path), *portal).portals]
    return {
        "installed": supervisor.installed,
        "running": answer is not None,
        "silent": answer is None and supervisor.is_started,
        "pid": answer["pid"] if answer else None,
        "version": answer["version"] if answer else None,
        "config": supervisor.config,
        "config_of_others": next(iter(ours), None),
        "config_of_another_portal": next((path for path in of_others if path not in ours), None),
        "config_stopped": supervisord.stopped(state_dir),
        "candidates": supervisor.candidates,
        "has_config": bool(supervisor.config and Path(supervisor.config).is_file()),
        "is_password_hashed": supervisor.password() is None,
        "include": supervisor.include_globs,
    }


def nginx_of(params: dict[str, Any], where: dict[str, Any]) -> Nginx:
    """Return what nginx has of the portal."""
    return Nginx(params["upstream"], params["state_dir"] or PortalNames(where["portal_name"]).state)


def address_of(params: dict[str, Any]) -> str | None:
    """Return Redis's address; what is none is refused with what else speaks against the run."""
    return params["redis_address"] if addresses.is_address(params["redis_address"]) else None


def without_portal(
    params: dict[str, Any], where: dict[str, Any], nginx: Nginx, user: str | None
) -> tuple[Server, Programs]:
    """Return the facts that need no answer of the portal's Python, and the portal's programs; `user` runs it."""
    now, root = time.time(), os.geteuid() == 0
    names, state_dir = PortalNames(where["portal_name"]), Path(nginx.state_dir)
    supervisor = Supervisor(portal=supervisord.Portal(where["home"], where["prefix"], names.portal))
    # What else asks Supervisor here asks the same one.
    supervisord.select(supervisor.config)
    answer = supervisor.state()
    found = programs(supervisor, where["home"], where["prefix"], names.portal)
    state = sorted(path.name for path in state_dir.iterdir()) if os.access(state_dir, os.R_OK) else []
    places = (str(state_dir), params["folders"], params["log_dir"], names)
    trust = root_files.survey(supervisor, nginx.processes, *places) if root else None
    # nginx acts on its configuration even if it only tests it, so it is not started with one that others can change.
    look_at_nginx = (params["upstream_wanted"] or "nginx_upstream.original" in state) and not root_files.of_others(
        trust, "nginx", "site"
    )
    server: Server = {
        **container_facts(params, address_of(params), names),
        "root": root,
        "name": socket.gethostname(),
        "os": os_release(),
        "python": "{}.{}".format(*sys.version_info),
        "repositories": repositories(),
        "selinux": selinux(),
        "docker_library": importlib.util.find_spec("requests") is not None,
        "yaml_library": system_python.has_yaml(),
        "supervisor": supervisor_state(supervisor, answer, where, state_dir),
        "programs": found.portals,
        "other_programs": found.others,
        "neighbors": found.neighbors,
        "channel_programs": found.receivers,
        "taken_names": taken_names(supervisor, found, state_dir / ORIGINAL) if ORIGINAL in state else [],
        "unread_programs": supervisor.unread(),
        "environment": kept_environment.names(where["prefix"], names.environment) if params["portal"] else None,
        "systemd": Path(SYSTEMD).is_dir(),
        "watch": lock.is_held(state_dir / WATCH),
        "processes": processes(supervisor, found, names.portal) if answer else [],
        "nginx": nginx.look() if look_at_nginx else None,
        "workers": workers_of(where["home"], where["prefix"], user) if params["workers"] else [],
        "redis_address_here": addresses.is_own(params["redis_address"]) if params["redis_address"] else None,
        "clock_ahead": now - params["controller_time"] if params["controller_time"] else None,
        "state": state,
        "state_of_other": proof_record.state_of_other(state_dir, where["home"]),
        "proved_plan": proof_record.proved_plan(state_dir, params["proof_inputs"]) if params["proof_inputs"] else None,
        "trust": trust,
        "socket_folder_problem": folder_problem(names.socket_folder),
    }
    return server, found


def add_ports(server: Server, found: Programs, params: dict[str, Any], fronts: front.Fronts | None) -> None:
    """Add where the web server sends requests, and who listens there and on the other ports of the portal."""
    ports = {*params["ports"], *ports_of(found, fronts, params["port_count"]), params["redis_port"]}
    server["fronts"] = fronts
    server["listeners"] = listeners(ports, address_of(params))

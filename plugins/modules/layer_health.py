#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read how a channel layer's Redis and the portal's ASGI processes are, and change nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_health
short_description: Read the state of a channel layer's Redis and of the portal's ASGI processes
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Reads the figures of Redis, the processes under Supervisor, the settings and packages of each process, and whether
    files are as expected, in one task. M(tethys.channels.report) evaluates these facts.
  - The module never fails because of the state that it finds. It requires nothing on the server but Python.
  - For a Redis that the collection runs, it uses the user that is reserved for root. The password of this user is in
    O(state_dir), and is not returned.
seealso:
  - module: tethys.channels.layer_probe
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.supervisor_config
  - tethys.channels.attributes
  - tethys.channels.environment_file
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: Linux only, since it reads C(/proc); as root.
options:
  redis_container:
    description: The name of the Redis container that the collection runs. Without it and O(endpoints), no Redis is
      queried.
    type: str
  other_groups:
    description: Groups of Supervisor's that have a name of the portal's and run something else.
    type: list
    elements: str
    default: []
  redis_engine:
    description: The engine that O(redis_container) is in.
    type: str
    choices: [docker, podman]
    default: docker
  redis_endpoint:
    description: Where that container answers.
    type: dict
    default: {host: 127.0.0.1, port: 6379}
    suboptions:
      host:
        description: Its address.
        type: str
        default: 127.0.0.1
      port:
        description: Its port.
        type: int
        default: 6379
      path:
        description: Its unix socket, instead of host and port.
        type: path
  endpoints:
    description:
      - The servers of a Redis that exists already, as the plan lists them. They are
        queried with the portal's own credentials; what these may not read is null.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The server's name or address.
        type: str
      port:
        description: Its port.
        type: int
      path:
        description: Its unix socket, instead of host and port.
        type: path
      username:
        description: The user to log in as, where the server has users.
        type: str
      password:
        description: The password to log in with.
        type: str
      tls:
        description: Whether the connection is encrypted.
        type: bool
        default: false
      ca_data:
        description: The certificate of the CA that the server's own is checked against, in PEM form.
        type: str
      ca_beside:
        description: A file with certificates of CAs that the portal trusts besides those of the system.
        type: path
      inventory_name:
        description: The inventory's name of the server, where its Redis is the collection's own.
        type: str
      db:
        description: The number of the database.
        type: int
        default: 0
      sentinel:
        description: The name of the primary that a Sentinel watches, where the server is one.
        type: str
  redis_started_at:
    description: When the last of O(endpoints) started, where these do not report it, in seconds since 1970.
    type: float
    default: 0
  prefix:
    description: The prefix of the layer's keys.
    type: str
    default: asgi
  backlog:
    description: Whether the layer keeps its messages in keys, as the core layer does and the pub/sub layer does not.
    type: bool
    default: true
  reads:
    description: The files that a process reads when it starts.
    type: list
    elements: path
    default: []
  site_packages:
    description: The environment's site-packages; an installed, removed or changed package there counts as read too.
    type: path
    required: true
  files:
    description: Files and folders, each as expected.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is.
        type: path
        required: true
      content:
        description: The text of a file; a folder has none.
        type: str
      owner:
        description: The owner.
        type: str
        default: root
      group:
        description: The owning group. Without it the group is not compared.
        type: str
      mode:
        description: The permissions, in octal digits.
        type: str
        required: true
      logs:
        description: Whether it is a folder in which root writes logs, so that nobody else may have put a link there.
        type: bool
        default: false
  state_dir:
    description: The folder in which the collection keeps its state on a server.
    type: path
    default: /etc/tethys_channels
"""

EXAMPLES = r"""
- name: Read how the layer is
  tethys.channels.layer_health:
    redis_container: tethys-channels-redis
    reads: [/var/lib/tethys/portal_config.yml]
    site_packages: /opt/conda/envs/tethys/lib/python3.12/site-packages
  register: health
"""

RETURN = r"""
health:
  description: What was read.
  returned: always
  type: dict
  contains:
    supervisor:
      description: C(running), C(version) and C(socket) of Supervisor.
      type: dict
    processes:
      description:
        - Supervisor's processes of the portal, with C(name) (as C(supervisorctl) calls it), C(group), C(state), C(pid),
          C(user), C(age_seconds), C(memory_bytes) (resident), C(connections) (accepted and open), C(log), C(frozen)
          (stopped by a signal), C(outdated) (runs with something older than what is on disk), C(before_redis) (older
          than Redis's last start) and C(problem) (Supervisor's own words). What is not known is null.
      type: list
      elements: dict
    redis:
      description:
        - Each server of the layer, with C(place), C(problem) (why it cannot be used, or null), C(known) (whether it
          reported its figures), C(version), C(uptime_seconds), C(used_memory) and C(max_memory) (bytes; the latter 0
          where there is no limit), C(clients), C(max_clients), C(rejected_connections), C(evicted_keys), C(oom_errors)
          (writes refused because memory was full), and C(backlog). What is not known is null.
        - For a Redis that Sentinel watches, its sentinels are returned instead, with C(watches) true, in C(primary)
          the primary that each reports, and in C(copies) the number of its healthy replicas.
        - C(backlog) has C(messages) and C(channels), and C(complete), false where there were too many keys to read them
          all.
      type: list
      elements: dict
    watch:
      description:
        - What the watch (C(asgi_service_watch)) has done, the last of it at the end, with C(time) (seconds since
          1970) and C(process).
      type: list
      elements: dict
    watch_problem:
      description: Why the watch cannot query Supervisor, or null.
      type: str
    differs:
      description: The O(files) that are not as expected, each as C(path) and C(why).
      type: list
      elements: dict
"""

import http.client
import json
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, Collection

from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import OPTIONS, why_differs
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import is_asgi_group
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import (
    Redis,
)
from ansible_collections.tethys.channels.plugins.module_utils.redis.figures import (
    UNKNOWN,
    place,
    read_figures,
    read_redis,
)
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container, login
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import (
    ADMIN_USER,
    PORTAL_USER,
)
from ansible_collections.tethys.channels.plugins.module_utils.server import kept_environment, proc, supervisord
from ansible_collections.tethys.channels.plugins.module_utils.services import Supervisor

# Redis reports its age in whole seconds.
GRAIN_SECONDS = 2.0


# --- Redis ----------------------------------------------------------------------------------------------------------


def read_container(
    container: Container, server: dict[str, Any], state_dir: Path, prefix: str, keeps: bool
) -> dict[str, Any]:
    """The Redis that the collection runs."""

    def connect(endpoint: dict[str, Any]) -> Redis:
        return login(endpoint, container)

    try:
        kept = json.loads((state_dir / "credentials.json").read_text(encoding="utf-8"))
        portal = {**server, "username": PORTAL_USER, "password": kept["password"]}
        admin = {**server, "username": ADMIN_USER, "password": kept["admin_password"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {**UNKNOWN, "place": place(server), "problem": f"has no credentials in {state_dir}"}
    found, is_refused = read_figures(admin, portal, prefix, keeps, connect)
    if is_refused:
        # Before Redis 6 there are no users, and one password opens everything.
        only = {**server, "password": kept["password"]}
        again = read_redis(only, only, prefix, keeps, connect)
        found = found if again["problem"] else again
    return found


# --- processes ------------------------------------------------------------------------------------------------------


def read_processes(
    rows: list[dict[str, Any]],
    sources: asgi_record.Sources,
    record: dict[str, str],
    older: Callable[[str, float], bool | None],
) -> list[dict[str, Any]]:
    """Return the portal's processes under Supervisor, each with data from the kernel and the record."""
    found = []
    clients = proc.accepted([row["pid"] for row in rows if row["pid"]])
    for row in rows:
        running = row["statename"] == "RUNNING"
        process = proc.describe(row["pid"], 0) if row["pid"] else None
        key = proc.process_key(row["pid"]) if process else None
        told = row.get("spawnerr") or ("" if running else row.get("description")) or ""
        found.append(
            {
                "name": row["name"] if row["name"] == row["group"] else f"{row['group']}:{row['name']}",
                "group": row["group"],
                "state": row["statename"],
                "pid": row["pid"] or None,
                "user": process.user if process else None,
                "age_seconds": process.age_seconds if process else None,
                "memory_bytes": proc.memory(row["pid"]) if process else None,
                "connections": clients[row["pid"]] if process else None,
                "log": row.get("stdout_logfile") or None,
                "frozen": process.frozen if process else None,
                "outdated": asgi_record.is_outdated(key, sources, record) if key and running else None,
                "before_redis": older(key, process.age_seconds) if key and process and running else None,
                "problem": told.strip() or None,
            }
        )
    return found


def supervised(
    supervisor: Supervisor, other_groups: Collection[str] = (), portal: str = ""
) -> list[dict[str, Any]] | None:
    """Supervisor's rows of the portal's processes, in order; None where it does not answer."""
    try:
        every = supervisor.rpc().getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return None
    rows = [row for row in every if is_asgi_group(row["group"], portal) and row["group"] not in other_groups]
    return sorted(rows, key=lambda row: (len(row["name"]), row["name"]))


def acts_of(state_dir: Path) -> list[dict[str, Any]]:
    """Return what the watch has done, from its file in root's folder."""
    try:
        acts = json.loads((state_dir / "watch_acts.json").read_text(encoding="utf-8"))
        return [{"time": int(act["time"]), "process": str(act["process"])} for act in acts]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def problem_of_watch(state_dir: Path) -> str | None:
    """Return what keeps the watch from working, which it has written down, or None."""
    try:
        return clean(atomic_file.read(str(state_dir / "watch_problem")).decode("utf-8", "replace"), 300)
    except OSError:
        return None


def differing(environment: dict[str, Any] | None, files: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the files and folders that are not as expected, and why."""
    found = []
    try:
        files = [*kept_environment.expected(environment), *files]
    except kept_environment.Unusable as error:
        found.append({"path": error.path, "why": error.why})
    rows = [(expected["path"], why_differs(expected)) for expected in files]
    return [*found, *({"path": path, "why": why} for path, why in rows if why)]


ARGUMENTS = {
    "redis_container": {"type": "str"},
    "other_groups": {"type": "list", "elements": "str", "default": []},
    "redis_engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    "redis_endpoint": {
        "type": "dict",
        "default": {"host": "127.0.0.1", "port": 6379},
        "options": {
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 6379},
            "path": {"type": "path"},
        },
    },
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "host": {"type": "str"},
            "port": {"type": "int"},
            "path": {"type": "path"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "tls": {"type": "bool", "default": False},
            "ca_data": {"type": "str"},
            "ca_beside": {"type": "path"},
            "inventory_name": {"type": "str"},
            "db": {"type": "int", "default": 0},
            "sentinel": {"type": "str"},
        },
    },
    "redis_started_at": {"type": "float", "default": 0},
    "prefix": {"type": "str", "default": "asgi"},
    "backlog": {"type": "bool", "default": True},
    "reads": {"type": "list", "elements": "path", "default": []},
    "site_packages": {"type": "path", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": OPTIONS,
    },
    "environment": {"type": "dict", "options": kept_environment.OPTIONS},
    "state_dir": {"type": "path", "default": "/etc/tethys_channels"},
    "portal_name": {"type": "str", "default": ""},
    "supervisor_config": {"type": "path"},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    params = module.params
    supervisord.select(params["supervisor_config"])
    state_dir = Path(params["state_dir"])
    container = params["redis_container"]
    if container:
        ours = Container(params["redis_engine"], container)
        redis = [read_container(ours, params["redis_endpoint"], state_dir, params["prefix"], params["backlog"])]
    else:
        redis = [read_redis(one, one, params["prefix"], params["backlog"]) for one in params["endpoints"]]
    started = params["redis_started_at"]
    lost_at = asgi_record.groups_lost_at(container, params["redis_engine"]) if container else started
    # If there are several, each holds other groups, and the one that started last has lost its groups.
    ages = [one["uptime_seconds"] for one in redis if one["uptime_seconds"] is not None]

    def older(key: str, age_seconds: float) -> bool | None:
        if not params["backlog"]:
            # Nothing is kept in Redis that could be lost.
            return None
        if lost_at:
            return asgi_record.precedes(key, lost_at)
        return age_seconds > min(ages) + GRAIN_SECONDS if ages and not container else None

    supervisor = Supervisor(timeout=10.0)
    state = supervisor.state()
    rows = supervised(supervisor, params["other_groups"], params["portal_name"]) if state else None
    health = {
        "supervisor": {
            "running": rows is not None,
            "version": state["version"] if state else None,
            "socket": supervisor.socket_path,
        },
        "processes": read_processes(
            rows or [],
            asgi_record.Sources(params["reads"], params["site_packages"]),
            atomic_file.read_notes(state_dir / "processes.json"),
            older,
        ),
        "redis": redis,
        "watch": acts_of(state_dir),
        "watch_problem": problem_of_watch(state_dir),
        "differs": differing(params["environment"], params["files"]),
    }
    module.exit_json(changed=False, health=health)


if __name__ == "__main__":
    main()

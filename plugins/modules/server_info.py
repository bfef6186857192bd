#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at what a server runs besides the portal: Docker, Redis, Supervisor, listeners, programs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server_info
short_description: Gather facts of a portal's server and of the portal
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Reads, in one task, what C(tethys.channels.preflight) needs to know of a server.
  - It changes nothing, and needs nothing installed on the server but Python.
seealso:
  - module: tethys.channels.portal_info
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: Linux only, since it reads C(/proc).
options:
  portal:
    description: The portal to inspect as well, as M(tethys.channels.portal_info) does.
    type: dict
    suboptions:
      prefix:
        description: The environment that Tethys is installed in.
        type: path
        required: true
      home:
        description: The folder of C(portal_config.yml), TETHYS_HOME.
        type: path
        required: true
      user:
        description: The user that the portal's processes run as; without it the web server's.
        type: str
      requirements:
        description: What the environment has to hold, as pip takes it.
        type: list
        elements: str
        default: []
      timeout:
        description: Seconds after which the portal's Python is ended.
        type: int
        default: 60
  ports:
    description:
      - The TCP ports whose listeners are returned, besides those on which the portal's program listens and those to
        which the web server sends the portal's requests.
    type: list
    elements: int
    required: true
  port_count:
    description: How many ports in a row the portal takes, from each of the latter on.
    type: int
    default: 1
  engine:
    description: The engine in which the collection's Redis container is to run.
    type: str
    choices: [docker, podman]
    default: docker
  container_name:
    description: The name of the Redis container that the collection runs.
    type: str
    required: true
  container_image:
    description: The Redis image that the collection runs.
    type: str
    required: true
  redis_port:
    description: The port on which that container answers.
    type: int
    required: true
  sentinel_name:
    description: The name of the container in which a Sentinel of the collection's own runs, if it may.
    type: str
  redis_address:
    description: The address of this server on which that container is to answer other machines.
    type: str
  controller_time:
    description: The controller's time, in seconds since 1970.
    type: float
  upstream:
    description: The name of nginx's upstream block for the portal.
    type: str
    default: channels-backend
  upstream_wanted:
    description: Whether nginx is inspected also where O(state_dir) holds no upstream block that was changed.
    type: bool
    default: false
  workers:
    description: Whether RV(server.workers) is found.
    type: bool
    default: false
  proof_inputs:
    description:
      - The digest of the run's inputs. Where everything is unchanged since a run with the same digest,
        RV(server.proved_plan) is set.
    type: str
  state_dir:
    description: The folder in which the collection keeps its state on a server.
    type: path
    default: /etc/tethys_channels
  log_dir:
    description: The folder in which Supervisor writes the logs as root.
    type: path
  folders:
    description: The folders that root makes for the portal, such as that of the logs.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Gather server facts
  tethys.channels.server_info:
    ports: [8000]
    container_name: tethys-channels-redis
    container_image: redis:8.2
    redis_port: 6379
    upstream_wanted: true
  register: server
"""

RETURN = r"""
portal:
  description: What M(tethys.channels.portal_info) returns, or null where O(portal) was not given.
  returned: always
  type: dict
server:
  description: What was found.
  returned: always
  type: dict
  contains:
    root:
      description: Whether the module runs as root.
      type: bool
    name:
      description: This server's own name.
      type: str
    os:
      description: The C(ID), C(ID_LIKE), C(NAME) and C(VERSION_ID) of C(/etc/os-release).
      type: dict
      sample: {id: debian, id_like: "", name: Debian GNU/Linux, version_id: "12"}
    python:
      description: The version of the Python that runs modules on this server.
      type: str
      sample: "3.11"
    repositories:
      description: The names of the repositories that dnf is to use, where there is dnf.
      type: list
      elements: str
    selinux:
      description: How SELinux is set.
      type: dict
      contains:
        mode:
          description: V(enforcing), V(permissive) or V(disabled).
          type: str
        web_connects:
          description: The boolean C(httpd_can_network_connect), or null where there is no such.
          type: bool
    docker:
      description:
        - C(installed), C(running), C(version), C(problem) and C(kind) of Docker's engine. C(kind) is C(docker), or
          what is there instead (C(podman), C(snap), C(rootless), C(userns-remap)).
      type: dict
    podman:
      description: The same of Podman, or null where nothing uses it.
      type: dict
    image_present:
      description: Whether O(engine) holds the image.
      type: bool
    image_name:
      description: The name by which it does, or null.
      type: str
    container:
      description: The container of O(container_name) in O(engine) (C(id), C(image), C(running)), or null.
      type: dict
    sentinel_container:
      description: The container of O(sentinel_name) in Docker, in the same form, or null.
      type: dict
    left_container:
      description: The collection's own container in the other engine, with that C(engine), or null.
      type: dict
    redis_unit:
      description: Whether systemd has the unit that starts the collection's container in Podman.
      type: bool
    redis_port_container:
      description:
        - Another container of Docker's that publishes O(redis_port), on O(redis_address) where that is given, with what
          its Redis says and its C(restart_policy), or null.
      type: dict
    docker_library:
      description: Whether this Python has the C(requests) library that community.docker needs.
      type: bool
    yaml_library:
      description: Whether a Python of the system has PyYAML, with which root edits C(portal_config.yml).
      type: bool
    supervisor:
      description: C(installed), C(running), C(pid), C(version), C(config) and C(include).
      type: dict
    programs:
      description:
        - The files under Supervisor that define the portal's programs, each with C(groups), C(layout), its C(sha256)
          and other sections, and the C(address), C(port) or C(unix_socket) on which the first program listens.
          C(address_here) is false where C(address) is an IP address of another server.
        - A program is the portal's if it runs C(tethys_portal.asgi) with O(portal.home), or from O(portal.prefix) where
          it names no TETHYS_HOME.
        - What it sets besides is in C(environment) and C(environment_lost) (names), C(arguments) and
          C(arguments_lost) (daphne's options), and C(settings).
        - One with a portal's name counts as well where its command does not show what it runs, except C(tethys_asgi).
      type: list
      elements: dict
    environment:
      description:
        - The names of the variables that the portal's processes get besides those that every portal has, or null where
          O(portal) was not given.
        - C(kept) are those that an earlier run has kept, or null. C(conda) are those that C(conda activate) sets, and
          C(rejected) those of them that a program cannot be given.
      type: dict
    other_programs:
      description:
        - The programs that have a name of the portal's and run something else, each with its C(path) and C(group), and
          with the TETHYS_HOME of another portal as C(home).
      type: list
      elements: dict
    fronts:
      description:
        - Where the web server on this host sends requests, or null where O(portal) was not given.
        - C(portal) is what sends on the portal's, with C(server), C(path), C(line), C(targets), and whether C(each) of
          them has to be the portal's, and is C(ours); null where unknown. C(addresses) are all of them.
      type: dict
    unread_programs:
      description: The files that Supervisor reads besides its own, and that the module could not read.
      type: list
      elements: str
    nginx:
      description: What nginx does with O(upstream), or null where it was not inspected.
      type: dict
    processes:
      description: Supervisor's processes of the portal, as name, state and pid.
      type: list
      elements: dict
    listeners:
      description:
        - Who listens on O(ports) and O(redis_port), as port, address, pid, command, user, and C(program), which is the
          Supervisor group that started it, or null.
        - The address is V(redis) for O(redis_address), V(loopback), V(everything) or V(other).
      type: list
      elements: dict
    workers:
      description:
        - Processes with the portal's TETHYS_HOME or environment that serve no requests, as C(pid), C(user) and
          C(command); empty without O(workers).
      type: list
      elements: dict
    redis_address_here:
      description: Whether O(redis_address) is one of this server's addresses, or null where none was given.
      type: bool
    clock_ahead:
      description: By how many seconds this server's clock is ahead of O(controller_time), or null.
      type: float
    state:
      description: The names of the files in O(state_dir).
      type: list
      elements: str
    proved_plan:
      description:
        - The C(sum) of the plan of a run with O(proof_inputs), where everything on the server is as it has left it and
          M(tethys.channels.proof_record) has written it down; else null.
      type: str
    trust:
      description:
        - Who besides root can change what root executes or obeys on this server, or null where the module does not
          run as root.
        - The number of C(files), and those of them that are C(open), each with its C(path), its C(use), its
          C(target) where it is a link, and its C(writers). A writer has the C(path) that the right is for, C(how) it is
          given, the C(name) of the owner, user or group, C(who) has it, the C(link) on the way and the command for a
          C(fix).
      type: dict
    socket_folder_problem:
      description: Why the folder of Redis's socket, C(/var/lib/tethys_channels), cannot be made or used, or null.
      type: str
"""

import configparser
import contextlib
import hashlib
import http.client
import importlib.util
import os
import socket
import stat
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils import portal_state, proof_record
from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.engines import (
    ENGINES,
    NO_ANSWER,
    UNIT_PATH,
    DockerEngine,
    Engine,
    PodmanEngine,
)
from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import OUR_HEADER
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    addresses,
    conda_variables,
    front,
    kept_environment,
    portal_program,
    proc,
    root_files,
    system_python,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import File
from ansible_collections.tethys.channels.plugins.module_utils.server.workers import workers_of
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    ContainerFacts,
    EngineState,
    ListenerFacts,
    Process,
    Program,
    RedisContent,
    SELinux,
    Server,
    SupervisorState,
)
from ansible_collections.tethys.channels.plugins.module_utils.services import (
    REDIS_SOCKET,
    Supervisor,
    asgi_groups,
    asgi_number,
    is_asgi_group,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import each_text

# The role preflight calls this module with that variable as the timeout.
IF_LATE = " (raise preflight_timeout)"


def os_release() -> dict[str, str]:
    """ID, ID_LIKE, NAME and VERSION_ID of this system."""
    found = {"id": "", "id_like": "", "name": "", "version_id": ""}
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return found
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        if name.lower() in found:
            found[name.lower()] = value.strip().strip("\"'")
    return found


def repositories(folder: str = "/etc/yum.repos.d") -> list[str]:
    """The repositories that dnf takes packages from."""
    parser = configparser.RawConfigParser(strict=False)
    for path in sorted(Path(folder).glob("*.repo")):
        # One that dnf could not read either tells nothing.
        with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):
            parser.read_string(path.read_text(encoding="utf-8"))
    off = ("0", "no", "false", "off")
    return [name for name in parser.sections() if parser.get(name, "enabled", fallback="1").strip().lower() not in off]


def selinux(folder: str = "/sys/fs/selinux") -> SELinux:
    """How SELinux is set, and whether it lets a web server connect to any port."""

    def read(name: str) -> str | None:
        try:
            return Path(folder, name).read_text(encoding="ascii").split()[0]
        except (OSError, IndexError):
            return None

    mode = {"1": "enforcing", "0": "permissive"}.get(read("enforce") or "", "disabled")
    connects = read("booleans/httpd_can_network_connect")
    return {"mode": mode, "web_connects": None if connects is None else connects == "1"}


def _address(text: str, redis: tuple[str, ...] = ()) -> str:
    """Classify the address of a row of net/tcp: Redis's, loopback, everything, or something else."""
    if text in redis:
        return "redis"
    if text in (*proc.in_table("127.0.0.1"), *proc.in_table("::1")):
        return "loopback"
    if not text.strip("0"):
        return "everything"
    return "other"


def listeners(ports: set[int], redis_address: str | None = None) -> list[ListenerFacts]:
    """Return who listens on these TCP ports."""
    redis = proc.in_table(redis_address) if redis_address else ()
    return [
        ListenerFacts(
            port=row.port,
            address=_address(row.address, redis),
            pid=row.pid,
            user=row.user,
            command=row.command,
            program=row.program,
        )
        for row in proc.listeners(ports)
    ]


def engine_state(engine: Engine) -> EngineState:
    """Whether an engine is there and answers."""
    state: EngineState = {"installed": engine.installed(), "running": False, "version": None, "problem": None}
    try:
        state["version"], state["kind"] = engine.version(), engine.kind()
        state["running"] = state["installed"] = True
    except NO_ANSWER as error:
        state["problem"], state["kind"] = str(error), engine.kind_of_command()
    if isinstance(engine, DockerEngine) and state["kind"] == "podman":
        # What answers in Docker's place has Podman's containers, of which Podman itself is asked.
        state["installed"] = state["running"] = False
    return state


def _container(found: dict[str, Any]) -> ContainerFacts:
    return {
        "id": found["Id"][:12],
        "name": found["Names"][0].lstrip("/") if found.get("Names") else "",
        "image": found["Image"],
        "running": found["State"] == "running",
        "labels": found.get("Labels") or {},
        "ports": sorted({port["PublicPort"] for port in found.get("Ports") or [] if port.get("PublicPort")}),
    }


def publishes(found: dict[str, Any], port: int, address: str | None) -> bool:
    """Whether a container publishes a port, on that address of the server where there is one."""
    rows = [row for row in found.get("Ports") or [] if row.get("PublicPort") == port]
    every = (None, "", "0.0.0.0", "::", address)  # noqa: S104 - it is compared
    return bool(rows) and (not address or any(row.get("IP") in every for row in rows))


def containers(
    engine: Engine, name: str, port: int, address: str | None = None
) -> tuple[ContainerFacts | None, ContainerFacts | None]:
    """Our container, and the other one that publishes the Redis port, on that address where there is one."""
    ours = other = None
    for found in engine.containers():
        row = _container(found)
        if row["name"] == name:
            ours = row
        elif row["running"] and publishes(found, port, address):
            other = row
    return ours, other


def named(engine: Engine, name: str) -> ContainerFacts | None:
    """The container of that name, or None."""
    return next((row for row in map(_container, engine.containers()) if row["name"] == name), None)


def left_over(engine: str, found: ContainerFacts | None, name: str, unit: bool) -> ContainerFacts | None:
    """Our container in the engine that is not asked for; where there is only its unit, as one that is stopped."""
    if found and "tethys.channels.config" in found["labels"]:
        return {**found, "engine": engine}
    if engine == "podman" and unit:
        return {"engine": engine, "id": "", "name": name, "image": "", "running": False, "labels": {}, "ports": []}
    return None


def restart_policy(engine: DockerEngine, container: str) -> str:
    """A container's restart policy, as `docker update --restart` takes it."""
    policy = (engine.api.get(f"/containers/{container}/json") or {}).get("HostConfig", {}).get("RestartPolicy") or {}
    name, retries = policy.get("Name") or "no", policy.get("MaximumRetryCount")
    return f"{name}:{retries}" if retries else str(name)


def describe_redis(port: int, layer_prefix: str = "asgi") -> RedisContent:
    """What an open Redis on the loopback holds: its version, and a key that is not the layer's."""
    try:
        with Redis({"host": "127.0.0.1", "port": port}) as redis:
            return {"version": redis.version(), "foreign_key": redis.foreign_key(layer_prefix), "problem": None}
    except (OSError, RedisError) as error:
        return {"version": None, "foreign_key": None, "problem": str(error)}


# The kinds of sections that define a program.
PROGRAMS = ("program", "fcgi-program")


class Programs(NamedTuple):
    """The programs of Supervisor's that have a portal's name, or run the portal."""

    portals: list[Program]
    others: list[portal_program.OtherProgram]


NO_PROGRAMS = Programs([], [])


def programs(supervisor: Supervisor, home: str = "", prefix: str = "") -> Programs:
    """Return the files that define the portal's programs, and the programs that only have their names.

    A program of another name counts where none with a portal's name is the portal's.

    Args:
        home: the portal's TETHYS_HOME. Without one, the name alone decides.
        prefix: its environment.
    """
    by_name: list[Program] = []
    by_command: list[Program] = []
    others: list[portal_program.OtherProgram] = []
    # Supervisor's own file too: it may hold programs besides what the distribution has in it.
    for file in supervisor.files():
        named = [title for title in file.sections if asgi_groups([title])]
        runs = {
            title: portal_program.is_portals(section, home, prefix) if home else None
            for title, section in file.sections.items()
            if title.partition(":")[0].strip() in PROGRAMS
        }
        ours = [title for title in named if _counts_by_name(title, runs.get(title), home)]
        unnamed = [title for title, is_ours in runs.items() if is_ours and title not in named]
        if ours:
            by_name.append(_program(file, ours, prefix))
        elif unnamed:
            by_command.append(_program(file, unnamed, prefix))
        others.extend(_other_program(file, title) for title in named if title not in ours)
    return Programs(by_name or by_command, others)


def _counts_by_name(title: str, runs: bool | None, home: str) -> bool:
    """Return whether a program with a portal's name is the portal's, where its command may not tell it.

    Nobody but this collection names one `tethys_asgi`, and its command tells what it runs.
    """
    return runs is not False if not home or _group(title) != "tethys_asgi" else runs is True


def _group(title: str) -> str:
    return clean(title.partition(":")[2].strip(), 200)


def _program(file: File, ours: list[str], prefix: str) -> Program:
    """Describe a file that defines the portal's programs, by the first of them."""
    section = {option: clean(value) for option, value in file.sections[ours[0]].items()}
    names = asgi_groups(ours)
    apart = bool(names) and asgi_number(names[0]) is not None
    endpoint = portal_program.endpoint_of(section)
    environment, lost = portal_program.environment_of(section, prefix, conda_variables.accepted)
    arguments, lost_arguments = portal_program.arguments_of(section)
    return {
        "path": file.path,
        "link": os.readlink(file.path) if Path(file.path).is_symlink() else None,
        "others": [clean(title) for title in file.sections if title not in ours],
        "groups": [_group(title) for title in ours],
        "user": section.get("user", "root"),
        "layout": "socket_per_process" if apart else "shared_socket",
        "numprocs": str(len(ours)) if apart else section.get("numprocs", "1"),
        "socket": section.get("socket", ""),
        "address": endpoint.address,
        "address_here": not addresses.is_address(endpoint.address)
        or addresses.reaches_this_server(endpoint.address or ""),
        "port": endpoint.port,
        "unix_socket": endpoint.path,
        "logs": str(Path(section.get("stdout_logfile", "/")).parent),
        "unbuffered": "PYTHONUNBUFFERED=" in section.get("environment", ""),
        # By name: values may be secret, and stay on the server.
        "environment": sorted(environment),
        "environment_lost": lost,
        "arguments": arguments,
        "arguments_lost": lost_arguments,
        "settings": portal_program.settings_of(section, prefix),
        "managed": OUR_HEADER.encode() in file.raw,
        "sha256": hashlib.sha256(file.raw).hexdigest(),
    }


def _other_program(file: File, title: str) -> portal_program.OtherProgram:
    section = file.sections[title]
    application = portal_program.application_of(section) or ""
    is_portal = application.partition(":")[0] == portal_program.PORTAL
    home = clean(portal_program.home_of(section), 4096) if is_portal else ""
    return {"path": file.path, "group": _group(title), "home": home}


def processes(supervisor: Supervisor, found: Programs = NO_PROGRAMS) -> list[Process]:
    """Return Supervisor's processes of the portal."""
    try:
        rows = supervisor.rpc().getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return []
    groups = {group for program in found.portals for group in program["groups"]}
    not_ours = {program["group"] for program in found.others} - groups
    return [
        {"name": row["name"], "state": row["statename"], "pid": row["pid"]}
        for row in rows
        if row["group"] in groups or (is_asgi_group(row["group"]) and row["group"] not in not_ours)
    ]


def ports_of(found: Programs, fronts: front.Fronts | None, count: int) -> set[int]:
    """Return the ports on which the portal's program listens, and to which the web server sends its requests."""
    first = {program["port"] for program in found.portals}
    portals = fronts["portal"] if fronts else None
    first |= {target["port"] for target in portals["targets"] if target["here"]} if portals else set()
    return {port + number for port in first if port for number in range(count)}


def fronts_of(nginx: Nginx, portal: dict[str, Any] | None, home: str) -> front.Fronts | None:
    """Return where the web server sends requests; None where no portal is looked at."""
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
    return None if stat.S_ISDIR(mode) else "is no folder"


def container_facts(params: dict[str, Any], address: str | None) -> Server:
    """Return what the container engines have of Redis and Sentinel."""
    asked = params["engine"]
    unit = Path(UNIT_PATH).exists()
    docker = DockerEngine()
    # Podman takes a tenth of a second to answer, so it is asked only where it matters.
    engines: dict[str, Engine] = {"docker": docker, **({"podman": PodmanEngine()} if asked == "podman" or unit else {})}
    states = {name: engine_state(engine) for name, engine in engines.items()}
    ours: dict[str, ContainerFacts | None] = dict.fromkeys(ENGINES)
    other = None
    for name in engines:
        if states[name]["running"]:
            ours[name], there = containers(engines[name], params["container_name"], params["redis_port"], address)
            other = there if name == "docker" else other
    if other:
        other["redis"] = describe_redis(params["redis_port"])
        other["restart_policy"] = restart_policy(docker, other["id"])
    [away] = set(ENGINES) - {asked}
    image = engines[asked].holds(params["container_image"]) if states[asked]["running"] else None
    return {
        "docker": states["docker"],
        "podman": states.get("podman"),
        "image_present": image is not None,
        "image_name": image,
        "container": ours[asked],
        "left_container": left_over(away, ours[away], params["container_name"], unit),
        # Sentinel is run in Docker only.
        "sentinel_container": (
            named(docker, params["sentinel_name"]) if params["sentinel_name"] and states["docker"]["running"] else None
        ),
        "redis_unit": unit,
        "redis_port_container": other,
    }


def supervisor_state(supervisor: Supervisor, answer: dict[str, Any] | None) -> SupervisorState:
    """Return what is known of Supervisor, which answers or does not."""
    return {
        "installed": supervisor.installed,
        "running": answer is not None,
        "silent": answer is None and bool(proc.named("supervisord")),
        "pid": answer["pid"] if answer else None,
        "version": answer["version"] if answer else None,
        "config": supervisor.config,
        "include": supervisor.include_globs,
    }


ARGUMENTS = {
    "portal": {"type": "dict", "options": portal_state.OPTIONS},
    "ports": {"type": "list", "elements": "int", "required": True},
    "port_count": {"type": "int", "default": 1},
    "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    "container_name": {"type": "str", "required": True},
    "container_image": {"type": "str", "required": True},
    "sentinel_name": {"type": "str"},
    "redis_port": {"type": "int", "required": True},
    "redis_address": {"type": "str"},
    "controller_time": {"type": "float"},
    "upstream": {"type": "str", "default": "channels-backend"},
    "upstream_wanted": {"type": "bool", "default": False},
    "workers": {"type": "bool", "default": False},
    "proof_inputs": {"type": "str", "no_log": True},
    "state_dir": {"type": "path", "default": "/etc/tethys_channels"},
    "folders": {"type": "list", "elements": "path", "default": []},
    "log_dir": {"type": "path"},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    params = module.params
    # What is no address is refused with what else speaks against the run.
    address = params["redis_address"] if addresses.is_address(params["redis_address"]) else None
    now = time.time()
    supervisor = Supervisor()
    answer = supervisor.state()
    portal = portal_state.look(**params["portal"], if_late=IF_LATE) if params["portal"] else None
    where = params["portal"] or {"home": "", "prefix": ""}
    found = programs(supervisor, where["home"], where["prefix"])
    state_dir = Path(params["state_dir"])
    state = sorted(path.name for path in state_dir.iterdir()) if os.access(state_dir, os.R_OK) else []
    root = os.geteuid() == 0
    nginx = Nginx(params["upstream"], params["state_dir"])
    places = (params["state_dir"], params["folders"], params["log_dir"])
    trust = root_files.survey(supervisor, nginx.processes, *places) if root else None
    # nginx obeys its configuration also where it only tests it, so it is not started with somebody else's.
    look_at_nginx = (params["upstream_wanted"] or "nginx_upstream.original" in state) and not root_files.of_others(
        trust, "nginx", "site"
    )
    fronts = fronts_of(nginx, portal, where["home"])
    ports = {*params["ports"], *ports_of(found, fronts, params["port_count"]), params["redis_port"]}
    server: Server = {
        **container_facts(params, address),
        "root": root,
        "name": socket.gethostname(),
        "os": os_release(),
        "python": "{}.{}".format(*sys.version_info),
        "repositories": repositories(),
        "selinux": selinux(),
        "docker_library": importlib.util.find_spec("requests") is not None,
        "yaml_library": system_python.has_yaml(),
        "supervisor": supervisor_state(supervisor, answer),
        "programs": found.portals,
        "other_programs": found.others,
        "unread_programs": supervisor.unread(),
        "environment": kept_environment.names(where["prefix"]) if portal is not None else None,
        "processes": processes(supervisor, found) if answer else [],
        "fronts": fronts,
        "nginx": nginx.look() if look_at_nginx else None,
        "listeners": listeners(ports, address),
        "workers": workers_of(where["home"], where["prefix"]) if params["workers"] else [],
        "redis_address_here": addresses.is_own(params["redis_address"]) if params["redis_address"] else None,
        "clock_ahead": now - params["controller_time"] if params["controller_time"] else None,
        "state": state,
        "proved_plan": proof_record.proved_plan(state_dir, params["proof_inputs"]) if params["proof_inputs"] else None,
        "trust": trust,
        "socket_folder_problem": folder_problem(str(Path(REDIS_SOCKET).parent)),
    }
    # Programs, containers and command lines are named by others, and Ansible prints all of it with -v.
    module.exit_json(changed=False, server=each_text(server), portal=portal)


if __name__ == "__main__":
    main()

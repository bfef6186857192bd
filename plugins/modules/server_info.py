#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather facts about what a server runs besides the portal: Docker, Redis, Supervisor, listeners, programs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: server_info
short_description: Gather facts about a portal and its server
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Reads all facts about a server that C(tethys.channels.preflight) needs, in one task.
  - Changes nothing, and requires nothing on the server but Python.
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
      portal_name:
        description: The portal's name, where the server has several.
        type: str
        default: ""
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
    description:
      - The folder in which the collection keeps its state of the portal. By default that of O(portal.portal_name).
    type: path
  supervisor_config:
    description:
      - Supervisor's configuration file. By default, the module uses that of the Supervisor that runs the portal.
    type: path
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
      description:
        - C(installed), C(running), C(pid), C(version), C(config) and C(include).
        - C(config_of_others) is the configuration of a supervisord of root's that runs the portal and is not used,
          since users besides root can change it or its program. C(config_of_another_portal) is that of one that runs
          only other portals. C(config_stopped) is that of the supervisord that an earlier run has used and that does
          not run. C(candidates) are those of several Supervisors that run portals, if it is not clear which one is the
          portal's, or of those that run the portal where O(supervisor_config) does not. C(has_config) is whether
          C(config) is a file. C(is_password_hashed) is whether only a digest of its password is known.
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
    channel_programs:
      description:
        - The names of the programs under Supervisor that are a C(runworker) of the portal, also those that do not run.
      type: list
      elements: str
    neighbors:
      description:
        - The programs under Supervisor that run other portals, whatever their names, each with its C(path), C(group),
          C(home), C(port), and the folders of its C(sockets) and C(logs), and whether it is C(managed) by this
          collection.
      type: list
      elements: dict
    taken_names:
      description:
        - The programs that have a name by now that a program in C(program.original) of O(state_dir) has, each with its
          C(path), C(group) and C(home).
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
    systemd:
      description: Whether systemd runs this server's services.
      type: bool
    watch:
      description: Whether the watch (C(asgi_service_watch)) runs with its current settings, or null without one.
      type: bool
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
        - Processes with the portal's TETHYS_HOME or environment that serve no requests, as C(pid), C(user), C(command)
          and C(of_channels), which is whether it is a C(runworker) of Channels that root, the portal's user, or the
          owner of TETHYS_HOME or of the environment runs; empty without O(workers). Those of other users come last.
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
    state_of_other:
      description: The C(portal_config.yml) of another portal, if O(state_dir) is kept for that one; else null.
      type: str
    proved_plan:
      description:
        - The C(sum) of the plan of a run with O(proof_inputs), where everything on the server is as it has left it and
          M(tethys.channels.proof_record) has written it down; else null.
      type: str
    trust:
      description:
        - Who besides root can change what root executes or reads as configuration on this server. Null if the module
          does not run as root.
        - The number of C(files), and those of them that are C(open), each with its C(path), its C(use), its
          C(target) where it is a link, and its C(writers). A writer has the C(path) that the right is for, C(how) it is
          given, the C(name) of the owner, user or group, C(who) has it, the C(link) on the way and the command for a
          C(fix).
      type: dict
    socket_folder_problem:
      description: Why the folder of Redis's socket, C(/var/lib/tethys_channels), cannot be made or used, or null.
      type: str
"""

import contextlib

from ansible_collections.tethys.channels.plugins.module_utils import portal_state
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.server import supervisord
from ansible_collections.tethys.channels.plugins.module_utils.text import each_text

# The role preflight calls this module with that variable as the timeout.
IF_LATE = " (raise preflight_timeout)"

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
    "state_dir": {"type": "path"},
    "folders": {"type": "list", "elements": "path", "default": []},
    "log_dir": {"type": "path"},
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
    where = params["portal"] or {"home": "", "prefix": "", "portal_name": ""}
    # First, since the portal's Python takes longest: what gathers the other facts is loaded while it starts.
    look = portal_state.Look(**params["portal"], if_late=IF_LATE) if params["portal"] else None
    with look or contextlib.nullcontext():
        from ansible_collections.tethys.channels.plugins.module_utils.server import survey

        nginx = survey.nginx_of(params, where)
        server, found = survey.without_portal(params, where, nginx, look.user if look else None)
        portal = look.facts() if look else None
    survey.add_ports(server, found, params, survey.fronts_of(nginx, portal, where["home"]))
    # Programs, containers and command lines are named by others, and Ansible prints all of it with -v.
    module.exit_json(changed=False, server=each_text(server), portal=portal)


if __name__ == "__main__":
    main()

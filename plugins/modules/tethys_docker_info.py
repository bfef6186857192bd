#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather facts of a Tethys Docker project: its files, services, container and volume."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tethys_docker_info
short_description: Gather facts about a Tethys Docker project
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Returns the content of a folder with a compose file (or a Dockerfile), what Compose reads from it, and which of its
    containers run.
  - Changes nothing, and never fails because of what it finds. Of the variables of the services, it returns only the
    values that matter to the channel layer and are not secret.
seealso:
  - module: tethys.channels.tethys_docker_exec
  - module: tethys.channels.tethys_docker_program
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: A server with Docker, as root.
options:
  project_dir:
    description: The folder.
    type: path
    required: true
  project_name:
    description:
      - The project name, as you pass it to C(docker compose -p). If it is empty, the module uses the name under which
        the containers of O(project_dir) were started, or the name that Compose chooses.
    type: str
    default: ""
  compose_files:
    description:
      - The compose files, relative to the folder. If the list is empty, the module uses the files that Compose finds.
    type: list
    elements: str
    default: []
  override_file:
    description: The compose file that this collection writes.
    type: str
    default: docker-compose.override.yml
  dockerfile:
    description: The Dockerfile, relative to the folder.
    type: str
    default: Dockerfile
  portal_service:
    description:
      - The portal's service. If there is no service V(tethys), the module uses the only service that has an image of
        Tethys Docker.
    type: str
    default: tethys
  redis_service:
    description: The Redis service.
    type: str
    default: redis
  container:
    description: The portal's container, if there is no compose file.
    type: str
    default: tethys
  network:
    description: The network that the portal shares with a Redis outside the project.
    type: str
    default: internal
  credentials_dir:
    description: The folder that contains the credentials of a project.
    type: path
  user:
    description: The user who runs the portal inside the container.
    type: str
    default: www
  candidate:
    description: The planned text of O(override_file), which Compose validates.
    type: str
  wait_seconds:
    description:
      - The number of seconds to wait until the portal is set up and answers. The wait ends immediately if its
        container has stopped, or if its program cannot answer.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Gather project facts
  tethys.channels.tethys_docker_info:
    project_dir: /srv/tethys
  register: look
"""

RETURN = r"""
docker:
  description: What was found, with the keys described here.
  returned: always
  type: dict
  contains:
    engine:
      description: The version of the engine, or null where none answers.
      type: str
    compose:
      description: The version of the Compose plugin, or null.
      type: str
    folder:
      description: Null where there is none, else its C(owner) and C(group) as numbers.
      type: dict
    files:
      description: The compose files that Compose reads besides ours, in order.
      type: list
      elements: str
    reads_ours:
      description: Whether Compose reads our file automatically.
      type: bool
    in_place:
      description: A file that Compose reads instead of ours, or null.
      type: str
    earlier:
      description: Files of this collection under another name than O(override_file), among those that Compose reads.
      type: list
      elements: str
    elsewhere:
      description: Such files in the folder, whether Compose reads them or not.
      type: list
      elements: str
    override:
      description: Whether our file C(exists), is C(ours), and its C(text) where it is.
      type: dict
    dockerfile:
      description: Whether it C(exists), holds our block (C(ours)), and why it cannot be edited (C(problem)).
      type: dict
    problem:
      description: Why Compose cannot use the files, or null.
      type: str
    portal_service:
      description: The portal's service.
      type: str
    project_names:
      description: The names under which containers of O(project_dir) were started, if there are several.
      type: list
      elements: str
    stack:
      description: The stack (C(docker stack deploy)) in which the portal's image runs, or null.
      type: str
    unset:
      description: Variables that the compose files take from a shell, and that are not set for the run.
      type: list
      elements: str
    log_has_settings:
      description: Whether the portal's container printed C(portal_config.yml) to its log when it started.
      type: bool
    candidate_problem:
      description: Why Compose could not use them together with O(candidate), or null.
      type: str
    project:
      description:
        - What Compose makes of the files besides ours, with C(name), C(services), C(networks), C(portal), C(redis), and
          C(redis_users), the services besides the portal that lean on Redis. Null where there are no files.
      type: dict
    container:
      description:
        - The portal's container with C(id), C(name), C(running), C(image), C(image_id), C(env), C(persisted),
          C(unnamed) (whether its volume at TETHYS_PERSIST has no name), C(mounts), C(ended), C(restarts), and
          C(created) and C(started) in seconds since 1970; null where there is none.
      type: dict
    volume:
      description:
        - Whether what the portal's service keeps at TETHYS_PERSIST is there, on a volume or in a folder; null where
          there is no such service.
      type: bool
    persist_mounted:
      description: Whether the portal's service mounts anything at TETHYS_PERSIST; null where there is no such service.
      type: bool
    is_tethys_docker:
      description: Whether the portal's image has Tethys Docker's variables; null where it is not on the server.
      type: bool
    image_id:
      description: The id of the image that the portal's next container would have, or null.
      type: str
    inside:
      description:
        - What is in the portal's container and on its volume, with C(set_up), C(set_up_at) in seconds since 1970,
          C(ready), C(listens), C(processes), C(others_can_read), C(kept), C(oldest), when the oldest of the processes
          was started, and C(cannot_serve), why its program cannot answer on the portal's port (V(no-fd),
          V(no-endpoint) or both), empty where it can; null where no container runs.
      type: dict
    redis_container:
      description:
        - The C(id) and C(image) of a container with the name of the service of Redis, and whether it is C(ours), made
          for this folder; null where there is none.
      type: dict
    network:
      description: Whether O(network) is C(ours), made for this folder; null where there is none.
      type: dict
    groups_lost_at:
      description: When the Redis of this project last lost its groups, in seconds since 1970; 0 where none runs.
      type: float
    credentials_of:
      description: The folder of the project whose credentials O(credentials_dir) holds, or null where nobody noted it.
      type: str
    trust:
      description:
        - Who besides root can change what root executes or reads as configuration, as in
          M(tethys.channels.server_info).
      type: dict
    wait_problem:
      description: Why the portal did not become ready in time, or null.
      type: str
"""

import os
import time
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.compose.project import Look
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.server import root_files


def waited(params: dict[str, Any]) -> Look:
    """Return the facts of the project, once the portal answers, cannot answer, or has had its time."""
    end = time.monotonic() + params["wait_seconds"]
    restarts: int | None = None
    while True:
        look = Look(params)
        inside = look.run()["inside"] or {}
        if restarts is None:
            restarts = (look.found["container"] or {}).get("restarts", 0)
        over = inside.get("ready") or inside.get("cannot_serve") or time.monotonic() >= end
        if over or (params["wait_seconds"] and look.has_ended(restarts)):
            break
        # With 2 s in between, gathering facts takes next to nothing of what the portal's start needs.
        time.sleep(2)
    if params["wait_seconds"] and not inside.get("ready") and not inside.get("cannot_serve"):
        look.found["wait_problem"] = look.wait_problem(restarts)
    if inside.get("ready") and not params["candidate"]:
        look.log()
    return look


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "project_dir": {"type": "path", "required": True},
            "project_name": {"type": "str", "default": ""},
            "compose_files": {"type": "list", "elements": "str", "default": []},
            "override_file": {"type": "str", "default": "docker-compose.override.yml"},
            "dockerfile": {"type": "str", "default": "Dockerfile"},
            "portal_service": {"type": "str", "default": "tethys"},
            "redis_service": {"type": "str", "default": "redis"},
            "container": {"type": "str", "default": "tethys"},
            "network": {"type": "str", "default": "internal"},
            "credentials_dir": {"type": "path"},
            "user": {"type": "str", "default": "www"},
            "candidate": {"type": "str"},
            "wait_seconds": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    os.environ["LC_ALL"] = "C.UTF-8"
    found = waited(dict(params)).found
    found["trust"] = root_files.survey_project(params["project_dir"], found["files"], params["credentials_dir"])
    module.exit_json(changed=False, docker=found)


if __name__ == "__main__":
    main()

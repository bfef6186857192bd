#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, on the server of a shared Redis, what a portal needs to log in to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_login
short_description: Read the login of portals to a shared Redis of this collection
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Reads the login that M(tethys.channels.redis_settings) has stored on this server, for a portal on another server.
  - Run the task with C(no_log), because it returns the password.
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: Linux only, since it reads C(/proc); as root.
options:
  directory:
    description: The folder that contains the credentials.
    type: path
    default: /etc/tethys_channels
  container:
    description: The name of the container of that Redis.
    type: str
    default: tethys-channels-redis
  engine:
    description: The container engine of O(container).
    type: str
    choices: [docker, podman]
    default: docker
  for_peers:
    description:
      - Whether the login is for other servers of the same Redis, which replicate each other and share the same
        passwords. The stored passwords are returned as RV(login.kept), and new ones as RV(login.offered), for the
        first server to start with.
    type: bool
    default: false
  controller_time:
    description: The time of the controller in seconds since 1970, from which RV(login.started_at) is computed.
    type: float
"""

EXAMPLES = r"""
- name: Read the shared Redis login
  tethys.channels.redis_login:
    container: tethys-channels-redis
  delegate_to: redis.example.org
  register: redis_login
  no_log: true
"""

RETURN = r"""
login:
  description: What was found.
  returned: always
  type: dict
  contains:
    username:
      description: The user of the portals.
      type: str
    password:
      description: That user's password, or null where none is kept here yet.
      type: str
    ca:
      description: The certificate of the CA by which a portal verifies the server, in PEM form, or null.
      type: str
    started_at:
      description:
        - When the Redis last started, in seconds since 1970, by the clock of O(controller_time) where that is given,
          else by the server's own; 0 where it does not run.
      type: float
    classes:
      description: For which classes of the layer the portals' user has rights there, C(core), C(pubsub), both or none.
      type: list
      elements: str
    kept:
      description: With O(for_peers), C(password) and C(peer_password) as kept on this server, else null.
      type: dict
    offered:
      description: With O(for_peers), the same two, made up now and kept nowhere.
      type: dict
"""

import secrets
import time
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER, classes_in

CA = "redis/ca.crt"
SHARED_AMONG_PEERS = ("password", "peer_password")


def configuration(base: Path) -> str:
    """Return what the server reads, of each way in which it may be reached; empty where it was not set up yet."""
    try:
        return "".join(atomic_file.read(str(path)).decode("utf-8") for path in sorted(base.glob("redis/redis*.conf")))
    except OSError:
        return ""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/tethys_channels"},
            "container": {"type": "str", "default": "tethys-channels-redis"},
            "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
            "for_peers": {"type": "bool", "default": False},
            "controller_time": {"type": "float"},
        },
        supports_check_mode=True,
    )
    params = module.params
    ahead = 0.0 if params["controller_time"] is None else time.time() - params["controller_time"]
    started_at = asgi_record.groups_lost_at(params["container"], params["engine"], here=False)
    base = Path(params["directory"])
    try:
        ca = atomic_file.read(str(base / CA)).decode("utf-8")
    except OSError:
        ca = None
    kept = atomic_file.read_notes(base / "credentials.json")
    login = {
        "username": PORTAL_USER,
        "password": kept.get("password"),
        "ca": ca,
        "started_at": started_at and started_at - ahead,
        "classes": classes_in(configuration(base)),
    }
    if params["for_peers"]:
        login["kept"] = {name: kept.get(name) for name in SHARED_AMONG_PEERS}
        login["offered"] = {name: secrets.token_urlsafe(32) for name in SHARED_AMONG_PEERS}
    module.exit_json(changed=False, login=login)


if __name__ == "__main__":
    main()

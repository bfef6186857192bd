#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the credentials and the configuration of the channel layer's Redis server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_settings
short_description: Manage the credentials and the configuration of a channel layer's Redis
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Creates the two passwords once, on the server, in a folder that only root can enter. Later runs use them again.
  - Writes the C(redis.conf) that the container mounts. For Redis 6 and later, this file contains only the SHA-256
    digests of the passwords.
  - For Redis 6 and later, adds a new password to the file and, with O(running), to the running server, in addition to
    the old one. Both passwords are valid until a call with O(retire) removes the old one, so the portal can always log
    in. The rights for another O(backend) are added to those for the previous one in the same way.
  - Run the task with C(no_log), because it returns the passwords.
seealso:
  - module: tethys.channels.redis_ping
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Writes nothing; where no password exists yet, the one returned is made up and forgotten.
  diff_mode:
    support: full
    description: Shows the configuration without its users.
options:
  directory:
    description: The folder for the files. It has the mode 0700 and belongs to root.
    type: path
    default: /etc/tethys_channels
  home:
    description: TETHYS_HOME of the portal for which the Redis is. It is recorded with the first passwords.
    type: path
  uid:
    description: The user ID under which the container runs. This user owns the configuration that the container reads.
    type: int
    required: true
  acl:
    description: Whether Redis has users (Redis 6 and later). Otherwise, one password gives access to everything.
    type: bool
    default: true
  prefix:
    description: The prefix of the layer's keys. The portal's user can only use keys with this prefix.
    type: str
    default: asgi
  backend:
    description:
      - The layer class. The portal's user can run the commands of this class and, until a call with O(retire), those
        of the previous one.
    type: str
    required: true
  channel_rights:
    description:
      - Whether the server that reads this configuration has rights on channels (Redis 6.2 and later). Where it is not
        given, the version of the running server decides, and one that does not run counts as a later one.
    type: bool
  maxmemory_mb:
    description: The memory in MiB at which Redis refuses new messages.
    type: int
    required: true
  password:
    description: The portal's password. If it is not set, the module creates and stores one.
    type: str
  rotate:
    description:
      - Whether the module creates a new password even if one is stored. If O(password) is set, that password is used.
    type: bool
    default: false
  retire:
    description:
      - Whether the module removes passwords that were replaced, and the rights for a class other than O(backend). Use
        it when nothing uses them anymore.
    type: bool
    default: false
  transport:
    description:
      - How the portal reaches the server. With V(published) it listens in a network of the container's own, of which
        Docker publishes O(port); with V(host) on O(port) of the machine's loopback; with V(unix) on O(socket) only.
      - With V(tls) it listens for other machines, encrypted and not otherwise. Docker publishes O(port) of O(address).
    type: str
    choices: [published, host, unix, tls]
    default: published
  port:
    description:
      - The port on which Redis listens, on the loopback interface or, with O(transport=tls), on O(address). With
        V(unix), there is no port.
    type: int
    default: 6379
  address:
    description: The address of the server on which Redis listens with O(transport=tls).
    type: str
  tls_cert:
    description:
      - The server's certificate and the intermediate certificates up to O(tls_ca), in PEM format. Empty only in check
        mode.
    type: str
  tls_key:
    description: The private key of O(tls_cert), in PEM format. Empty only in check mode.
    type: str
  tls_ca:
    description: The certificate of the CA, in PEM format. Empty only in check mode.
    type: str
  topology:
    description:
      - Whether the server stands alone. With V(sentinel), which needs O(transport=tls), it is a primary or a replica,
        is started by a script, and a folder is made in which M(tethys.channels.redis_sentinel) keeps what
        Sentinel reads.
    type: str
    choices: [standalone, sentinel]
    default: standalone
  sentinel_port:
    description: With O(topology=sentinel), the port on O(address) on which this server's Sentinel listens.
    type: int
    default: 26379
  start_wait:
    description:
      - With O(topology=sentinel), the number of seconds that a starting server waits for another server to become the
        primary, if Sentinel reports this server as the primary.
    type: int
    default: 35
  running_sum:
    description:
      - The RV(config_sum) with which the running server was started, if it is known. The configuration for its next
        start is kept until the server runs with this one.
    type: str
  peer_password:
    description:
      - With O(topology=sentinel), the password that the servers and their sentinels use among each other. It is the
        same on all servers. Unlike the other passwords, it is in the configuration itself, because the server has to
        send it.
    type: str
  socket:
    description:
      - The path of the Unix socket on the server. The container mounts its folder at C(/run/tethys-channels). The
        folder has the mode 0750 and belongs to O(uid) and O(socket_group).
    type: path
  socket_group:
    description: The group, by name or number, that can use the socket, in addition to root.
    type: str
  running:
    description:
      - Whether a server is running with this configuration, so that it gets new passwords and rights immediately.
      - Without O(acl), the running server does not get them.
    type: bool
    default: false
  container:
    description: The container of the running server, for O(running). The module sends the password to no other process.
    type: str
  engine:
    description: The container engine of O(container).
    type: str
    choices: [docker, podman]
    default: docker
"""

EXAMPLES = r"""
- name: Write Redis credentials and configuration
  tethys.channels.redis_settings:
    uid: 16379
    backend: channels_redis.pubsub.RedisPubSubChannelLayer
    maxmemory_mb: 192
  register: redis_settings
  no_log: true
"""

RETURN = r"""
credentials:
  description: C(username), C(password), C(admin_username) and C(admin_password). A user name is null without O(acl).
  returned: always
  type: dict
config_sum:
  description:
    - A digest of the configuration, which changes whenever the container has to read it again.
    - It does not change for a new password or the rights of another class, which the running server gets immediately.
  returned: always
  type: str
rotating:
  description: Whether a password that was replaced, or the rights for another class, are still valid.
  returned: always
  type: bool
  sample: false
leaving:
  description: The names of what a call with O(retire) removes.
  returned: always
  type: list
  elements: str
  sample: [the old password]
stale:
  description:
    - Whether the running server has to restart. This is the case if it refuses the login of this configuration's
      administrator and so has not read the configuration, or if its socket is lost.
  returned: always
  type: bool
  sample: false
config:
  description: The lines of the configuration, without the users.
  returned: always
  type: list
  elements: str
config_dir:
  description: The folder that the container mounts.
  returned: always
  type: str
  sample: /etc/tethys_channels/redis
config_file:
  description: The name of the configuration in that folder.
  returned: always
  type: str
  sample: redis-unix.conf
start_file:
  description:
    - With O(topology=sentinel), the name of the script in that folder that starts the server. Otherwise, null.
  returned: always
  type: str
  sample: start.sh
run_as:
  description: User id and group id of the container, as C(docker run --user) takes them.
  returned: always
  type: str
  sample: "16379:33"
"""

import contextlib

from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.redis.answer import SettingsAnswer
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import RedisError
from ansible_collections.tethys.channels.plugins.module_utils.redis.config_files import START, Files
from ansible_collections.tethys.channels.plugins.module_utils.redis.configuration import TLS_FILES
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import (
    ADMIN_USER,
    NO_USER,
    PORTAL_USER,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone


def shut_out(error: RedisError) -> bool:
    """Whether Redis does not know this login, or not its rights; too many clients, say, are no reason to restart it."""
    return str(error).startswith(("WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", NO_USER))


ARGUMENTS = {
    "directory": {"type": "path", "default": "/etc/tethys_channels"},
    "home": {"type": "path"},
    "uid": {"type": "int", "required": True},
    "acl": {"type": "bool", "default": True},
    "prefix": {"type": "str", "default": "asgi"},
    "backend": {"type": "str", "required": True},
    "channel_rights": {"type": "bool"},
    "maxmemory_mb": {"type": "int", "required": True},
    # With no_log, Ansible would mask it in what is returned too, and the portal would get the mask.
    # The task's own no_log hides it, as the documentation says.
    "password": {"type": "str", "no_log": False},
    "rotate": {"type": "bool", "default": False},
    "retire": {"type": "bool", "default": False},
    "transport": {"type": "str", "choices": ["published", "host", "unix", "tls"], "default": "published"},
    "port": {"type": "int", "default": 6379},
    "address": {"type": "str"},
    "tls_cert": {"type": "str"},
    "tls_key": {"type": "str", "no_log": True},
    "tls_ca": {"type": "str"},
    "topology": {"type": "str", "choices": ["standalone", "sentinel"], "default": "standalone"},
    "sentinel_port": {"type": "int", "default": 26379},
    "start_wait": {"type": "int", "default": 35},
    "running_sum": {"type": "str"},
    "peer_password": {"type": "str", "no_log": True},
    "socket": {"type": "path"},
    "socket_group": {"type": "str"},
    "running": {"type": "bool", "default": False},
    "container": {"type": "str"},
    "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[
            ("transport", "unix", ["socket"]),
            ("transport", "tls", ["address", *TLS_FILES]),
            ("topology", "sentinel", ["address", "peer_password"]),
            ("running", True, ["container"]),
        ],
        supports_check_mode=True,
    )
    empty = [name for name in TLS_FILES if module.params["transport"] == "tls" and not module.params[name].strip()]
    # A dry run may be before there is a certificate.
    if empty and not module.check_mode:
        module.fail_json(
            msg=f"{' and '.join(empty)} would be empty, and Redis would not start. Check that the user who runs Ansible"
            " can read the files of the certificate on the controller (in redis_container_tls_dir, or those given), and"
            " run again."
        )
    try:
        with alone(module.params["directory"]):
            bring(module)
    except Busy as error:
        module.fail_json(msg=str(error))


def bring(module: AnsibleModule) -> None:
    """Apply the options to the files, and to what the running Redis accepts."""
    params = module.params
    retire = params["retire"]
    try:
        files = Files(params)
    except KeyError:
        module.fail_json(msg=f"There is no group {params['socket_group']} on this server.")
    except OSError as error:
        path = error.filename or f"{params['directory']}/redis"
        module.fail_json(msg=f"{path} cannot be read: {error}. Run as root (ansible_become: true).")

    write_files = not files.right()
    try:
        if write_files and not module.check_mode:
            # The credentials first: a run that dies in between finds them again.
            if not retire:
                files.keep_credentials()
            files.keep_config()
    except OSError as error:
        name = error.filename or files.base
        module.fail_json(msg=f"{name} could not be written ({error.strerror}): fix that and run again.")
    updated, stale = update_redis(module, files) if params["running"] else (False, False)
    if write_files and retire and not module.check_mode:
        try:
            # Last, so that a run that dies before begins at the start.
            files.keep_credentials()
        except OSError as error:
            module.fail_json(msg=f"The files under {files.base} could not be written: {error}.")

    if params["running"] and params["running_sum"] in (None, files.config_sum) and not module.check_mode:
        with contextlib.suppress(OSError):
            files.forget_others()
    module.exit_json(changed=write_files or updated, stale=stale, **answer(files, params["acl"]))


def update_redis(module: AnsibleModule, files: Files) -> tuple[bool, bool]:
    """Have the server that runs take the files' passwords; return whether it changes and whether it has to restart."""
    retire = module.params["retire"]
    if not retire and files.socket and files.socket_is_lost():
        # The socket was deleted, or its folder: a container that starts again makes the one and mounts the other.
        return False, True
    if not module.params["acl"]:
        return False, False
    try:
        return files.tell(module.check_mode), False
    except (OSError, RedisError) as error:
        if retire:
            module.fail_json(msg=f"What is no longer used could not be removed from Redis ({error}): run again.")
        # It reads the file when it starts, and that the portal can log in is seen afterwards.
        return False, isinstance(error, RedisError) and shut_out(error)


def answer(files: Files, acl: bool) -> SettingsAnswer:
    """Return what the module returns about the files."""
    hidden = ("user ", "requirepass ", "masteruser ", "masterauth ")
    credentials = files.credentials
    return {
        "config": files.shown,
        "config_dir": str(files.redis_dir),
        "config_file": files.config_path.name,
        "start_file": START if files.watched else None,
        "config_sum": files.config_sum,
        "run_as": f"{files.uid}:{files.gid}",
        "rotating": bool(files.leaving),
        "leaving": files.leaving,
        "credentials": {
            "username": PORTAL_USER if acl else None,
            "password": credentials["password"],
            "admin_username": ADMIN_USER if acl else None,
            "admin_password": credentials["admin_password"] if acl else credentials["password"],
        },
        "diff": {
            "before": "".join(row + "\n" for row in files.before.splitlines() if not row.startswith(hidden)),
            "after": "\n".join(files.shown) + "\n",
            "before_header": str(files.config_path),
            "after_header": str(files.config_path),
        },
    }


if __name__ == "__main__":
    main()

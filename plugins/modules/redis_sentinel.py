#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give Sentinel what it reads, and leave to it what it decides."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel
short_description: Manage the configuration of a Sentinel, and make this server's Redis a replica
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Writes the configuration of this server's Sentinel, in the folder with the credentials of
    M(tethys.channels.redis_settings). Sentinel itself stores in that file which servers it monitors and which one is
    the primary. The module keeps these lines.
  - A running Sentinel gets a new password, quorum or timeout without a restart.
  - If the primary does not have this replica yet, this server's Redis becomes one. Sentinel decides which server is the
    primary. O(primary) is used only if there is no primary yet.
seealso:
  - module: tethys.channels.redis_settings
  - module: tethys.channels.sentinel_info
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Changes nothing, and returns whether it would.
  diff_mode:
    support: none
    description: Most of the file is Sentinel's own, and passwords are in it.
  platform:
    description: Any POSIX system; as root.
options:
  directory:
    description: The folder in which M(tethys.channels.redis_settings) stores the credentials.
    type: path
    default: /etc/tethys_channels
  uid:
    description: The user ID under which the container runs. This user owns the file, and writes to it.
    type: int
    required: true
  address:
    description: The address of this server on which Redis and Sentinel listen.
    type: str
    required: true
  port:
    description: The port of Redis.
    type: int
    default: 6379
  sentinel_port:
    description: The port of Sentinel.
    type: int
    default: 26379
  primary:
    description: The address of the primary, or of the server that is to become the primary, as C(host) and C(port).
    type: dict
    required: true
    suboptions:
      host:
        description: Its address.
        type: str
        required: true
      port:
        description: The port of its Redis.
        type: int
        required: true
  image:
    description:
      - The image of the container. A container with a different image reads the configuration that this module
        writes, not the one that Sentinel wrote.
    type: str
    required: true
  sentinels:
    description: The addresses of the sentinels on all servers.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The address of that server.
        type: str
        required: true
      port:
        description: The port of its Sentinel.
        type: int
        required: true
  down_seconds:
    description: The number of seconds without an answer after which a Sentinel considers the primary to be down.
    type: int
    default: 5
  retire:
    description: Whether the module removes passwords that were replaced.
    type: bool
    default: false
  hand_over:
    description:
      - Whether the module only makes another server the primary and this one its replica, if this server is the
        primary. Use it before this server's Redis is replaced.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Give Sentinel what it reads
  tethys.channels.redis_sentinel:
    uid: 16379
    image: redis:8.2
    address: 192.0.2.6
    primary: {host: 192.0.2.5, port: 6379}
    sentinels:
      - {host: 192.0.2.5, port: 26379}
      - {host: 192.0.2.6, port: 26379}
      - {host: 192.0.2.7, port: 26379}
"""

RETURN = r"""
config_dir:
  description: The folder that the container mounts, and writes to.
  returned: always
  type: str
  sample: /etc/tethys_channels/sentinel
config_file:
  description: The name of the configuration in that folder.
  returned: always
  type: str
config_sum:
  description: A digest of the configuration, which changes whenever the container has to read it again.
  returned: always
  type: str
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.redis import sentinels
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError, pairs
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import (
    ADMIN_USER,
    CONNECT_TO_SENTINEL,
    PEER_USER,
    PORTAL_USER,
    PRIMARY_NAME,
    sha256,
    tell,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone

# Where the container sees the certificate, which is Redis's own.
MOUNT = "/etc/tethys-channels"
# After how long another attempt is made to find a new primary.
FAILOVER_SECONDS = 10
HAND_OVER_SECONDS = 40
PAUSE = 0.3
# What a portal may ask a Sentinel.
MAY_ASK = "+sentinel|masters +sentinel|get-master-addr-by-name +sentinel|replicas"
# What Sentinel does not write into its configuration.
OURS = (
    "sentinel announce-",
    "sentinel sentinel-user ",
    "sentinel sentinel-pass ",
    "sentinel auth-user ",
    "sentinel auth-pass ",
)


class Files:
    """What Sentinel reads, and what it has written there."""

    def __init__(self, params: dict[str, Any], server: sentinels.Server) -> None:
        self.params = params
        self.server = server
        self.credentials = server.credentials
        self.folder = server.folder
        redis = self.folder.parent / "redis"
        certificate = "".join(sentinels.text_of(redis / name) for name in ("redis.crt", "redis.key", "ca.crt"))
        # The portal's passwords are not in it: a Sentinel gets them by command.
        salt = str(self.credentials.get("admin_password"))
        self.sum = sha256(salt + "\n".join([params["image"], *self.own(), self.peer_line(), MAY_ASK]) + certificate)[
            :32
        ]
        self.path = self.folder / f"sentinel-{self.sum[:12]}.conf"

    def own(self) -> list[str]:
        """How it listens, and how it is known to the others."""
        params = self.params
        return [
            "# Managed by tethys.channels, and written on by Sentinel.",
            "bind 0.0.0.0",
            "protected-mode no",
            "port 0",
            "tls-port 26379",
            f"tls-cert-file {MOUNT}/redis.crt",
            f"tls-key-file {MOUNT}/redis.key",
            f"tls-ca-cert-file {MOUNT}/ca.crt",
            "tls-auth-clients no",
            "tls-replication yes",
            'tls-protocols "TLSv1.2 TLSv1.3"',
            f"sentinel announce-ip {params['address']}",
            f"sentinel announce-port {params['sentinel_port']}",
            f"sentinel sentinel-user {PEER_USER}",
            f"sentinel sentinel-pass {self.credentials.get('peer_password')}",
            f"user {ADMIN_USER} on #{sha256(str(self.credentials.get('admin_password')))} &* +@all",
        ]

    def peer_line(self) -> str:
        """What the other sentinels may."""
        peer = sha256(str(self.credentials.get("peer_password")))
        return f"user {PEER_USER} on #{peer} &* -@all {CONNECT_TO_SENTINEL} +sentinel +publish +subscribe +info +role"

    @property
    def sums(self) -> list[str]:
        """Those of the portal's passwords."""
        previous = [] if self.params["retire"] else self.credentials.get("previous") or []
        return [sha256(str(self.credentials.get("password"))), *previous]

    def portal_line(self) -> str:
        """The rights of a portal: query the primary's address and its replicas."""
        opening = " ".join("#" + each for each in self.sums)
        return f"user {PORTAL_USER} on {opening} -@all {CONNECT_TO_SENTINEL} {MAY_ASK}"

    def settings(self) -> dict[str, str]:
        """What can be set while it runs."""
        params = self.params
        return {
            "quorum": str(len(params["sentinels"]) // 2 + 1),
            "down-after-milliseconds": str(params["down_seconds"] * 1000),
            "failover-timeout": str(FAILOVER_SECONDS * 1000),
            "parallel-syncs": str(len(params["sentinels"])),
        }

    def beginning(self) -> list[str]:
        """The primary to watch, if no Sentinel of this server has one."""
        primary, settings = self.params["primary"], self.settings()
        quorum = settings.pop("quorum")
        return [
            f"sentinel monitor {PRIMARY_NAME} {primary['host']} {primary['port']} {quorum}",
            *(f"sentinel {name} {PRIMARY_NAME} {value}" for name, value in settings.items()),
        ]

    def login(self) -> dict[str, str]:
        """How it gets in to those whom it watches."""
        return {"auth-user": PEER_USER, "auth-pass": str(self.credentials.get("peer_password"))}

    def remembered(self) -> list[str]:
        """What a Sentinel of this server has written down last."""
        for path in reversed(self.server.configurations()):
            lines = sentinels.text_of(path).splitlines()
            found = [line for line in lines if line.startswith("sentinel ") and not line.startswith(OURS)]
            if any(line.startswith("sentinel monitor ") for line in found):
                return found
        return []

    def text(self) -> str:
        """The whole configuration."""
        lines = [*self.own(), "user default off", self.peer_line(), self.portal_line()]
        # Only behind the line that names it can more be said of the primary.
        login = [f"sentinel {name} {PRIMARY_NAME} {value}" for name, value in self.login().items()]
        return "\n".join([*lines, *(self.remembered() or self.beginning()), *login, ""])

    def is_last(self) -> bool:
        """Whether no Sentinel has written another file since this one was written to."""
        return self.server.configurations()[-1:] == [self.path]

    def lets_in(self) -> bool:
        """Whether the file has the portal's passwords, and no others."""
        for line in sentinels.text_of(self.path).splitlines():
            words = line.split()
            if words[:2] == ["user", PORTAL_USER]:
                return sorted(word[1:] for word in words if word.startswith("#")) == sorted(self.sums)
        return False

    def write(self) -> None:
        """Put it in place for a Sentinel that is not running."""
        atomic_file.remove_leftovers(str(self.path))
        atomic_file.replace(str(self.path), self.text().encode(), mode=0o600, uid=self.params["uid"])

    def forget_others(self) -> None:
        """Delete what the Sentinel of before has read, once this one's is there."""
        for path in self.server.configurations():
            if path != self.path:
                atomic_file.unlink(str(path))


def set_right(sentinel: Redis, files: Files, check: bool) -> bool:
    """Apply the settings to the running Sentinel; return whether they differed."""
    changed = tell(sentinel, files.sums, check)
    if changed and not check:
        sentinel.command("SENTINEL", "FLUSHCONFIG")
    wrong = files.settings()
    if sentinels.primary_of(sentinel) is None:
        # Somebody removed the primary from it.
        primary = present_primary(files.server, files.params)
        wrong = {**wrong, **files.login()}
        if not check:
            words = (PRIMARY_NAME, primary["host"], primary["port"], wrong["quorum"])
            sentinel.command("SENTINEL", "MONITOR", *words)
    else:
        about = pairs(sentinel.command("SENTINEL", "MASTER", PRIMARY_NAME))
        wrong = {name: value for name, value in wrong.items() if about.get(name) != value}
    for name, value in {} if check else wrong.items():
        sentinel.command("SENTINEL", "SET", PRIMARY_NAME, name, value)
    return changed or bool(wrong)


def present_primary(server: sentinels.Server, params: dict[str, Any]) -> dict[str, Any]:
    """The primary's address: from the first Sentinel that has it, else the planned one."""
    others = [one for one in params["sentinels"] if one["host"] != params["address"]]
    for place in [{"host": None, "port": None}, *others]:
        try:
            with server.sentinel(place["host"], place["port"]) as sentinel:
                found = sentinels.primary_of(sentinel)
        except (OSError, RedisError):
            continue
        if found:
            return found
    return dict(params["primary"])


def follow(server: sentinels.Server, primary: dict[str, Any]) -> None:
    """Make the Redis here a replica of the primary and close its connections, as Sentinel does."""
    with server.redis() as redis:
        redis.command("REPLICAOF", primary["host"], primary["port"])
        for kind in ("normal", "pubsub"):
            redis.command("CLIENT", "KILL", "TYPE", kind)


def copy_primary(server: sentinels.Server, params: dict[str, Any], check: bool) -> bool:
    """Make the Redis of this server a replica if it is a primary; return whether it was."""
    primary = present_primary(server, params)
    if primary == {"host": params["address"], "port": params["port"]} or server.role()["role"] == "replica":
        # Whose replica it is, Sentinel sees to.
        return False
    if not check:
        if server.role(primary)["role"] != "primary":
            # Two that copy each other would serve nobody.
            raise RedisError(f"the Redis at {primary['host']}:{primary['port']} is not a primary")
        follow(server, primary)
    return True


def an_open_sentinel(server: sentinels.Server, params: dict[str, Any]) -> Redis:
    """A connection to the Sentinel here or, where that is away, to one of the others."""
    places = [None, *(one for one in params["sentinels"] if one["host"] != params["address"])]
    for place in places:
        try:
            return server.sentinel(place["host"], place["port"]) if place else server.sentinel()
        except (OSError, RedisError) as error:
            problem = error
    raise problem


def copies_of(server: sentinels.Server) -> int | None:
    """How many replicas the Redis here has; None if it refuses the login."""
    try:
        return server.copies()
    except (OSError, RedisError):
        return None


def hand_over(server: sentinels.Server, params: dict[str, Any], check: bool) -> bool:
    """Have another server be the primary; returns whether this one was."""
    here = {"host": params["address"], "port": params["port"]}
    if present_primary(server, params) != here:
        return False
    if check:
        return True
    end = time.monotonic() + HAND_OVER_SECONDS
    # Sentinel would take one that has just started and has no copy yet.
    while copies_of(server) in range(len(params["sentinels"]) - 1):
        wait(end, "not all other servers have a copy")
    with an_open_sentinel(server, params) as sentinel:
        while True:
            try:
                sentinel.command("SENTINEL", "FAILOVER", PRIMARY_NAME)
                break
            except RedisError as error:
                # Those that were just replaced are not known to be well yet.
                if "NOGOODSLAVE" not in str(error):
                    raise
                wait(end, "Sentinel finds no other server fit")
        while (primary := sentinels.primary_of(sentinel)) is None or primary == here:
            wait(end, "no other server was the primary")
    # Sentinel itself lets ten seconds pass, in which those who are connected here miss those who come.
    with contextlib.suppress(OSError, RedisError):
        follow(server, primary)
    return True


def wait(end: float, problem: str) -> None:
    """Wait for a moment, or report what has not happened."""
    if time.monotonic() > end:
        raise TimeoutError(f"{problem} after {HAND_OVER_SECONDS} s")
    time.sleep(PAUSE)


def bring(module: AnsibleModule) -> None:
    """Apply the settings to the file, Sentinel and Redis."""
    params, check = module.params, module.check_mode
    server = sentinels.Server(params["directory"], params["address"], params["port"], params["sentinel_port"])
    if params["hand_over"]:
        module.exit_json(changed=hand_over(server, params, check))
    files = Files(params, server)
    reads, changed = "", False
    # One that does not run reads the file when it starts.
    with contextlib.suppress(OSError, RedisError), server.sentinel() as sentinel:
        reads = str(server.reads(sentinel))
    if reads:
        with server.sentinel() as sentinel:
            # One that reads another file ends when its container is replaced; until then portals get in.
            changed = set_right(sentinel, files, check)
            if reads == files.path.name and not files.path.exists():
                changed = True
                if not check:
                    sentinel.command("SENTINEL", "FLUSHCONFIG")
    if reads == files.path.name:
        if not check:
            files.forget_others()
    elif reads or not files.path.exists() or not files.lets_in() or not files.is_last():
        changed = True
        if not check:
            files.write()
    # Before the first run of all there is no Redis to ask yet.
    if not check or server.credentials:
        try:
            changed = copy_primary(server, params, check) or changed
        except (OSError, RedisError):
            if not check:
                raise
    module.exit_json(changed=changed, config_dir=str(files.folder), config_file=files.path.name, config_sum=files.sum)


def main() -> None:
    """Entry point of the module."""
    place = {"host": {"type": "str", "required": True}, "port": {"type": "int", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/tethys_channels"},
            "uid": {"type": "int", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "sentinel_port": {"type": "int", "default": 26379},
            "primary": {"type": "dict", "required": True, "options": place},
            "image": {"type": "str", "required": True},
            "sentinels": {"type": "list", "elements": "dict", "required": True, "options": place},
            "down_seconds": {"type": "int", "default": 5},
            "retire": {"type": "bool", "default": False},
            "hand_over": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    if not directory.exists() and module.check_mode:
        # A dry run on a server that was never touched.
        module.exit_json(
            changed=True, config_dir=str(directory / sentinels.FOLDER), config_file="sentinel.conf", config_sum=""
        )
    try:
        with alone(str(directory)):
            bring(module)
    except Busy as error:
        module.fail_json(msg=str(error))
    except (OSError, RedisError) as error:
        module.fail_json(
            msg=f"Sentinel on {module.params['address']} could not be configured ({error}). Check that the containers"
            " of Redis and of Sentinel run on all servers of the group, and run again."
        )


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the credentials and the configuration of the channel layer's Redis server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_settings
short_description: Keep the credentials and the configuration of a channel layer's Redis
version_added: 1.0.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Makes the two passwords once, on the server, in a folder that only root can enter, and reuses them in later runs.
  - Writes the C(redis.conf) that the container mounts. From Redis 6 it holds the passwords' SHA-256 sums only.
  - Run the task with C(no_log), since it returns the passwords.
attributes:
  check_mode:
    support: full
    description: Writes nothing; where no password exists yet, the one returned is made up and forgotten.
  diff_mode:
    support: full
    description: Shows the configuration without its users.
  platform:
    support: full
    platforms: posix
    description: Any POSIX system.
options:
  directory:
    description: The folder, made with mode 0700 and owned by root.
    type: path
    default: /etc/tethys_channels
  uid:
    description: The user id under which the container runs; it owns the configuration that the container reads.
    type: int
    required: true
  acl:
    description: Whether the server knows users (Redis 6 and later). Without, one password opens everything.
    type: bool
    default: true
  prefix:
    description: The prefix of the layer's keys, to which the portal's user is confined.
    type: str
    default: asgi
  backend:
    description: The layer class for which the portal's user gets its commands.
    type: str
    default: channels_redis.core.RedisChannelLayer
  maxmemory_mb:
    description: The memory in MiB after which Redis refuses new messages.
    type: int
    required: true
  password:
    description: The portal's password; made and kept where it is not given.
    type: str
"""

EXAMPLES = r"""
- name: Keep the credentials and the configuration of Redis
  tethys.channels.redis_settings:
    uid: 16379
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
  description: A sum of the configuration, which changes whenever the container has to read it again.
  returned: always
  type: str
config:
  description: The lines of the configuration, without its users.
  returned: always
  type: list
  elements: str
config_dir:
  description: The folder that the container mounts.
  returned: always
  type: str
"""

import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PORTAL_USER = "tethys"
ADMIN_USER = "tethys_admin"
CONNECT = "+hello +auth +ping +select +client|setname"
# What each layer class sends, and nothing else (read in channels_redis 4.3, seen with redis-py 7.4 and 8.1).
COMMANDS = {
    "core": "+bzpopmin +zpopmin +zadd +zcount +zrange +zrem +zremrangebyscore +expire +del +eval +evalsha"
    " +script|load +multi +exec",
    "pubsub": "+publish +subscribe +unsubscribe",
}
# A health view and a change of password. ACL is what root needs for the latter, and could give itself more.
ADMIN_COMMANDS = "+info +client +acl +memory +latency +dbsize +scan +config|get"


def sha256(text: str) -> str:
    """The hexadecimal sum, as Redis takes it in a user's definition."""
    return hashlib.sha256(text.encode()).hexdigest()


def quoted(text: str) -> str:
    """A word in double quotes as Redis reads it; whatever could end the word or the line is written by its number."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in text.encode())
    return '"' + "".join(plain) + '"'


def users(credentials: dict[str, Any], prefix: str, backend: str, acl: bool) -> list[str]:
    """The lines that let the portal in, and nobody else."""
    if not acl:
        return ["requirepass " + quoted(credentials["password"])]
    pubsub = ".pubsub." in backend
    # Redis 6.0 has no rights on channels: they are named only where the layer needs them.
    reach = f"resetchannels &{prefix}* {COMMANDS['pubsub']}" if pubsub else f"~{prefix}* {COMMANDS['core']}"
    return [
        "user default off",
        f"user {PORTAL_USER} on #{sha256(credentials['password'])} resetkeys -@all {CONNECT} {reach}",
        f"user {ADMIN_USER} on #{sha256(credentials['admin_password'])} ~* -@all {CONNECT} {ADMIN_COMMANDS}",
    ]


def configuration(maxmemory_mb: int) -> list[str]:
    """The server's own settings."""
    return [
        "# Managed by tethys.channels: a change made here is lost.",
        "# Inside the container every address; outside only what the container publishes.",
        "bind 0.0.0.0",
        "protected-mode no",
        "port 6379",
        "tcp-keepalive 60",
        "# A channel layer is a message bus whose messages expire after a minute: nothing is worth writing to disk.",
        'save ""',
        "appendonly no",
        f"maxmemory {maxmemory_mb}mb",
        "maxmemory-policy noeviction",
    ]


def write(path: Path, text: str, mode: int, uid: int) -> None:
    """Put a file in place whole, with its owner and mode from the first moment."""
    descriptor, name = tempfile.mkstemp(dir=str(path.parent))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            os.fchmod(stream.fileno(), mode)
            os.fchown(stream.fileno(), uid, uid)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def same(path: Path, text: str, mode: int, uid: int) -> bool:
    """Whether the file is there, with this content, owner and mode."""
    try:
        found = path.stat()
        return (found.st_mode & 0o7777, found.st_uid) == (mode, uid) and path.read_text(encoding="utf-8") == text
    except OSError:
        return False


def ensure_folder(path: Path, mode: int, uid: int) -> None:
    """Make a folder, or put its owner and mode right."""
    path.mkdir(mode=mode, exist_ok=True)
    os.chown(str(path), uid, uid)
    path.chmod(mode)


def right_folder(path: Path, mode: int, uid: int) -> bool:
    """Whether a folder is there with this owner and mode."""
    try:
        found = path.stat()
    except OSError:
        return False
    return (found.st_mode & 0o7777, found.st_uid) == (mode, uid)


def read_credentials(path: Path) -> dict[str, Any]:
    """The credentials kept by an earlier run, or none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/tethys_channels"},
            "uid": {"type": "int", "required": True},
            "acl": {"type": "bool", "default": True},
            "prefix": {"type": "str", "default": "asgi"},
            "backend": {"type": "str", "default": "channels_redis.core.RedisChannelLayer"},
            "maxmemory_mb": {"type": "int", "required": True},
            # With no_log, Ansible would mask it in what is returned too, and the portal would get the mask.
            # The task's own no_log hides it, as the documentation asks.
            "password": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    base = Path(params["directory"])
    redis_dir = base / "redis"
    kept_path, config_path = base / "credentials.json", redis_dir / "redis.conf"

    kept = read_credentials(kept_path)
    credentials = {
        "password": params["password"] or kept.get("password") or secrets.token_urlsafe(32),
        "admin_password": kept.get("admin_password") or secrets.token_urlsafe(32),
    }
    kept_text = json.dumps(credentials, indent=2) + "\n"
    shown = configuration(params["maxmemory_mb"])
    text = "\n".join([*shown, *users(credentials, params["prefix"], params["backend"], params["acl"]), ""])
    try:
        before = config_path.read_text(encoding="utf-8") if config_path.exists() else ""
    except OSError as error:
        module.fail_json(msg=f"{config_path} cannot be read: {error}. Run as root (ansible_become: true).")

    changed = not (
        right_folder(base, 0o700, 0)
        and right_folder(redis_dir, 0o500, params["uid"])
        and same(kept_path, kept_text, 0o600, 0)
        and same(config_path, text, 0o400, params["uid"])
    )
    if changed and not module.check_mode:
        try:
            ensure_folder(base, 0o700, 0)
            # The credentials first: a run that dies in between finds them again.
            write(kept_path, kept_text, 0o600, 0)
            ensure_folder(redis_dir, 0o500, params["uid"])
            write(config_path, text, 0o400, params["uid"])
        except OSError as error:
            module.fail_json(msg=f"The files under {base} could not be written: {error}.")

    hidden = ("user ", "requirepass ")
    module.exit_json(
        changed=changed,
        config=shown,
        config_dir=str(redis_dir),
        # Salted, because a sum over a guessable password would tell it to whoever reads the container's labels.
        config_sum=sha256(credentials["admin_password"] + text)[:32],
        credentials={
            "username": PORTAL_USER if params["acl"] else None,
            "password": credentials["password"],
            "admin_username": ADMIN_USER if params["acl"] else None,
            "admin_password": credentials["admin_password"] if params["acl"] else credentials["password"],
        },
        diff={
            "before": "".join(row + "\n" for row in before.splitlines() if not row.startswith(hidden)),
            "after": "\n".join(shown) + "\n",
            "before_header": str(config_path),
            "after_header": str(config_path),
        },
    )


if __name__ == "__main__":
    main()

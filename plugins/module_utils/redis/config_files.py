# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a Redis container: its configuration, credentials and certificates, with owner and mode."""

from __future__ import annotations

import grp
import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
from ansible_collections.tethys.channels.plugins.module_utils.redis.configuration import (
    REPLICATE_LABELLED,
    TLS_FILES,
    configuration,
    start_script,
)
from ansible_collections.tethys.channels.plugins.module_utils.redis.credentials import next_credentials
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container, login
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import (
    ADMIN_USER,
    class_of,
    classes_in,
    has_channel_rights,
    rights,
    sha256,
    tell,
    users,
)

# How long a server that is just starting has for its socket.
SOCKET_TRIES = 10
SOCKET_PAUSE = 0.3
START = "start.sh"


def put(path: Path, text: str, mode: int, uid: int) -> None:
    """Put a file in place, and take away what a run that was killed while it did so has left of the passwords."""
    atomic_file.remove_leftovers(str(path))
    atomic_file.replace(str(path), text.encode(), mode=mode, uid=uid)


def same(path: Path, text: str, mode: int, uid: int) -> bool:
    """Whether the file is there, with this content, owner and mode."""
    try:
        found = path.stat()
        return (found.st_mode & 0o7777, found.st_uid) == (mode, uid) and atomic_file.read(str(path)) == text.encode()
    except OSError:
        return False


def ensure_folder(path: Path, mode: int, uid: int, gid: int) -> None:
    """Make a folder, or put its owner and mode right."""
    path.mkdir(mode=mode, exist_ok=True)
    os.chown(str(path), uid, gid)
    path.chmod(mode)


def right_folder(path: Path, mode: int, uid: int, gid: int) -> bool:
    """Whether a folder is there with this owner and mode."""
    try:
        found = path.stat()
    except OSError:
        return False
    is_right = (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (mode, uid, gid)
    return is_right and stat.S_ISDIR(found.st_mode)


def group_id(name: str) -> int:
    """The number of a group of this machine."""
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


class Files:
    """The folder, and what is to be in it."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.base = Path(params["directory"])
        self.redis_dir = self.base / "redis"
        self.sentinel_dir = self.base / "sentinel"
        # Each transport has its own file: until its container exists, that of another transport may start again.
        transport, port = params["transport"], params["port"]
        self.watched = params["topology"] == "sentinel"
        tls = "redis-copies.conf" if self.watched else "redis-tls.conf"
        names = {"host": f"redis-host-{port}.conf", "unix": "redis-unix.conf", "tls": tls}
        self.config_path = self.redis_dir / names.get(transport, "redis.conf")
        given = {name: params[name] for name in TLS_FILES} if transport == "tls" else {}
        self.tls = {self.redis_dir / TLS_FILES[name]: text.strip() + "\n" for name, text in given.items()}
        self.credentials_path = self.base / "credentials.json"
        self.uid = params["uid"]
        self.socket: Path | None = Path(params["socket"]) if params["transport"] == "unix" else None
        self.gid = group_id(params["socket_group"]) if self.socket and params["socket_group"] else self.uid
        self.params = params
        self.before = atomic_file.read(str(self.config_path)).decode("utf-8") if self.config_path.exists() else ""
        kept = atomic_file.read_notes(self.credentials_path)
        self.credentials = next_credentials(
            kept,
            params["password"],
            peer_password=params["peer_password"],
            owner=os.path.realpath(f"{params['home']}/portal_config.yml") if params["home"] else None,
            acl=params["acl"],
            rotate=params["rotate"],
            retire=params["retire"],
        )
        self.channel_rights = self._channel_rights()
        first_class = self._classes(kept)
        self.credentials_text = json.dumps(self.credentials, indent=2) + "\n"
        now = sha256(self.credentials["password"])
        self.sums = [now, *self.credentials.get("previous", [])]
        copied_at = params["address"] if self.watched else None
        self.shown = configuration(params["maxmemory_mb"], transport, port, copied_at)
        self.text = self.config(self.sums, self.classes)
        self.beside = dict(self.tls)
        if self.watched:
            self.beside[self.redis_dir / START] = start_script(params, self.config_path.name)
        # Salted, because the digest of a guessable password would reveal it to whoever reads the container's labels.
        beside = dict(self.beside)
        if self.watched:
            beside[self.redis_dir / START] = start_script(params, self.config_path.name, REPLICATE_LABELLED)
        labelled = self.config([self.credentials.get("first", now)], [first_class]) + "".join(beside.values())
        self.config_sum = sha256(self.credentials["admin_password"] + labelled)[:32]

    def _classes(self, kept: dict[str, Any]) -> str:
        """Find the classes for which the portal gets rights; return the one of the container's label, and note it.

        The file has those of the class before until they are retired: its processes still run. A server that runs gets
        the rights at once, so its label, by which it would be replaced, stays that of the class it was made for.
        """
        self.wanted = class_of(self.params["backend"])
        had = classes_in(self.before or self._other_configs()) if self.params["acl"] else []
        self.classes = [self.wanted] if self.params["retire"] else sorted({self.wanted, *had})
        if not self.params["running"] or not had:
            return self.wanted
        first = str(kept.get("first_class") or (had[0] if len(had) == 1 else self.wanted))
        if first != self.wanted:
            self.credentials["first_class"] = first
        return first

    def _other_configs(self) -> str:
        """What a server reads that is still reached otherwise, or stands in another topology."""
        found = sorted(self.redis_dir.glob("redis*.conf")) if not self.before else []
        return "".join(atomic_file.read(str(path)).decode("utf-8") for path in found)

    def granted(self, classes: list[str]) -> str:
        """The portal's rights for these classes."""
        return rights(self.params["prefix"], classes, self.channel_rights)

    def config(self, sums: list[str], classes: list[str]) -> str:
        """The whole configuration, with these digests of the portal's passwords, and the rights for these classes."""
        lines = users(self.credentials, self.granted(classes), self.params["acl"], sums)
        return "\n".join([*self.shown, *lines, ""])

    @property
    def leaving(self) -> list[str]:
        """What is to be retired, as a person reads it."""
        classes = {"core": "the core class", "pubsub": "the pub/sub class"}
        found = [f"the rights of {classes[name]}" for name in self.classes if name != self.wanted]
        return [*(["the old password"] if "previous" in self.credentials else []), *found]

    def right(self) -> bool:
        """Whether nothing has to be written."""
        return (
            right_folder(self.base, 0o700, 0, 0)
            and right_folder(self.redis_dir, 0o500, self.uid, self.uid)
            and (not self.watched or right_folder(self.sentinel_dir, 0o700, self.uid, self.uid))
            and (self.socket is None or right_folder(self.socket.parent, 0o750, self.uid, self.gid))
            and same(self.credentials_path, self.credentials_text, 0o600, 0)
            and same(self.config_path, self.text, 0o400, self.uid)
            and all(same(path, text, 0o400, self.uid) for path, text in self.beside.items())
        )

    def keep_credentials(self) -> None:
        """Write what later runs have to know."""
        ensure_folder(self.base, 0o700, 0, 0)
        put(self.credentials_path, self.credentials_text, 0o600, 0)

    def keep_config(self) -> None:
        """Write what the container reads when it starts."""
        ensure_folder(self.redis_dir, 0o500, self.uid, self.uid)
        if self.watched:
            ensure_folder(self.sentinel_dir, 0o700, self.uid, self.uid)
        if self.socket:
            ensure_folder(self.socket.parent, 0o750, self.uid, self.gid)
        for path, text in self.beside.items():
            put(path, text, 0o400, self.uid)
        put(self.config_path, self.text, 0o400, self.uid)

    def forget_others(self) -> None:
        """Delete what a container that is reached otherwise has read."""
        names = [*TLS_FILES.values(), START]
        for path in [*self.redis_dir.glob("redis*.conf"), *(self.redis_dir / name for name in names)]:
            if path != self.config_path and path not in self.beside:
                atomic_file.unlink(str(path))

    def socket_is_lost(self) -> bool:
        """Whether nobody answers on the socket, or it is not in the folder that the container has mounted."""
        for _again in range(SOCKET_TRIES):
            try:
                with socket.socket(socket.AF_UNIX) as plain:
                    plain.connect(str(self.socket))
                    return False
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(SOCKET_PAUSE)
            except OSError:
                return False
        return True

    def _login(self) -> Redis:
        """Log in to the server that runs."""
        admin = {"username": ADMIN_USER, "password": self.credentials["admin_password"]}
        place: dict[str, Any] = {"host": "127.0.0.1", "port": self.params["port"]}
        if self.socket:
            place = {"path": str(self.socket)}
        elif self.tls:
            place.update(host=self.params["address"], tls=True, ca=str(self.redis_dir / TLS_FILES["tls_ca"]))
        return login({**place, **admin}, Container(self.params["engine"], self.params["container"]))

    def _channel_rights(self) -> bool:
        """Whether the configuration can have rights on channels: Redis 6.0 does not start with them."""
        given = self.params["channel_rights"]
        if given is not None:
            return bool(given)
        if not (self.params["running"] and self.params["acl"]):
            return True
        try:
            with self._login() as redis:
                return has_channel_rights(redis.version())
        except (OSError, RedisError):
            # If it cannot be queried, the next login fails with the reason.
            return True

    def tell(self, check: bool) -> bool:
        """Have the server that runs take the passwords and rights of the file; returns whether it lacked a password."""
        with self._login() as redis:
            # It may be another version than the one that reads the file next.
            known = has_channel_rights(redis.version())
            granted = rights(self.params["prefix"], self.classes, known)
            # Where rights on channels exist, a user may have more of them until they are taken away.
            return tell(redis, self.sums, check, ("resetchannels " if known else "") + granted)

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Sentinel answers, and whom it has for the primary."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean, is_clean
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import (
    MOST_ERROR,
    NO_REDIS,
    Redis,
    RedisError,
    pairs,
    strings,
)
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import ADMIN_USER, PEER_USER, PRIMARY_NAME

# Where Sentinel keeps its state, and the name of its configuration there: a digest of our part of it.
FOLDER = "sentinel"
PATTERN = "sentinel-*.conf"
MOST_TEXT = 512 * 1024
ROLES = {"master": "primary", "slave": "replica"}


def _place(host: Any, port: Any) -> dict[str, Any]:
    """Return `host` and `port` of a server that a Sentinel or a Redis names; RedisError where they are none."""
    # A replica has the port as a number, a Sentinel as text.
    if isinstance(host, str) and is_clean(host) and str(port).isdecimal() and len(str(port)) <= len("65535"):
        return {"host": host, "port": int(port)}
    raise RedisError(NO_REDIS)


def primary_of(sentinel: Redis) -> dict[str, Any] | None:
    """Where that Sentinel has the primary, as `host` and `port`; None where it watches none."""
    try:
        found = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME)
    except RedisError as error:
        # A Sentinel that has lost its settings.
        if "No such master" in str(error):
            return None
        raise
    if not found:
        return None
    address = strings(found)
    return _place(address[0], address[-1])


def healthy_copies(sentinel: Redis) -> int:
    """How many copies of the primary that Sentinel sees, and finds well."""
    rows = sentinel.command("SENTINEL", "REPLICAS", PRIMARY_NAME)
    if not isinstance(rows, list):
        raise RedisError(NO_REDIS)
    return sum(pairs(row).get("flags") == "slave" for row in rows)


def text_of(path: Path) -> str:
    """The text of a file in a folder that a container can write; empty for a link, a FIFO, or one that is too large."""
    try:
        return atomic_file.read(str(path), MOST_TEXT).decode("utf-8", "replace")
    except OSError:
        return ""


class Server:
    """A server of the collection's own on which a Redis and a Sentinel run, asked from itself."""

    def __init__(self, directory: str, address: str, port: int, sentinel_port: int) -> None:
        base = Path(directory)
        self.folder = base / FOLDER
        self.credentials = atomic_file.read_notes(base / "credentials.json")
        self.place: dict[str, Any] = {"host": address, "tls": True, "ca": str(base / "redis" / "ca.crt")}
        self.port = port
        self.sentinel_port = sentinel_port

    def _login(self, user: str, password: str) -> dict[str, Any]:
        return {**self.place, "username": user, "password": self.credentials.get(password)}

    def redis(self) -> Redis:
        """The Redis here, as its own admin."""
        return Redis({**self._login(ADMIN_USER, "admin_password"), "port": self.port})

    def sentinel(self, host: str | None = None, port: int | None = None) -> Redis:
        """The Sentinel here as its own admin, or one of the others as their peer."""
        if host in (None, self.place["host"]):
            return Redis({**self._login(ADMIN_USER, "admin_password"), "port": self.sentinel_port})
        return Redis({**self._login(PEER_USER, "peer_password"), "host": host, "port": port or self.sentinel_port})

    @staticmethod
    def reads(sentinel: Redis) -> str | None:
        """The name of the configuration that a running Sentinel has read, and writes to."""
        lines = str(sentinel.command("INFO", "server")).splitlines()
        return next((line.rpartition("/")[2] for line in lines if line.startswith("config_file:")), None)

    def configurations(self) -> list[Path]:
        """Sentinel's configurations that are here, the one that was written to last at the end."""
        found = []
        for path in self.folder.glob(PATTERN):
            with contextlib.suppress(OSError):
                found.append((path.lstat().st_mtime, path))
        return [path for _time, path in sorted(found)]

    def role(self, place: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the Redis here is, or another: `role`, `of` (whose replica), `link` (whether it has its copy)."""
        with self.redis() if place is None else Redis({**self._login(PEER_USER, "peer_password"), **place}) as redis:
            told = redis.command("ROLE")
        if not isinstance(told, list) or not told:
            raise RedisError(NO_REDIS)
        role = ROLES.get(str(told[0]), clean(str(told[0]), MOST_ERROR))
        if role != "replica":
            return {"role": role, "of": None, "link": None}
        if len(told) < 4:
            raise RedisError(NO_REDIS)
        return {"role": role, "of": _place(told[1], told[2]), "link": told[3] == "connected"}

    def authority(self) -> str | None:
        """The certificate of the CA by which the servers verify each other."""
        path = self.folder.parent / "redis" / "ca.crt"
        return text_of(path) or None

    def last_primary(self) -> dict[str, Any] | None:
        """Where a Sentinel of this server had the primary when it last wrote it down."""
        for path in reversed(self.configurations()):
            for line in text_of(path).splitlines():
                words = line.split()
                if words[:3] == ["sentinel", "monitor", PRIMARY_NAME] and len(words) > 4:
                    with contextlib.suppress(RedisError):
                        return _place(words[3], words[4])
        return None

    def copies(self) -> int:
        """How many others have a copy of the Redis here that is up to date."""
        with self.redis() as redis:
            lines = str(redis.command("INFO", "replication")).splitlines()
        return sum(line.startswith("slave") and ",state=online," in line for line in lines)

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a Redis or a Sentinel, with the standard library only."""

from __future__ import annotations

import socket
import ssl
from typing import Any

CLOSED = "the connection was closed, or it is no Redis that answers"
NO_REDIS = "what answers there does not speak Redis's protocol"


class RedisError(Exception):
    """Redis answered with an error, or not in its protocol."""


class Redis:
    """One connection to a Redis server: enough to log in, and to ask what it is and what it holds."""

    def __init__(self, endpoint: dict[str, Any], timeout: float = 5.0) -> None:
        if endpoint.get("path"):
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(timeout)
            plain.connect(endpoint["path"])
        else:
            plain = socket.create_connection((endpoint["host"], int(endpoint["port"])), timeout=timeout)
        self._socket: socket.socket = plain
        if endpoint.get("tls"):
            # Told an authority, it trusts that one alone; told none, those of this machine.
            context = ssl.create_default_context(cafile=endpoint.get("ca"), cadata=endpoint.get("ca_data"))
            try:
                self._socket = context.wrap_socket(plain, server_hostname=endpoint["host"])
            except OSError:
                plain.close()
                raise
        self._reader = self._socket.makefile("rb")
        try:
            if endpoint.get("password"):
                login = [endpoint["username"]] if endpoint.get("username") else []
                self.command("AUTH", *login, endpoint["password"])
            if endpoint.get("db"):
                self.command("SELECT", endpoint["db"])
        except (OSError, RedisError):
            self.close()
            raise

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def command(self, *words: str | int) -> Any:
        """The answer to one command; RedisError with Redis's own words where it refuses."""
        encoded = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        self._socket.sendall(request)
        try:
            return self._answer()
        except (ValueError, MemoryError, RecursionError) as error:
            raise RedisError(NO_REDIS) from error

    def _line(self) -> bytes:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise RedisError(CLOSED)
        return line[:-2]

    def _answer(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode(errors="replace")
        if kind == b"-":
            raise RedisError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            text = self._reader.read(size + 2)
            if len(text) < size + 2:
                raise RedisError(CLOSED)
            return text[:-2].decode(errors="replace")
        if kind == b"*":
            return [self._answer() for _each in range(max(int(rest), 0))]
        raise RedisError(NO_REDIS)

    def version(self) -> str | None:
        """The server's version, or None where this user may not ask."""
        try:
            info = str(self.command("INFO", "server"))
        except RedisError:
            return None
        return next((line.partition(":")[2] for line in info.splitlines() if line.startswith("redis_version:")), None)

    def foreign_key(self, prefix: str, limit: int = 10000) -> str | None:
        """The first key found that does not start with the layer's prefix, or None after `limit` keys."""
        cursor, seen = "0", 0
        while seen < limit:
            cursor, keys = self.command("SCAN", cursor, "COUNT", 1000)
            for key in keys:
                if not key.startswith(prefix):
                    return str(key)
            seen += len(keys)
            if cursor == "0":
                return None
        return None

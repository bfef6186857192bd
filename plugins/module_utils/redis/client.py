# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a Redis or a Sentinel, with the standard library only."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean

CLOSED = "the connection was closed, or the server is not Redis"
NO_REDIS = "what answers there does not speak Redis's protocol"
TOO_LARGE = "its answer is larger than any that Redis gives here"
# One answer. The largest honest ones are a page of keys and, with many users, the list of them.
MOST_BYTES = 4 * 1024 * 1024
MOST_VALUES = 20_000
MOST_LINE = 64 * 1024
MOST_DIGITS = 20
MOST_DEPTH = 8
MOST_ERROR = 500
MOST_VERSION = 50
# Keys in one page of a walk over all.
STEP = 1000
CHUNK = 65536
# All commands of one connection together. The longest, a change of the primary, may take 40 s.
SESSION_SECONDS = 60.0


class RedisError(Exception):
    """Redis answered with an error, or not in its protocol; the text is one line without control characters."""

    def __init__(self, text: str) -> None:
        super().__init__(clean(text, MOST_ERROR))


def strings(answer: Any) -> list[str]:
    """Return an answer that is a list of texts; RedisError where it is something else."""
    if isinstance(answer, list) and all(isinstance(each, str) for each in answer):
        return answer
    raise RedisError(NO_REDIS)


def pairs(answer: Any) -> dict[str, Any]:
    """Return an answer that is names and values in turn; RedisError where it is something else."""
    if not isinstance(answer, list) or len(answer) % 2:
        raise RedisError(NO_REDIS)
    return dict(zip(strings(answer[::2]), answer[1::2]))


class Redis:
    """One connection to a Redis server: enough to log in, and to ask what it is and what it holds.

    Who answers may be a stranger: each answer is read within bounds and within one deadline.
    """

    def __init__(
        self,
        endpoint: dict[str, Any],
        timeout: float = 5.0,
        verify: Callable[[socket.socket], None] | None = None,
    ) -> None:
        """Connect and log in.

        Args:
            endpoint: `host` and `port` or `path`; `tls`, `ca` (a file), `ca_data`, and `ca_beside` (a file, trusted
                besides this machine's); `username`, `password`, `db`.
            timeout: seconds for the connection, and for each command with its answer.
            verify: called with the connected socket before anything is sent, to raise where a stranger is at its end.
        """
        self._timeout = timeout
        self._end = time.monotonic() + SESSION_SECONDS
        self._socket: socket.socket = self._connected(endpoint, timeout)
        self._buffer = b""
        try:
            if verify:
                verify(self._socket)
            if endpoint.get("tls"):
                # With a CA, it trusts that one alone; without, those of this machine. Both verify the host's name.
                context = ssl.create_default_context(cafile=endpoint.get("ca"), cadata=endpoint.get("ca_data"))
                if endpoint.get("ca_beside"):
                    context.load_verify_locations(endpoint["ca_beside"])
                self._socket.settimeout(timeout)
                self._socket = context.wrap_socket(self._socket, server_hostname=endpoint["host"])
            if endpoint.get("password"):
                login = [endpoint["username"]] if endpoint.get("username") else []
                self.command("AUTH", *login, endpoint["password"])
            if endpoint.get("db"):
                self.command("SELECT", endpoint["db"])
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _connected(endpoint: dict[str, Any], timeout: float) -> socket.socket:
        if not endpoint.get("path"):
            return socket.create_connection((endpoint["host"], int(endpoint["port"])), timeout=timeout)
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            plain.settimeout(timeout)
            plain.connect(endpoint["path"])
        except OSError:
            plain.close()
            raise
        return plain

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def command(self, *words: str | int) -> Any:
        """Return the answer to one command.

        Raises:
            RedisError: it refuses, with Redis's own words, or does not speak Redis's protocol.
            OSError: the connection is lost, or the answer is not complete in time.
        """
        encoded = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        self._deadline = min(time.monotonic() + self._timeout, self._end)
        self._bytes_left, self._values_left = MOST_BYTES, MOST_VALUES
        self._socket.settimeout(self._left())
        self._socket.sendall(request)
        try:
            return self._answer(MOST_DEPTH)
        except ValueError as error:
            raise RedisError(NO_REDIS) from error

    def _left(self) -> float:
        """Return the seconds until the deadline; TimeoutError where it has passed."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _more(self) -> None:
        """Read what there is; OSError where nothing comes until the deadline."""
        self._socket.settimeout(self._left())
        chunk = self._socket.recv(CHUNK)
        self._bytes_left -= len(chunk)
        if not chunk:
            raise RedisError(CLOSED)
        if self._bytes_left < 0:
            raise RedisError(TOO_LARGE)
        self._buffer += chunk

    def _take(self, size: int) -> bytes:
        chunks, have = [self._buffer], len(self._buffer)
        while have < size:
            self._buffer = b""
            self._more()
            chunks.append(self._buffer)
            have += len(self._buffer)
        whole = b"".join(chunks)
        self._buffer = whole[size:]
        return whole[:size]

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MOST_LINE:
                raise RedisError(NO_REDIS)
            self._more()
        line, _end, self._buffer = self._buffer.partition(b"\n")
        if not line.endswith(b"\r") or len(line) > MOST_LINE:
            raise RedisError(NO_REDIS)
        return line[:-1]

    def _answer(self, depth: int) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        self._values_left -= 1
        if self._values_left < 0:
            raise RedisError(TOO_LARGE)
        if kind == b"+":
            return rest.decode(errors="replace")
        if kind == b"-":
            raise RedisError(rest.decode(errors="replace"))
        if kind not in (b":", b"$", b"*") or len(rest) > MOST_DIGITS:
            raise RedisError(NO_REDIS)
        number = int(rest)
        if kind == b":":
            return number
        if kind == b"$":
            if number < 0:
                return None
            if number > self._bytes_left + len(self._buffer):
                raise RedisError(TOO_LARGE)
            return self._take(number + 2)[:-2].decode(errors="replace")
        if number > self._values_left or depth == 0:
            raise RedisError(TOO_LARGE)
        return [self._answer(depth - 1) for _each in range(max(number, 0))]

    def scan(self, cursor: str, count: int, *words: str) -> tuple[str, list[str]]:
        """Return the cursor of the next page of keys, 0 after the last, and the keys of this one."""
        answer = self.command("SCAN", cursor, "COUNT", count, *words)
        if not isinstance(answer, list) or len(answer) != 2:
            raise RedisError(NO_REDIS)
        [after] = strings(answer[:1])
        return after, strings(answer[1])

    def version(self) -> str | None:
        """Return the server's version, or None where this user may not read it."""
        try:
            info = str(self.command("INFO", "server"))
        except RedisError:
            return None
        found = (line.partition(":")[2] for line in info.splitlines() if line.startswith("redis_version:"))
        return clean(next(found, ""), MOST_VERSION) or None

    def foreign_key(self, prefix: str, limit: int = 10000) -> str | None:
        """Return the first key that does not start with the layer's prefix, or None if the first `limit` all do."""
        cursor = "0"
        for _page in range(limit // STEP):
            cursor, keys = self.scan(cursor, STEP)
            found = next((key for key in keys if not key.startswith(prefix)), None)
            if found is not None:
                return clean(found, MOST_ERROR)
            if cursor == "0":
                break
        return None

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to a party with fewer rights than root, with a deadline and a limit of what is read."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any, Mapping

MOST_HEADERS = 64 * 1024


class BoundedSocket:
    """A connected socket, or TLS on one, with one deadline for everything and a limit of what is read from it.

    It has what ``http.client`` and ``xmlrpc.client`` use of a socket. ``TimeoutError`` or another OSError ends them.
    """

    def __init__(self, plain: socket.socket, seconds: float, most_bytes: int) -> None:
        self.plain = plain
        self.deadline = time.monotonic() + seconds
        self.left = most_bytes

    def limit(self) -> None:
        """Let the next operation take what is left of the time."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self.plain.settimeout(left)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self.limit()
        self.plain.sendall(data)

    def makefile(self, _mode: str = "rb") -> io.BufferedReader:
        """Return a file to read from."""
        return io.BufferedReader(_BoundedRaw(self))

    def close(self) -> None:
        """Close it; a file that reads from it goes on until it is closed too."""
        self.plain.close()


class _BoundedRaw(io.RawIOBase):
    """The bytes of a BoundedSocket."""

    def __init__(self, owner: BoundedSocket) -> None:
        self._owner = owner
        self._raw = owner.plain.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._owner.limit()
        size = self._raw.readinto(buffer)
        self._owner.left -= size or 0
        if self._owner.left < 0:
            raise OSError("the answer is too large")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def ask_within(
    connection: http.client.HTTPConnection,
    seconds: float,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Return the status of an HTTP answer, of which the body is not read, from whoever is at the other end.

    Raises:
        OSError, http.client.HTTPException: there is no complete status and headers in time, or they are too large.
    """
    if connection.sock is None:
        connection.timeout = seconds
        connection.connect()
    connection.sock = BoundedSocket(connection.sock, seconds, MOST_HEADERS)
    connection.request(method, url, headers=dict(headers or {}))
    return connection.getresponse().status

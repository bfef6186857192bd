# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local services spoken to over their sockets: Docker's engine, Supervisor.

Each is a few requests by the standard library, because a server that is only being looked at may have none of the
client libraries, and a look must not install one.
"""

from __future__ import annotations

import http.client
import json
import posixpath
import re
import shutil
import socket
import time
import urllib.parse
import xmlrpc.client
from pathlib import Path
from typing import Any, Iterable, Iterator

from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import File, SupervisorFiles

DOCKER_SOCKET = "/var/run/docker.sock"
# One answer of the engine: a list of a thousand containers has some MiB.
MOST_BYTES = 32 * 1024 * 1024
# The layer's Redis where it has no port, in a folder that outlives a reboot, since the container mounts it.
REDIS_SOCKET = "/var/lib/tethys_channels/redis.sock"
# Debian and Ubuntu first, then Rocky's EPEL package, then pip's own default.
SUPERVISOR_CONFIGS = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor.conf")


_ASGI_GROUP = re.compile(r"asgi|tethys_asgi(0|[1-9][0-9]*)")


def is_asgi_group(name: str) -> bool:
    """Whether a Supervisor group is the portal's: `asgi`, or `tethys_asgi<i>` where each process has one of its own."""
    return _ASGI_GROUP.fullmatch(name) is not None


def asgi_groups(sections: Iterable[str]) -> list[str]:
    """The portal's groups among the names of sections such as `program:asgi`; Supervisor strips blanks, too."""
    return [name for name in (section.partition(":")[2].strip() for section in sections) if is_asgi_group(name)]


def asgi_number(group: str) -> int | None:
    """The number of the process that a group of its own is for; None for the group of all, `asgi`."""
    found = _ASGI_GROUP.fullmatch(group)
    return int(found.group(1)) if found and found.group(1) else None


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _body(connection: UnixConnection, answer: http.client.HTTPResponse, end: float) -> bytes:
    """The body of an answer; OSError where it is larger than any, or not complete in time."""
    chunks: list[bytes] = []
    size, plain = 0, connection.sock
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if plain:
            plain.settimeout(left)
        chunk = answer.read1(65536)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            raise OSError(f"an answer is larger than {MOST_BYTES} bytes")


class Docker:
    """The engine's API on its local socket; read requests only."""

    def __init__(self, path: str = DOCKER_SOCKET, timeout: float = 20.0) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, url: str) -> Any:
        """The decoded answer, or None where the engine has no such thing; OSError where it does not answer."""
        connection = UnixConnection(self._path, self._timeout)
        end = time.monotonic() + self._timeout
        try:
            connection.request("GET", url)
            answer = connection.getresponse()
            body = _body(connection, answer, end)
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise OSError(f"Docker's engine answered {answer.status} to {url}")
        return json.loads(body)

    def image(self, name: str) -> Any:
        """What the engine knows of a local image, or None."""
        return self.get("/images/" + urllib.parse.quote(name, safe="/:@") + "/json")


class _SupervisorTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, user: str, password: str, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._user = user
        self._password = password
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return UnixConnection(self._path, self._timeout)

    def send_headers(self, connection: http.client.HTTPConnection, headers: list[tuple[str, str]]) -> None:
        if self._user:
            import base64

            token = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            headers = [*headers, ("Authorization", "Basic " + token)]
        super().send_headers(connection, headers)


class Supervisor:
    """Supervisor's configuration file and its XML-RPC interface."""

    def __init__(self, timeout: float = 60.0) -> None:
        self._timeout = timeout
        self.installed = shutil.which("supervisord") is not None
        self.config = next((name for name in SUPERVISOR_CONFIGS if Path(name).is_file()), None)
        self._files = SupervisorFiles(self.config)

    @property
    def socket_path(self) -> str:
        return posixpath.expanduser(self._option("unix_http_server", "file", "/var/run/supervisor.sock"))

    def _option(self, section: str, option: str, default: str) -> str:
        return self._files.get(section, option, default)

    @property
    def include_globs(self) -> list[str]:
        """Return the patterns of the [include] section, absolute, in the order in which Supervisor reads them."""
        return self._files.include_globs

    def program_files(self) -> list[str]:
        """Return the files that Supervisor reads besides its own, sorted as it sorts them."""
        return self._files.program_files()

    def files(self) -> Iterator[File]:
        """Yield the files of the configuration, Supervisor's own first, with their values expanded."""
        return self._files.files()

    def unread(self) -> list[str]:
        """Return the files besides Supervisor's own that are there and could not be read."""
        return self._files.unread()

    def rpc(self) -> Any:
        """The `supervisor` namespace of the XML-RPC interface."""
        transport = _SupervisorTransport(
            self.socket_path,
            self._option("unix_http_server", "username", ""),
            self._option("unix_http_server", "password", ""),
            self._timeout,
        )
        return xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport).supervisor

    def state(self) -> dict[str, Any] | None:
        """{pid, version}, or None where no supervisord answers."""
        if not self.config:
            return None
        try:
            rpc = self.rpc()
            return {"pid": rpc.getPID(), "version": rpc.getSupervisorVersion()}
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local services spoken to over their sockets: Docker's engine, Supervisor.

Each is a few requests by the standard library, because a server that is only inspected may have none of the
client libraries, and an inspection must not install one.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import posixpath
import shutil
import socket
import struct
import time
import urllib.parse
import xmlrpc.client
from typing import Any, Iterator
from xml.parsers.expat import ExpatError

from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Kind,
    Listing,
    Name,
    Record,
    Rejected,
    Text,
    Whole,
    accept_value,
    clean,
)
from ansible_collections.tethys.channels.plugins.module_utils.bounded_socket import BoundedSocket
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import is_asgi_group
from ansible_collections.tethys.channels.plugins.module_utils.server import proc, supervisord
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import File, SupervisorFiles

DOCKER_SOCKET = "/var/run/docker.sock"
# One answer of the engine: a list of a thousand containers has some MiB.
MOST_BYTES = 32 * 1024 * 1024
# One answer of Supervisor, which has a few KiB for each process.
MOST_SUPERVISOR_BYTES = 8 * 1024 * 1024
# What stands before the digest of a password.
_HASHED = "{SHA}"
_PEER = struct.Struct("3i")
# Debian and Ubuntu first, then Rocky's EPEL package, then pip's own default.
SUPERVISOR_CONFIGS = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor.conf")


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
        """Return the engine's data about a local image, or None."""
        return self.get("/images/" + urllib.parse.quote(name, safe="/:@") + "/json")


class Stranger(OSError):
    """Another user's process listens on a socket of root's: nothing was sent to it."""


class _SupervisorConnection(UnixConnection):
    """A connection to root's supervisord, for one exchange, with one deadline and a limit of its answer.

    Whoever can write the folder of its socket, such as /tmp, can listen there while supervisord does not run.
    """

    def connect(self) -> None:
        super().connect()
        pid, uid, _gid = _PEER.unpack(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            self.close()
            raise Stranger(f"process {pid} of user {proc.user_name(uid)} listens there instead")
        self.sock = BoundedSocket(self.sock, float(self.timeout or 0), MOST_SUPERVISOR_BYTES)


class _SupervisorTransport(xmlrpc.client.Transport):
    # Supervisor has no use for it, and its size is not known before it is unpacked.
    accept_gzip_encoding = False

    def __init__(self, path: str, user: str, password: str, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._user = user
        self._password = password
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _SupervisorConnection(self._path, self._timeout)
        self._connection = host, connection
        return connection

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Send one request, not twice as ``Transport`` does where a connection was kept too long."""
        try:
            return self.single_request(host, handler, request_body, verbose)
        finally:
            self.close()

    def send_headers(self, connection: http.client.HTTPConnection, headers: list[tuple[str, str]]) -> None:
        if self._user:
            import base64

            token = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
            headers = [*headers, ("Authorization", "Basic " + token)]
        super().send_headers(connection, headers)

    def parse_response(self, response: http.client.HTTPResponse) -> Any:
        if response.getheader("Content-Encoding"):
            raise xmlrpc.client.ResponseError("the answer is compressed")
        return super().parse_response(response)


# The fields that are read of each process. Supervisor returns more.
_ROW = Record(
    {
        "group": Name(),
        "name": Name(),
        "statename": Name(50),
        "pid": Whole(),
        "spawnerr": Text(1000),
        "description": Text(1000),
        "stdout_logfile": Name(),
    },
    needs=("group", "name", "statename", "pid"),
)
_GROUPS = Listing(Listing(Listing(Name())))
# What xmlrpc.client raises besides its own errors.
_NOT_XML_RPC = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, ExpatError)


class SupervisorRpc:
    """Supervisor's XML-RPC interface; what is said has the types that are expected.

    Each method raises OSError, http.client.HTTPException or xmlrpc.client.Error where Supervisor does not answer so.
    """

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._proxy, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            code = fault.faultCode if isinstance(fault.faultCode, int) else 0
            raise xmlrpc.client.Fault(code, clean(str(fault.faultString), 1000)) from fault
        except _NOT_XML_RPC as error:
            raise xmlrpc.client.ResponseError("the answer is not XML-RPC") from error

    def _accepted(self, answer: Any, kind: Kind) -> Any:
        try:
            return accept_value(answer, kind)
        except Rejected as error:
            raise xmlrpc.client.ResponseError(str(error)) from error

    def _row(self, row: Any) -> dict[str, Any]:
        known = {key: row[key] for key in _ROW.fields if key in row} if isinstance(row, dict) else row
        found: dict[str, Any] = self._accepted(known, _ROW)
        # It becomes part of a path.
        if is_asgi_group(found["group"]) and "/" in found["name"]:
            raise xmlrpc.client.ResponseError("the name of a process has a slash")
        return found

    def getPID(self) -> int:
        return int(self._accepted(self._call("getPID"), Whole()))

    def getSupervisorVersion(self) -> str:
        return str(self._accepted(self._call("getSupervisorVersion"), Text(50)))

    def getAllProcessInfo(self) -> list[dict[str, Any]]:
        rows = self._call("getAllProcessInfo")
        if not isinstance(rows, list):
            raise xmlrpc.client.ResponseError("the answer is not a list")
        return [self._row(row) for row in rows]

    def getProcessInfo(self, name: str) -> dict[str, Any]:
        return self._row(self._call("getProcessInfo", name))

    def reloadConfig(self) -> list[list[list[str]]]:
        found: list[list[list[str]]] = self._accepted(self._call("reloadConfig"), _GROUPS)
        if [len(each) for each in found] != [3]:
            raise xmlrpc.client.ResponseError("the answer is not three lists of groups")
        return found

    def addProcessGroup(self, name: str) -> None:
        self._call("addProcessGroup", name)

    def removeProcessGroup(self, name: str) -> None:
        self._call("removeProcessGroup", name)

    def stopProcessGroup(self, name: str, wait: bool) -> None:
        self._call("stopProcessGroup", name, wait)

    def startProcess(self, name: str, wait: bool) -> None:
        self._call("startProcess", name, wait)

    def stopProcess(self, name: str, wait: bool) -> None:
        self._call("stopProcess", name, wait)


class Supervisor:
    """Supervisor's configuration file and its XML-RPC interface."""

    def __init__(self, timeout: float = 60.0, portal: supervisord.Portal = supervisord.ANY) -> None:
        self._timeout = timeout
        self.stranger = ""
        found = supervisord.find(SUPERVISOR_CONFIGS, portal)
        self.installed = found.is_running or shutil.which("supervisord") is not None
        self.config = found.config
        self.configs_of_others = found.of_others
        self.candidates = list(found.candidates)
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

    @property
    def is_started(self) -> bool:
        """Whether a supervisord runs that should answer."""
        return supervisord.runs_with(self.config, SUPERVISOR_CONFIGS)

    def files(self) -> Iterator[File]:
        """Yield the files of the configuration, Supervisor's own first, with their values expanded."""
        return self._files.files()

    def unread(self) -> list[str]:
        """Return the files besides Supervisor's own that are there and could not be read."""
        return self._files.unread()

    def password(self) -> str | None:
        """Return the password of the socket; None where only its digest is known.

        Supervisor's own client has it in another section.
        """
        password = self._option("unix_http_server", "password", "")
        if not password.startswith(_HASHED):
            return password
        plain = self._option("supervisorctl", "password", "")
        digest = hashlib.sha1(plain.encode("utf-8")).hexdigest()  # noqa: S324 - as Supervisor has it
        return plain if digest == password[len(_HASHED) :] else None

    def rpc(self) -> SupervisorRpc:
        """The `supervisor` namespace of the XML-RPC interface."""
        transport = _SupervisorTransport(
            self.socket_path, self._option("unix_http_server", "username", ""), self.password() or "", self._timeout
        )
        return SupervisorRpc(xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport).supervisor)

    def state(self) -> dict[str, Any] | None:
        """{pid, version}, or None if no supervisord answers; then `stranger` names the process that listens instead."""
        if not self.config:
            return None
        try:
            rpc = self.rpc()
            return {"pid": rpc.getPID(), "version": rpc.getSupervisorVersion()}
        except Stranger as error:
            self.stranger = str(error)
            return None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

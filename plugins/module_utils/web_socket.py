# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests, certificates and WebSockets of a web server, by the standard library alone.

Whoever answers is a stranger: each answer has a deadline and a limit of bytes, and nothing secret is sent. A WebSocket
is read by a separate thread, which answers pings, so one stays open while its owner does something else.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import struct
import threading
import time
from typing import Callable, NamedTuple
from urllib.parse import urlsplit

from ansible_collections.tethys.channels.plugins.module_utils.bounded_socket import BoundedSocket, ask_within

# Of one WebSocket, and of one message.
MOST_BYTES = 1024 * 1024
MOST_MESSAGE = 64 * 1024
MOST_LINES = 100
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
# X509_V_ERR_CERT_NOT_YET_VALID, CERT_HAS_EXPIRED, HOSTNAME_MISMATCH, EMAIL_MISMATCH, IP_ADDRESS_MISMATCH.
_NOT_VALID = (9, 10, 62, 63, 64)
# X509_V_FLAG_PARTIAL_CHAIN: a certificate is trusted without its issuer. Python has its name since 3.10.
_PARTIAL_CHAIN = 0x80000


class Place(NamedTuple):
    """A portal's address as browsers have it, and where a connection to it is made."""

    name: str
    address: str
    port: int
    tls: bool

    @property
    def host(self) -> str:
        """The name, with the port where it is not the standard one."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"

    @property
    def origin(self) -> str:
        """The address without a path."""
        return f"{'https' if self.tls else 'http'}://{self.host}"


class Refused(Exception):
    """The other end answered a request for a WebSocket with this status, or with no HTTP (0)."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"HTTP {status}" if status else "no HTTP")


class Certificate(NamedTuple):
    """What is wrong with a certificate: for which it is not valid, and for which only its issuer is not known."""

    failure: str
    warning: str


def split_url(url: object) -> tuple[Place, str] | None:
    """Return what an address of a portal says, with its path less the last slash; None for anything else."""
    if not isinstance(url, str) or not re.fullmatch(r"https?://[!-~]{1,2000}", url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    tls, name = parts.scheme == "https", parts.hostname or ""
    if parts.username or parts.password or parts.query or parts.fragment or not is_name(name) or port == 0:
        return None
    return Place(name, name, port or (443 if tls else 80), tls), parts.path.rstrip("/")


def is_name(text: str) -> bool:
    """Return whether it is the name or address of a host."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(text))
    return len(text) <= 253 and bool(re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", text))


def _unverified() -> ssl.SSLContext:
    """Return a context for any certificate: it is checked separately, and nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(place: Place, seconds: float, context: ssl.SSLContext | None = None) -> socket.socket:
    """Return a connection, or TLS on one; OSError where there is none in time."""
    plain = socket.create_connection((place.address, place.port), seconds)
    if not place.tls:
        return plain
    try:
        return (context or _unverified()).wrap_socket(plain, server_hostname=place.name)
    except BaseException:
        plain.close()
        raise


def judge_certificate(place: Place, seconds: float) -> Certificate:
    """Return what is wrong with the certificate that is shown for a name.

    OpenSSL names an unknown issuer before all else, so then only this certificate is trusted, and its name and dates
    are checked again.

    Raises:
        OSError: there is no connection, or no TLS on it.
    """
    try:
        connect(place, seconds, ssl.create_default_context()).close()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NOT_VALID:
            return Certificate(_words(error), "")
        return _judge_alone(place, seconds, _words(error))
    return Certificate("", "")


def _judge_alone(place: Place, seconds: float, why: str) -> Certificate:
    with connect(place, seconds) as sock:
        shown = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags = ssl.VerifyFlags(_PARTIAL_CHAIN)
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(shown or b""))
    try:
        connect(place, seconds, context).close()
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NOT_VALID:
            return Certificate(_words(error), "")
    return Certificate("", why)


def _words(error: ssl.SSLCertVerificationError) -> str:
    return str(error.verify_message or "it is not valid").rstrip(".")


def status_of(place: Place, path: str, seconds: float) -> int:
    """Return the status with which a page is answered.

    Raises:
        OSError, http.client.HTTPException: there was no answer in time.
    """
    connection = http.client.HTTPConnection(place.address, place.port)
    connection.sock = connect(place, seconds)
    try:
        return ask_within(connection, seconds, "GET", path, {"Host": place.host, "Connection": "close"})
    finally:
        connection.close()


class WebSocket:
    """An open WebSocket, whose messages a thread hands to a function until it is closed."""

    def __init__(self, place: Place, path: str, seconds: float, lifetime: float, hear: Callable[[bytes], None]) -> None:
        """Open it.

        Args:
            path: the path on the site.
            seconds: for the connection, and for the answer.
            lifetime: the seconds after which it ends anyhow.
            hear: called with each message.

        Raises:
            Refused: the answer is another than a WebSocket.
            OSError: there was no answer in time.
        """
        self._hear = hear
        # Whether it was closed, and not by us; its code if there was one.
        self.closed = False
        self.code: int | None = None
        self._is_ours = False
        self._socket = BoundedSocket(connect(place, seconds), seconds, MOST_BYTES)
        self._file = self._socket.makefile()
        try:
            self._shake_hands(place, path)
        except BaseException:
            self._file.close()
            self._socket.close()
            raise
        self._socket.deadline = time.monotonic() + lifetime
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _shake_hands(self, place: Place, path: str) -> None:
        key = base64.b64encode(os.urandom(16))
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {place.host}",
            f"Origin: {place.origin}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key.decode()}",
            "Sec-WebSocket-Version: 13",
        )
        self._socket.sendall("\r\n".join((*lines, "", "")).encode("ascii"))
        first = self._line()
        found = re.match(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?:\s|$)", first)
        status = int(found.group(1)) if found else 0
        if status != 101:
            raise Refused(status)
        wanted = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - the protocol's own
        accepted = b""
        for _again in range(MOST_LINES):
            name, _colon, value = self._line().partition(b":")
            if name.strip().lower() == b"sec-websocket-accept":
                accepted = value.strip()
            if not name.strip():
                break
        if accepted != wanted:
            raise Refused(0)

    def _line(self) -> bytes:
        line = self._file.readline(MOST_MESSAGE)
        if not line:
            raise OSError("the connection was closed without an answer")
        return line

    def _listen(self) -> None:
        message = b""
        try:
            while True:
                is_last, kind, payload = self._frame()
                if kind == _CLOSE:
                    self.code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
                    break
                if kind == _PING:
                    self._socket.sendall(_masked(_PONG, payload))
                elif kind <= _TEXT + 1:
                    message += payload
                    if is_last:
                        self._hear(message)
                        message = b""
                    elif len(message) > MOST_MESSAGE:
                        break
        # The file may be closed meanwhile, which is a ValueError.
        except (OSError, ValueError):
            pass
        self.closed = not self._is_ours

    def _frame(self) -> tuple[bool, int, bytes]:
        first, second = self._exactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        # No server masks what it sends.
        if second & 0x80 or size > MOST_MESSAGE:
            raise OSError("this is not a WebSocket message")
        return bool(first & 0x80), first & 0x0F, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise OSError("the connection was closed")
        return data

    def close(self) -> None:
        """Close it."""
        self._is_ours = True
        # No frame is sent: the thread may be about to answer a ping, and TLS takes one writer at a time.
        with contextlib.suppress(OSError):
            self._socket.plain.shutdown(socket.SHUT_RDWR)
        self._thread.join(1)
        self._socket.close()


def _masked(kind: int, payload: bytes) -> bytes:
    """Return a short frame as a client sends it."""
    mask = os.urandom(4)
    payload = payload[:125]
    body = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes((0x80 | kind, 0x80 | len(payload))) + mask + body

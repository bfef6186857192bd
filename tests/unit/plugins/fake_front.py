# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server for tests: it answers pages and opens WebSockets as configured, over TCP or TLS."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.web_socket import Place
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import Certificate

NAME = "portal.example.org"
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(kind: int, payload: bytes, last: bool = True) -> bytes:
    """A frame as a server sends it."""
    size = len(payload)
    head = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
    return bytes([(0x80 if last else 0) | kind]) + head + payload


class FakeFront:
    """Listens until it is closed. `page` and `socket` are the statuses; `requests` what was requested."""

    def __init__(self, tmp_path: Path, certificate: Certificate | None = None, address: str = "127.0.0.1") -> None:
        self.page = 200
        self.socket = 101
        # So many WebSockets are refused first, or those at whose places a 1 stands, with this status.
        self.refuses: int | list[int] = 0
        self.refusal = 500
        self._opened = 0
        # What is sent in the place of an answer.
        self.raw: bytes | None = None
        self.accepts = True
        self.requests: list[str] = []
        # The WebSockets that get messages; all without any.
        self.gets: list[int] = []
        self.open: list[Any] = []
        self._context = None
        if certificate:
            file = tmp_path / "server.pem"
            file.write_text(certificate.text + certificate.key_text)
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(file)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.place = Place(NAME, address, self._listener.getsockname()[1], bool(certificate))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(plain,), daemon=True).start()

    def _answer(self, plain: Any) -> None:
        try:
            sock = self._context.wrap_socket(plain, server_side=True) if self._context else plain
            text = b""
            while b"\r\n\r\n" not in text:
                chunk = sock.recv(4096)
                if not chunk:
                    return
                text += chunk
        except OSError:
            plain.close()
            return
        self.requests.append(text.decode())
        if self.raw is not None:
            sock.sendall(self.raw)
            sock.close()
        elif b"Upgrade: websocket" in text:
            self._upgrade(sock, text.decode())
        else:
            sock.sendall(f"HTTP/1.1 {self.page} x\r\nContent-Length: 0\r\n\r\n".encode())
            sock.close()

    def _upgrade(self, sock: Any, text: str) -> None:
        places = [1] * self.refuses if isinstance(self.refuses, int) else self.refuses
        status = self.refusal if any(places[self._opened : self._opened + 1]) else self.socket
        self._opened += 1
        if status != 101:
            sock.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
            sock.close()
            return
        key = next(line.partition(": ")[2] for line in text.splitlines() if line.startswith("Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()  # noqa: S324
        accept = accept if self.accepts else "no"
        head = f"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        # Whoever has read the answer may have a message sent at once.
        self.open.append(sock)
        # A message may come together with the answer.
        sock.sendall(head.encode() + frame(9, b"are you there"))

    def say(self, token: str, *numbers: int) -> None:
        """Send a message of the delivery check to the open WebSockets, or to those of these numbers."""
        for number in numbers or range(len(self.open)):
            self.open[number].sendall(frame(1, json.dumps({"layer_probe": token}).encode()))

    def close(self) -> None:
        """Listen no longer."""
        # The thread that waits in accept keeps it open else.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

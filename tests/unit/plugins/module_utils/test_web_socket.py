# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSockets, pages and certificates of a stranger's web server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import web_socket
from ansible_collections.tethys.channels.plugins.module_utils.web_socket import Place, Refused, WebSocket
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import make
from ansible_collections.tethys.channels.tests.unit.plugins.fake_front import NAME, FakeFront, frame

AUTHORITY = make("authority")


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FakeFront]:
    found = FakeFront(tmp_path)
    yield found
    found.close()


def opened(front: FakeFront, heard: list[bytes]) -> WebSocket:
    found = WebSocket(front.place, "/ws/x/", 5, 60, heard.append)
    wait(lambda: bool(front.open))
    return found


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_messages_arrive_whole_and_pings_are_answered(front: FakeFront) -> None:
    heard: list[bytes] = []
    found = opened(front, heard)
    [sock] = front.open
    sock.sendall(frame(1, b"one") + frame(1, b"tw", last=False) + frame(9, b"") + frame(0, b"o") + frame(2, b"3" * 300))
    wait(lambda: len(heard) == 3)
    assert heard == [b"one", b"two", b"3" * 300]
    # The answer to the first ping: masked, as a client's frames are.
    head = sock.recv(2 + 4 + 13)
    assert head[:2] == bytes([0x8A, 0x80 | 13])
    assert bytes(byte ^ head[2 + n % 4] for n, byte in enumerate(head[6:])) == b"are you there"
    assert not found.closed
    found.close()
    assert not found.closed, "It was closed by us."
    assert f"Host: {NAME}:{front.place.port}\r\n" in front.requests[0]
    assert f"Origin: http://{NAME}:{front.place.port}\r\n" in front.requests[0]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(8, b"\x03\xf3bye"), 1011),
        (frame(8, b""), None),
        # A frame that is masked, one that is too long, and a message of too many pieces.
        (b"\x81\x85abcdhello", None),
        (b"\x81\x7f" + b"\xff" * 8, None),
        (frame(1, b"a" * 60000, last=False) + frame(0, b"a" * 60000, last=False), None),
    ],
    ids=["closed", "without a code", "masked", "long", "endless"],
)
def test_an_end(front: FakeFront, sent: bytes, code: int | None) -> None:
    heard: list[bytes] = []
    found = opened(front, heard)
    front.open[0].sendall(sent)
    wait(lambda: found.closed)
    assert (found.code, heard) == (code, [])
    found.close()


@pytest.mark.parametrize("status", [200, 301, 403, 404, 500, 502])
def test_a_refusal_has_its_status(front: FakeFront, status: int) -> None:
    front.socket = status
    with pytest.raises(Refused, match=f"HTTP {status}"):
        WebSocket(front.place, "/", 5, 60, len)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 999 x\r\n\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"HTTP/1.1 101 x\r\n" + b"a: b\r\n" * 200,
        b"",
        b"HTTP/1.1 101 x\r\n" + b"a" * 2_000_000,
    ],
    ids=["no HTTP", "no status", "no key", "headers", "nothing", "too much"],
)
def test_what_is_no_answer(front: FakeFront, raw: bytes) -> None:
    front.raw = raw
    with pytest.raises((Refused, OSError)):
        WebSocket(front.place, "/", 5, 60, len)


def test_another_key_is_no_answer(front: FakeFront) -> None:
    front.accepts = False
    with pytest.raises(Refused, match="no HTTP"):
        WebSocket(front.place, "/", 5, 60, len)


def test_silence_has_an_end(front: FakeFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "_upgrade", lambda *_args: time.sleep(5))
    began = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        WebSocket(front.place, "/", 0.3, 60, len)
    assert time.monotonic() - began < 4


def test_a_page(front: FakeFront) -> None:
    front.page = 302
    assert web_socket.status_of(front.place, "/tethys/", 5) == 302
    assert front.requests[0].startswith("GET /tethys/ HTTP/1.1\r\n")


NOW = make(NAME, AUTHORITY, host=NAME)
OLD = make(NAME, AUTHORITY, host=NAME, begins=-10, ends=-1)
EARLY = make(NAME, AUTHORITY, host=NAME, begins=1, ends=10)
OTHER = make("other", AUTHORITY, host="other.example.org")


@pytest.mark.parametrize(
    ("certificate", "known", "failure", "warning"),
    [
        (NOW, True, "", ""),
        (NOW, False, "", "unable to get local issuer certificate"),
        (OLD, True, "certificate has expired", ""),
        (OLD, False, "certificate has expired", ""),
        (EARLY, False, "certificate is not yet valid", ""),
        (OTHER, True, "mismatch", ""),
        (OTHER, False, "mismatch", ""),
    ],
    ids=["good", "unknown", "old", "old of unknown", "early of unknown", "other", "other of unknown"],
)
def test_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Any, known: bool, failure: str, warning: str
) -> None:
    front = FakeFront(tmp_path, certificate)
    if known:
        (tmp_path / "ca.pem").write_text(AUTHORITY.text)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    found = web_socket.judge_certificate(front.place, 5)
    assert failure in found.failure
    assert warning in found.warning
    assert bool(found.failure) is bool(failure)
    assert bool(found.warning) is bool(warning)
    # A problem with it does not prevent the other checks.
    assert web_socket.status_of(front.place, "/", 5) == 200
    front.close()


@pytest.mark.parametrize(
    ("url", "place", "path"),
    [
        ("https://portal.example.org/", Place(NAME, NAME, 443, True), ""),
        ("https://portal.example.org/tethys/", Place(NAME, NAME, 443, True), "/tethys"),
        ("http://portal.example.org:8080", Place(NAME, NAME, 8080, False), ""),
        ("https://[2001:db8::7]:444/", Place("2001:db8::7", "2001:db8::7", 444, True), ""),
    ],
)
def test_addresses(url: str, place: Place, path: str) -> None:
    assert web_socket.split_url(url) == (place, path)


@pytest.mark.parametrize(
    "url",
    [
        "portal.example.org",
        "ftp://portal.example.org/",
        "https://user:secret@portal.example.org/",
        "https://portal.example.org/?a=b",
        "https://portal.example.org:99999/",
        "https://portal.example.org:0/",
        "https://por tal/",
        "https://portal\r\nX: y/",
        "https:///",
        "https://[::1/",
        "https://-a_b/",
        None,
        3,
    ],
)
def test_what_is_no_address(url: Any) -> None:
    assert web_socket.split_url(url) is None


def test_a_port_is_named_where_it_is_not_the_standard_one() -> None:
    assert Place(NAME, "127.0.0.1", 443, True).origin == f"https://{NAME}"
    assert Place(NAME, "127.0.0.1", 80, True).origin == f"https://{NAME}:80"
    assert Place("2001:db8::7", "::1", 80, False).origin == "http://[2001:db8::7]"

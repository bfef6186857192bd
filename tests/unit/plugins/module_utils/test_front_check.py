# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery check through a web server in front, and what it says of one that is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import front_check
from ansible_collections.tethys.channels.plugins.module_utils.front_check import Front, FrontCheck
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import make
from ansible_collections.tethys.channels.tests.unit.plugins.fake_front import NAME, FakeFront

CALLED = "nginx (/etc/nginx/sites-enabled/tethys, line 8)"
FIX = "Add `proxy_http_version 1.1;` beside the `proxy_pass` at /etc/nginx/sites-enabled/tethys, line 9."
WORD = "0123456789abcdef"


@pytest.fixture
def front(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FakeFront]:
    found = FakeFront(tmp_path, address=getattr(request, "param", "127.0.0.1"))
    yield found
    found.close()


def check_of(front: FakeFront, **changes: Any) -> FrontCheck:
    return FrontCheck(Front(CALLED, front.place)._replace(**changes), time.monotonic() + 10)


def reported(check: FrontCheck) -> list[str]:
    return [problem.code for problem in check.problems]


@pytest.mark.parametrize("front", ["127.0.0.1", "::1"], indirect=True)
def test_a_front_that_is_right(front: FakeFront) -> None:
    check = check_of(front, prefix="/tethys")
    assert check.look(200)
    check.open_sockets(WORD, 4, 60)
    front.say("first")
    assert check.wait(5)
    check.judge()
    check.mark()
    front.say("second")
    assert check.wait(5)
    check.judge(" after 7 seconds of silence")
    check.close()
    assert (check.problems, check.warnings) == ([], [])
    at = f"http://{NAME}:{front.place.port}/tethys/"
    assert check.answer() == {"at": at, "through": CALLED, "page": 200, "sockets": 4, "received": 4}
    paths = [request.split()[1] for request in front.requests]
    assert paths == ["/tethys/"] + [f"/tethys/ws/app-lifecycle/layer_probe_{WORD}/"] * 4


@pytest.mark.parametrize(
    ("page", "direct", "code", "words"),
    [
        (502, 200, "front-page", "answers HTTP 502 at http://portal.example.org"),
        (404, 200, "front-page", "and the processes answer HTTP 200"),
        (403, 200, "front-page", "admits some addresses only, set layer_check_url to an empty text."),
        (502, None, "front-page", "Have it send the portal's requests to"),
        (400, 400, "front-host-not-allowed", "ALLOWED_HOSTS lacks portal.example.org"),
        (400, None, "front-host-not-allowed", "ALLOWED_HOSTS lacks portal.example.org"),
        (400, 302, "front-host-not-sent", "`proxy_set_header Host $host;` in nginx"),
    ],
)
def test_a_page_that_is_wrong(front: FakeFront, page: int, direct: int | None, code: str, words: str) -> None:
    front.page = page
    check = check_of(front)
    assert not check.look(direct)
    assert reported(check) == [code]
    assert words in check.problems[0].text
    assert CALLED in check.problems[0].text


@pytest.mark.parametrize(("page", "direct"), [(200, 302), (301, 200), (404, 404), (500, 500), (302, None)])
def test_a_page_that_is_the_portals_own(front: FakeFront, page: int, direct: int | None) -> None:
    front.page = page
    check = check_of(front)
    assert check.look(direct)
    assert check.problems == []


def test_a_login_is_not_passed(front: FakeFront) -> None:
    front.page = 401
    check = check_of(front)
    assert not check.look(200)
    assert check.problems == []
    assert "requires a login" in check.warnings[0]


def test_websockets_behind_a_login(front: FakeFront) -> None:
    front.socket = 401
    check = check_of(front)
    check.open_sockets(WORD, 4, 60)
    assert (check.problems, len(front.requests)) == ([], 1)
    assert "requires a login for WebSockets" in check.warnings[0]


def test_nothing_listens(front: FakeFront) -> None:
    front.close()
    check = check_of(front)
    assert not check.look(200)
    assert reported(check) == ["front-unreachable"]
    assert f"does not answer at 127.0.0.1 port {front.place.port}: Connection refused." in check.problems[0].text
    assert check.answer()["page"] is None


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b""])
def test_something_else_answers(front: FakeFront, raw: bytes) -> None:
    front.raw = raw
    check = check_of(front)
    assert not check.look(200)
    assert reported(check) == ["front-unreachable"]


def test_tls_is_asked_of_a_plain_port(front: FakeFront) -> None:
    check = check_of(front, place=front.place._replace(tls=True))
    assert not check.look(200)
    assert reported(check) == ["front-unreachable"]


@pytest.mark.parametrize("status", [200, 404, 301])
def test_websockets_that_do_not_get_through(front: FakeFront, status: int) -> None:
    front.socket = status
    check = check_of(front, fix=FIX)
    assert check.look(200)
    check.open_sockets(WORD, 4, 60)
    assert reported(check) == ["front-sockets-refused"]
    assert check.problems[0].text == f"A WebSocket through {CALLED} could not be opened: HTTP {status}. {FIX}"
    assert len(front.requests) == 2, "One that is refused is enough."


@pytest.mark.parametrize("status", [500, 403, 502, 504])
def test_what_was_refused_once_may_have_passed(front: FakeFront, status: int) -> None:
    front.refuses, front.refusal = 3, status
    check = check_of(front)
    check.open_sockets(WORD, 4, 60)
    assert reported(check) == []
    [warning] = check.warnings
    assert warning.startswith(
        f"3 of our first WebSockets through {CALLED} were refused (HTTP {status}), and none after"
    )
    assert len(front.requests) == 8
    check.close()


@pytest.mark.parametrize(("pattern", "asked"), [([1, 0, 1, 0, 1, 0], 5), ([0, 0, 0, 1, 0, 0, 0, 1], 8), ([1] * 4, 4)])
def test_one_of_several_servers_behind_that_refuses(front: FakeFront, pattern: list[int], asked: int) -> None:
    front.refuses, front.refusal = pattern, 403
    check = check_of(front, fix=FIX)
    check.open_sockets(WORD, 4, 60)
    assert reported(check) == ["front-sockets-refused"]
    assert check.warnings == []
    assert len(front.requests) == asked
    check.close()


def test_a_short_time_limit(front: FakeFront) -> None:
    check = check_of(front, closes_after=5.0)
    assert check.look(200), "WebSockets are looked at too."
    assert reported(check) == ["front-timeout-short"]
    assert "silent for 5 s" in check.problems[0].text


def wait_for(check: FrontCheck, number: int) -> None:
    """Wait until so many WebSockets have received the message, however busy the machine is."""
    end = time.monotonic() + 30
    while sum(one.is_new for one in check._sockets) < number:
        assert time.monotonic() < end, f"Fewer than {number} WebSockets received the message."
        time.sleep(0.01)


def test_a_message_that_some_do_not_get(front: FakeFront) -> None:
    check = check_of(front)
    check.open_sockets(WORD, 4, 60)
    front.say("first", 0, 1, 2)
    wait_for(check, 3)
    assert not check.wait(0.2)
    check.judge()
    assert reported(check) == ["front-message-not-received"]
    assert "arrived on 3 of 4 WebSockets through nginx" in check.problems[0].text
    # What was reported is not reported again.
    check.mark()
    front.say("second", 0, 1, 2)
    wait_for(check, 3)
    check.wait(0.2)
    check.judge(" after 7 seconds of silence")
    assert reported(check) == ["front-message-not-received"]
    assert check.answer()["received"] == 3
    check.close()


def test_websockets_that_are_closed_in_silence(front: FakeFront) -> None:
    check = check_of(front)
    check.open_sockets(WORD, 3, 60)
    front.say("first")
    check.wait(5)
    check.judge()
    front.open[0].sendall(bytes([0x88, 2, 0x03, 0xE9]))
    check.mark()
    front.say("second", 1, 2)
    assert check.wait(5), "One that is closed is not waited for."
    check.judge(" after 7 seconds of silence")
    assert reported(check) == ["front-sockets-closed"]
    assert "1 of 3 WebSockets through nginx" in check.problems[0].text
    assert "were closed after 7 seconds of silence (code 1001)." in check.problems[0].text
    check.close()


@pytest.mark.parametrize("message", [b"\xff", b"[]", b'{"layer_probe": 3}', b'{"other": "x"}', b"{" * 5000])
def test_what_a_stranger_says_is_no_message(message: bytes) -> None:
    one = front_check._Socket()
    one.hear(message)
    assert not one.is_new


def test_no_end_of_messages_takes_no_memory() -> None:
    one = front_check._Socket()
    for number in range(2 * front_check.MOST_MESSAGES):
        one.hear(b'{"layer_probe": "%d"}' % number)
    assert len(one.tokens) == front_check.MOST_MESSAGES


AUTHORITY = make("authority")


@pytest.mark.parametrize(
    ("certificate", "is_named", "codes", "warning"),
    [
        (make("a", AUTHORITY, host="other.example.org"), True, ["front-certificate"], ""),
        (make("a", AUTHORITY, host=NAME, begins=-9, ends=-1), True, ["front-certificate"], ""),
        (make("a", AUTHORITY, host="other.example.org"), False, [], "could not be verified for portal.example.org"),
        (make("a", AUTHORITY, host=NAME), True, [], "unable to get local issuer certificate"),
    ],
    ids=["other name", "expired", "no name in the site", "unknown issuer"],
)
def test_certificates(tmp_path: Path, certificate: Any, is_named: bool, codes: list[str], warning: str) -> None:
    front = FakeFront(tmp_path, certificate)
    check = check_of(front, is_named=is_named)
    assert check.look(200), "The rest is looked at all the same."
    assert reported(check) == codes
    assert [warning in said for said in check.warnings] == ([True] if warning else [])
    front.close()

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis as the modules speak to it, over real sockets with made-up servers behind."""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.redis import client as client_module
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError, pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Start = Callable[..., Any]


@pytest.mark.parametrize("unix", [False, True])
def test_redis_answers(redis: Start, tmp_path: Path, unix: bool) -> None:
    fake, endpoint = redis(path=tmp_path / "redis.sock" if unix else None)
    with Redis(endpoint) as client:
        assert client.command("PING") == "PONG"
        assert client.command("ZCOUNT", "asgié", "-inf", "+inf") == 1
        assert client.command("GET", "asgi") is None
        assert client.version() == "7.0.15"
    assert fake.seen[1] == ["ZCOUNT", "asgié", "-inf", "+inf"]
    with pytest.raises(OSError, match=r"closed|descriptor"):
        client.command("PING")


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ({}, []),
        ({"username": "tethys"}, []),
        ({"password": "it's 1"}, [["AUTH", "it's 1"]]),
        ({"username": "tethys", "password": "p"}, [["AUTH", "tethys", "p"]]),
    ],
)
def test_redis_logs_in(redis: Start, login: dict[str, str], sent: list[list[str]]) -> None:
    fake, endpoint = redis(
        user=login.get("username", "") if "password" in login else "", password=login.get("password", "")
    )
    with Redis({**endpoint, **login}) as client:
        assert client.command("PING") == "PONG"
    assert fake.seen == [*sent, ["PING"]]


def test_redis_selects_the_database(redis: Start) -> None:
    fake, endpoint = redis()
    with pytest.raises(RedisError, match=r"unknown command"):
        Redis({**endpoint, "db": 3})
    Redis({**endpoint, "db": 0}).close()
    assert fake.seen == [["SELECT", "3"]]


def test_redis_refuses_a_login(redis: Start) -> None:
    _fake, endpoint = redis(password="right")
    with pytest.raises(RedisError, match=r"^WRONGPASS invalid"):
        Redis({**endpoint, "password": "wrong"})
    with Redis(endpoint) as client, pytest.raises(RedisError, match=r"^NOAUTH"):
        client.command("PING")


def test_redis_hides_its_version_from_most(redis: Start) -> None:
    _fake, endpoint = redis(refused=("INFO",))
    with Redis(endpoint) as client:
        assert client.version() is None


@pytest.mark.parametrize(
    ("keys", "limit", "found"),
    [
        ([], 10000, None),
        (["asgi:group:a", "asgi"], 10000, None),
        (["asgi:1", "session:1"], 10000, "session:1"),
        ([f"asgi:{number}" for number in range(2500)] + ["other"], 10000, "other"),
        ([f"asgi:{number}" for number in range(2500)] + ["other"], 2000, None),
    ],
    ids=["empty", "only the layer's", "another's", "on the third page", "beyond the limit"],
)
def test_foreign_key(redis: Start, keys: list[str], limit: int, found: str | None) -> None:
    _fake, endpoint = redis(keys=keys)
    with Redis(endpoint) as client:
        assert client.foreign_key("asgi", limit) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"5.7.1-MySQL\n",
        b"+half a li",
        b":no number\r\n",
        b"$no number\r\n",
        b"$5\r\nab",
        b"$99999999999999\r\nab",
        b"*2\r\n+one\r\n",
        b"*1\r\n" * 5000,
    ],
    ids=lambda data: data[:12],
)
def test_what_is_no_redis(serve: Start, says: Start, data: bytes) -> None:
    server = serve(says(data))
    with Redis({"host": "127.0.0.1", "port": server.port}) as client, pytest.raises(RedisError):
        client.command("PING")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"*2", b"$3", b"$-1", b":7", b"+OK", b"-ERR no", b"\r\n", b"abc", b"\xff"])))
def test_whatever_answers_is_an_answer_or_a_redis_error(serve: Start, says: Start, parts: list[bytes]) -> None:
    server = serve(says(b"".join(parts)))
    with Redis({"host": "127.0.0.1", "port": server.port}) as client, contextlib.suppress(RedisError):
        client.command("PING")


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            Redis({"host": "127.0.0.1", "port": free.getsockname()[1]})
    with pytest.raises(OSError, match="No such file"):
        Redis({"path": str(tmp_path / "none.sock")})


def test_redis_without_tls_where_tls_is_wanted(redis: Start) -> None:
    _fake, endpoint = redis()
    with pytest.raises(OSError, match=r"(?i)ssl|tls|eof|reset"):
        Redis({**endpoint, "tls": True}, timeout=2)


# --- bounds ---------------------------------------------------------------------------------------------------------


def endless(opening: bytes, chunk: bytes) -> Callable[[socket.socket], None]:
    """A server that answers without an end."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(opening)
        while True:
            connection.sendall(chunk)

    return talk


@pytest.mark.parametrize(
    ("opening", "chunk"),
    [
        (b"+", b"a" * 65536),
        (b"$2147483648\r\n", b"a" * 65536),
        (b"*2147483648\r\n", b":1\r\n" * 1000),
        (b"*20001\r\n", b":1\r\n" * 1000),
        (b"*20000\r\n", b"*1\r\n:1\r\n" * 1000),
        (b"*20000\r\n", b"$65536\r\n" + b"a" * 65536 + b"\r\n"),
        (b"", b"*1\r\n" * 1000),
        (b":" + b"9" * 5000 + b"\r\n", b"a"),
    ],
    ids=["line", "2 GiB", "many values", "more values", "nested values", "many bytes", "depth", "digits"],
)
def test_an_answer_has_bounds(serve: Start, opening: bytes, chunk: bytes) -> None:
    server = serve(endless(opening, chunk))
    tracemalloc.start()
    try:
        with Redis({"host": "127.0.0.1", "port": server.port}) as client, pytest.raises(RedisError):
            client.command("PING")
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b"", b"$5\r\n", b"*2\r\n:1\r\n"])
def test_an_answer_has_one_deadline(serve: Start, opening: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(opening)
        for _each in range(50):
            connection.sendall(b":")
            time.sleep(0.1)

    server = serve(talk)
    started = time.monotonic()
    with Redis({"host": "127.0.0.1", "port": server.port}, timeout=0.5) as client, pytest.raises(TimeoutError):
        client.command("PING")
    assert time.monotonic() - started < 2.5


def test_a_connection_has_one_deadline(redis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SESSION_SECONDS", 0.3)
    _fake, endpoint = redis()
    with Redis(endpoint) as client, pytest.raises(TimeoutError):
        while True:
            client.command("PING")
            time.sleep(0.05)


def test_an_error_is_one_line_of_plain_text(serve: Start, says: Start) -> None:
    server = serve(says(b"-ERR \x1b[2J\x1b]0;owned\x07 \xc2\x9b31m \xe2\x80\xae" + b"a" * 5000 + b"\r\n"))
    with Redis({"host": "127.0.0.1", "port": server.port}) as client, pytest.raises(RedisError) as refused:
        client.command("PING")
    assert str(refused.value).startswith("ERR [2J]0;owned 31m aaa")
    assert len(str(refused.value)) <= 500


@pytest.mark.parametrize("answer", [b":1\r\n", b"*1\r\n:1\r\n", b"*2\r\n:0\r\n*0\r\n", b"*2\r\n$1\r\n0\r\n:3\r\n"])
def test_a_page_of_keys_that_is_none(serve: Start, says: Start, answer: bytes) -> None:
    server = serve(says(answer))
    with Redis({"host": "127.0.0.1", "port": server.port}) as client, pytest.raises(RedisError):
        client.foreign_key("asgi")


def test_pages_without_an_end(serve: Start) -> None:
    def talk(connection: socket.socket) -> None:
        while connection.recv(1000):
            connection.sendall(b"*2\r\n$1\r\n7\r\n*0\r\n")

    server = serve(talk)
    with Redis({"host": "127.0.0.1", "port": server.port}) as client:
        assert client.foreign_key("asgi") is None


@pytest.mark.parametrize("answer", [None, 1, "text", ["odd"], [["list"], 1], [None, 1]])
def test_pairs_that_are_none(answer: Any) -> None:
    with pytest.raises(RedisError):
        pairs(answer)

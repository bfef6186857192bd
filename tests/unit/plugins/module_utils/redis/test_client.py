# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis as the modules speak to it, over real sockets with made-up servers behind."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
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

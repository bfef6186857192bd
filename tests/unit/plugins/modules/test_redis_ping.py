# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis_ping says of servers that only talk like Redis."""

from __future__ import annotations

import socket
import ssl
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.modules import redis_ping
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import make
from ansible_collections.tethys.channels.tests.unit.plugins.conftest import FakeRedis

Start = Callable[..., Any]
CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


@pytest.fixture
def ping(run_module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def run(*endpoints: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        result = run_module(redis_ping.main, endpoints=list(endpoints), **arguments)
        assert result["changed"] is False
        return result

    return run


@pytest.mark.parametrize(
    ("backend", "sent"),
    [
        (CORE, [["PING"], ["ZCOUNT", "asgi_tethys_channels_ping", "-inf", "+inf"], ["EVAL", "return 1", "0"]]),
        (PUBSUB, [["PING"], ["PUBLISH", "asgi_tethys_channels_ping", ""]]),
    ],
)
def test_a_redis_that_is_good(ping: Start, redis: Start, backend: str, sent: list[list[str]]) -> None:
    fake, endpoint = redis(user="u", password="p")
    result = ping({**endpoint, "username": "u", "password": "p"}, backend=backend)
    assert (result["problems"], result["versions"]) == ([], ["7.0.15"])
    assert fake.seen == [["AUTH", "u", "p"], *sent, ["INFO", "server"]]


def test_a_prefix_of_its_own(ping: Start, redis: Start) -> None:
    fake, endpoint = redis()
    ping(endpoint, prefix="mine")
    assert fake.seen[1][1].startswith("mine")


def test_on_a_unix_socket_and_without_a_version(ping: Start, redis: Start, tmp_path: Any) -> None:
    _fake, endpoint = redis(path=tmp_path / "redis.sock", refused=("INFO",))
    result = ping(endpoint)
    assert (result["problems"], result["versions"]) == ([], [None])


@pytest.mark.parametrize(
    ("server", "login", "words"),
    [
        ({"password": "right"}, {}, "refuses the layer (NOAUTH Authentication required.)"),
        ({"password": "right"}, {"password": "wr0ng"}, "refuses the layer (WRONGPASS invalid username-password pair)"),
        (
            {"refused": ("EVAL",)},
            {},
            "refuses the layer (NOPERM this user has no permissions to run the 'eval' command)",
        ),
        ({"version": "4.0.9"}, {}, "is Redis 4.0.9, and channels_redis needs 5.0 or later"),
    ],
)
def test_a_redis_that_is_not(
    ping: Start, redis: Start, server: dict[str, Any], login: dict[str, str], words: str
) -> None:
    _fake, endpoint = redis(**server)
    (problem,) = ping({**endpoint, **login})["problems"]
    assert problem == (
        f"tethys_layer_hosts: the Redis at 127.0.0.1:{endpoint['port']} {words}: correct its address, its credentials"
        " or its access rules."
    )
    assert "wr0ng" not in problem


@pytest.mark.parametrize("version", ["5.0.14", "6.2.20", "8.2.1", "10.0", "unstable"])
def test_versions_that_are_good(ping: Start, redis: Start, version: str) -> None:
    _fake, endpoint = redis(version=version)
    assert ping(endpoint)["problems"] == []


def test_every_server_is_asked(ping: Start, redis: Start) -> None:
    _fake, good = redis()
    _fake, bad = redis(password="x")
    result = ping(bad, good, bad, container="ours")
    assert len(result["problems"]) == 2
    assert result["versions"] == [None, "7.0.15", None]
    assert result["problems"][0].startswith(f"Container ours: its Redis at 127.0.0.1:{bad['port']} refuses")
    assert result["problems"][0].endswith(": `docker logs ours` tells more.")


def test_what_is_not_there_or_no_redis(ping: Start, serve: Start) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (problem,) = ping({"host": "127.0.0.1", "port": free.getsockname()[1]})["problems"]
    assert "cannot be reached ([Errno 111] Connection refused)" in problem
    web = serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    (problem,) = ping({"host": "127.0.0.1", "port": web.port})["problems"]
    assert "does not speak Redis's protocol" in problem
    (problem,) = ping({"host": "no such host", "port": 6379})["problems"]
    assert "the Redis at no such host:6379 cannot be reached" in problem


def test_one_that_comes_late_is_waited_for(ping: Start, redis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, endpoint = redis(password="x")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        fake.login = [] if len(waits) == 2 else fake.login

    monkeypatch.setattr(redis_ping.time, "sleep", wait)
    assert ping(endpoint, retries=30)["problems"] == []
    assert len(waits) == 2


def test_nobody_is_waited_for_without_retries(ping: Start, redis: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_ping.time, "sleep", lambda _seconds: pytest.fail("it waited"))
    _fake, endpoint = redis(password="x")
    assert len(ping(endpoint)["problems"]) == 1


# --- a Redis that portals share ---------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(serve: Start, tmp_path: Any) -> Callable[..., tuple[dict[str, Any], str]]:
    """Starts a Redis with a certificate; its endpoint, and its authority."""

    def start(address: str = "127.0.0.1", accepted: str = "p") -> tuple[dict[str, Any], str]:
        authority = make("authority")
        server = make("redis", authority, address)
        (tmp_path / "cert").write_text(server.text + server.key_text, encoding="utf-8")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert")
        fake = FakeRedis(user="tethys", password=accepted)

        def talk(plain: socket.socket) -> None:
            with context.wrap_socket(plain, server_side=True) as safe:
                fake(safe)

        port = serve(talk).port
        login = {"username": "tethys", "password": "p", "inventory_name": "redis1", "tls": True}
        return {"host": "127.0.0.1", "port": port, **login}, authority.text

    return start


def test_a_certificate_that_fits(ping: Start, encrypted: Start) -> None:
    endpoint, authority = encrypted()
    result = ping({**endpoint, "ca_data": authority})
    assert (result["problems"], result["versions"]) == ([], ["7.0.15"])


def test_a_certificate_of_somebody_else(ping: Start, encrypted: Start) -> None:
    endpoint, _authority = encrypted()
    [problem] = ping({**endpoint, "ca_data": make("authority").text})["problems"]
    assert problem.startswith(f"The shared Redis at 127.0.0.1:{endpoint['port']} (redis1) shows a certificate that its")
    # Without an authority nobody knows here whom the portal trusts.
    assert ping(endpoint)["problems"] == []


def test_a_certificate_for_another_address(ping: Start, encrypted: Start) -> None:
    endpoint, authority = encrypted(address="192.0.2.7")
    [problem] = ping({**endpoint, "ca_data": authority})["problems"]
    assert "did not give to 127.0.0.1 (" in problem


def test_a_shared_redis_that_cannot_be_used(ping: Start, encrypted: Start) -> None:
    endpoint, authority = encrypted(accepted="another")
    [problem] = ping({**endpoint, "ca_data": authority})["problems"]
    assert "(redis1) refuses the layer (WRONGPASS" in problem
    assert "run tethys.channels.site without --limit" in problem
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        [problem] = ping({**endpoint, "port": free.getsockname()[1], "ca_data": authority})["problems"]
    assert "cannot be reached" in problem
    assert "a firewall in between is yours" in problem


@pytest.mark.parametrize("words", [b"MOVED 866 192.0.2.9:6379", b"CLUSTERDOWN Hash slot not served"])
def test_a_redis_cluster_is_refused(ping: Start, serve: Start, words: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        while connection.recv(1000):
            connection.sendall(b"-" + words + b"\r\n")

    [problem] = ping({"host": "127.0.0.1", "port": serve(talk).port})["problems"]
    assert "is part of a Redis Cluster, which channels_redis cannot use" in problem

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis_ping says of servers that only talk like Redis."""

from __future__ import annotations

import binascii
import socket
import ssl
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.modules import redis_ping
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import Certificate, make
from ansible_collections.tethys.channels.tests.unit.plugins.conftest import FakeRedis

Start = Callable[..., Any]
CORE = "channels_redis.core.RedisChannelLayer"
EVAL = ["EVAL", "return 1", "2", "asgi_tethys_channels_ping:a", "asgi_tethys_channels_ping:b"]
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"


@pytest.fixture
def ping(run_module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def run(*endpoints: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        result = run_module(redis_ping.main, endpoints=list(endpoints), **{"backend": CORE, **arguments})
        assert result["changed"] is False
        return result

    return run


@pytest.mark.parametrize(
    ("backend", "sent"),
    [
        (CORE, [["PING"], ["ZCOUNT", "asgi_tethys_channels_ping", "-inf", "+inf"], EVAL]),
        (
            PUBSUB,
            [
                ["PING"],
                ["PUBLISH", "asgi_tethys_channels_ping", ""],
                ["SUBSCRIBE", "asgi_tethys_channels_ping_silent"],
                ["UNSUBSCRIBE", "asgi_tethys_channels_ping_silent"],
            ],
        ),
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
    hint = " Each class of the layer needs other rules; tethys_layer_backend selects the class."
    assert problem == (
        f"tethys_layer_hosts: the Redis at 127.0.0.1:{endpoint['port']} {words}: correct its address, its credentials"
        f" or its access rules.{hint if 'NOPERM' in words else ''}"
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
    assert result["problems"][0].endswith(": read `docker logs ours`.")


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
    """Starts a Redis with a certificate; returns its endpoint and its CA."""

    def start(
        address: str = "127.0.0.1",
        accepted: str = "p",
        fake: FakeRedis | None = None,
        authority: Certificate | None = None,
    ) -> tuple[dict[str, Any], str]:
        authority = authority or make("authority")
        server = make("redis", authority, address)
        (tmp_path / "cert").write_text(server.text + server.key_text, encoding="utf-8")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert")
        answering = fake or FakeRedis(user="tethys", password=accepted)

        def talk(plain: socket.socket) -> None:
            with context.wrap_socket(plain, server_side=True) as safe:
                answering(safe)

        port = serve(talk).port
        login = {"username": "tethys", "password": "p", "inventory_name": "redis1", "tls": True}
        return {"host": "127.0.0.1", "port": port, **login}, authority.text

    return start


def test_a_certificate_that_fits(ping: Start, encrypted: Start) -> None:
    endpoint, authority = encrypted()
    result = ping({**endpoint, "ca_data": authority})
    assert (result["problems"], result["versions"]) == ([], ["7.0.15"])


def test_a_user_with_the_rights_of_another_class(ping: Start, encrypted: Start) -> None:
    # Ansible masks the password wherever it occurs in the sentence.
    login = {"username": "tethys", "password": "q9z8"}
    fake = FakeRedis(user=login["username"], password=login["password"], refused=("PUBLISH",))
    endpoint, authority = encrypted(fake=fake)
    [problem] = ping({**endpoint, **login, "ca_data": authority}, backend=PUBSUB)["problems"]
    assert "queried from this portal: its user has the rights of another class of the layer" in problem
    assert problem.endswith("Run tethys.channels.site without --limit, or with the Redis hosts in it.")
    assert "firewall" not in problem


def test_a_certificate_of_somebody_else(ping: Start, encrypted: Start) -> None:
    endpoint, _authority = encrypted()
    [problem] = ping({**endpoint, "ca_data": make("authority").text})["problems"]
    assert problem.startswith(f"The shared Redis at 127.0.0.1:{endpoint['port']} (redis1) shows a certificate that its")
    # Without a CA, it is unknown here which certificates the portal trusts.
    assert ping(endpoint)["problems"] == []


def test_a_certificate_for_another_address(ping: Start, encrypted: Start) -> None:
    endpoint, authority = encrypted(address="192.0.2.7")
    [problem] = ping({**endpoint, "ca_data": authority})["problems"]
    assert "did not issue for 127.0.0.1 (" in problem


@pytest.mark.parametrize("beside", [True, False], ids=["CA of the portal's", "CA of the system"])
@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7"])
def test_a_redis_of_the_users_own_is_verified(
    ping: Start, encrypted: Start, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, beside: bool, address: str
) -> None:
    fake = FakeRedis(user="tethys", password="p")
    endpoint, authority = encrypted(address=address, fake=fake)
    (tmp_path / "ca").write_text(authority, encoding="utf-8")
    if not beside:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca"))
    given = {**endpoint, "inventory_name": None, "ca_beside": str(tmp_path / "ca") if beside else None}
    result = ping(given)
    if address == endpoint["host"]:
        assert (result["problems"], result["versions"]) == ([], ["7.0.15"])
    else:
        [problem] = result["problems"]
        assert problem.startswith(f"tethys_layer_hosts: the Redis at 127.0.0.1:{endpoint['port']} shows a certificate")
        assert fake.seen == []


def test_a_shared_redis_that_cannot_be_used(ping: Start, encrypted: Start) -> None:
    endpoint, authority = encrypted(accepted="another")
    [problem] = ping({**endpoint, "ca_data": authority})["problems"]
    assert "(redis1) refuses the layer (WRONGPASS" in problem
    assert "run tethys.channels.site without --limit" in problem
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        [problem] = ping({**endpoint, "port": free.getsockname()[1], "ca_data": authority})["problems"]
    assert "cannot be reached" in problem
    assert "firewalls included" in problem


@pytest.mark.parametrize(
    "words",
    [
        b"MOVED 866 192.0.2.9:6379",
        b"CLUSTERDOWN Hash slot not served",
        b"CROSSSLOT Keys in request don't hash to the same slot",
    ],
)
def test_a_redis_cluster_is_refused(ping: Start, serve: Start, words: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        while connection.recv(1000):
            connection.sendall(b"-" + words + b"\r\n")

    [problem] = ping({"host": "127.0.0.1", "port": serve(talk).port})["problems"]
    assert "is part of a Redis Cluster, which channels_redis cannot use" in problem


class ClusterOfOne(FakeRedis):
    """A Redis Cluster of one shard: it has all slots, and refuses a command with keys of several."""

    def answer(self, command: str, words: list[str]) -> bytes:
        keys = words[3 : 3 + int(words[2])] if command == "EVAL" else []
        if len({binascii.crc_hqx(key.encode(), 0) % 16384 for key in keys}) > 1:
            return b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        return super().answer(command, words)


def test_a_redis_cluster_of_one_shard_is_refused(ping: Start, serve: Start) -> None:
    [problem] = ping({"host": "127.0.0.1", "port": serve(ClusterOfOne()).port})["problems"]
    assert "is part of a Redis Cluster, which channels_redis cannot use" in problem


# --- one that Sentinel watches ----------------------------------------------------------------------------------------


class FakeSentinel(FakeRedis):
    """A Sentinel that has the primary on this port, or answers this."""

    def __init__(self, primary: int | bytes, accepted: str = "forPortal") -> None:
        super().__init__(user="tethys", password=accepted)
        self.primary = primary

    def answer(self, command: str, words: list[str]) -> bytes:
        if command == "PING":
            return b"+PONG\r\n"
        assert words == ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tethys-channels"]
        if isinstance(self.primary, bytes):
            return self.primary
        port = str(self.primary).encode()
        return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n" % (len(port), port)


SILENT = b"silent"
NOBODY = b"*-1\r\n"
NO_MASTER = b"-ERR No such master with that name\r\n"
SENT = [
    ["AUTH", "tethys", "forPortal"],
    ["PING"],
    ["ZCOUNT", "asgi_tethys_channels_ping", "-inf", "+inf"],
    EVAL,
    ["INFO", "server"],
]


@pytest.fixture
def authority() -> Certificate:
    """The CA of all servers."""
    return make("authority")


@pytest.fixture
def primary(encrypted: Start, authority: Certificate) -> tuple[FakeRedis, int]:
    """A Redis that lets the portal in, over TLS only, and its port."""
    fake = FakeRedis(user="tethys", password="forPortal")
    return fake, encrypted(fake=fake, authority=authority)[0]["port"]


@pytest.fixture
def watch(ping: Start, encrypted: Start, authority: Certificate) -> Start:
    """Queries sentinels with these answers, in turn, with the portal's login; returns their endpoints too."""

    def start(*say: int | bytes | FakeSentinel, **arguments: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        endpoints = []
        for number, each in enumerate(say, start=1):
            fake = each if isinstance(each, FakeSentinel) else FakeSentinel(each)
            endpoint, text = encrypted(fake=fake, authority=authority)
            endpoint.update(inventory_name=f"redis{number}", sentinel="tethys-channels")
            endpoint.update(password="forPortal", ca_data=text)
            if each == SILENT:
                endpoint["port"] = nobody()
            endpoints.append(endpoint)
        return ping(*endpoints, **arguments), endpoints

    return start


def nobody() -> int:
    """A port on which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_primary_that_sentinels_name_is_asked(watch: Start, primary: tuple[FakeRedis, int]) -> None:
    fake, port = primary
    result, _endpoints = watch(port, port, port)
    assert (result["problems"], result["versions"]) == ([], ["7.0.15"])
    # Once, and by the portal's login.
    assert fake.seen == SENT


def test_the_primary_is_asked_what_the_layer_sends(watch: Start, primary: tuple[FakeRedis, int]) -> None:
    fake, port = primary
    watch(port, port, port, backend=PUBSUB, prefix="mine")
    assert fake.seen[1:3] == [["PING"], ["PUBLISH", "mine_tethys_channels_ping", ""]]


@pytest.mark.parametrize("fewer", [SILENT, NOBODY, NO_MASTER])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_fewer_may_be_silent(watch: Start, primary: tuple[FakeRedis, int], fewer: bytes, place: int) -> None:
    fake, port = primary
    say: list[int | bytes] = [port, port]
    say.insert(place, fewer)
    result, _endpoints = watch(*say)
    assert (result["problems"], result["versions"]) == ([], ["7.0.15"])
    assert fake.seen == SENT


ASKED = (
    ", queried from this portal: let this server reach that port (firewalls included), or correct"
    " redis_container_address; if the password or the certificate is what differs, run tethys.channels.site without"
    " --limit."
)


@pytest.mark.parametrize("silent", [2, 3])
def test_most_have_to_answer(watch: Start, primary: tuple[FakeRedis, int], silent: int) -> None:
    fake, port = primary
    result, endpoints = watch(*[port] * (3 - silent), *[SILENT] * silent)
    assert result["problems"] == [
        *(
            f"The shared Sentinel at 127.0.0.1:{endpoint['port']} ({endpoint['inventory_name']}) cannot be reached"
            f" ([Errno 111] Connection refused){ASKED}"
            for endpoint in endpoints[3 - silent :]
        ),
        f"Of 3 sentinels {3 - silent} can report the primary to this portal, and a majority is required: run"
        " tethys.channels.site without --limit, which shows what is wrong on their servers.",
    ]
    assert (result["versions"], fake.seen) == ([], [])


@pytest.mark.parametrize("answer", [NOBODY, NO_MASTER])
def test_most_have_to_know(watch: Start, primary: tuple[FakeRedis, int], answer: bytes) -> None:
    fake, port = primary
    result, _endpoints = watch(answer, port, answer)
    [problem] = result["problems"]
    assert problem.startswith("Of 3 sentinels 1 can report the primary to this portal, and a majority is required: ")
    assert fake.seen == []


def test_half_are_not_most(watch: Start, primary: tuple[FakeRedis, int]) -> None:
    fake, port = primary
    result, _endpoints = watch(port, port, SILENT, SILENT)
    assert result["problems"][-1].startswith("Of 4 sentinels 2 can report")
    assert fake.seen == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_whom_most_name_is_asked(
    watch: Start, encrypted: Start, authority: Certificate, primary: tuple[FakeRedis, int], place: int
) -> None:
    fake, port = primary
    former = FakeRedis(user="tethys", password="forPortal")
    say = [port, port]
    say.insert(place, encrypted(fake=former, authority=authority)[0]["port"])
    result, _endpoints = watch(*say)
    assert (result["problems"], fake.seen, former.seen) == ([], SENT, [])


def test_sentinels_that_do_not_let_the_portal_in(watch: Start, primary: tuple[FakeRedis, int]) -> None:
    _fake, port = primary
    result, endpoints = watch(FakeSentinel(port, accepted="old"), port, FakeSentinel(port, accepted="old"))
    [first, second, _all] = result["problems"]
    assert first == (
        f"The shared Sentinel at 127.0.0.1:{endpoints[0]['port']} (redis1) refuses the portal (WRONGPASS invalid"
        f" username-password pair){ASKED}"
    )
    assert "(redis3) refuses the portal (WRONGPASS" in second


def test_sentinels_with_a_certificate_of_somebody_else(
    ping: Start, watch: Start, primary: tuple[FakeRedis, int]
) -> None:
    fake, port = primary
    _result, endpoints = watch(port, port, port)
    fake.seen.clear()
    result = ping(*({**endpoint, "ca_data": make("authority").text} for endpoint in endpoints))
    assert len(result["problems"]) == 4
    assert result["problems"][0].startswith(
        f"The shared Sentinel at 127.0.0.1:{endpoints[0]['port']} (redis1) shows a certificate that its CA did not"
        " issue for 127.0.0.1 ("
    )
    assert fake.seen == []


def test_a_primary_that_refuses(watch: Start, primary: tuple[FakeRedis, int]) -> None:
    fake, port = primary
    fake.login = ["tethys", "old"]
    result, _endpoints = watch(port, port, port)
    assert result["problems"] == [
        f"The shared Redis at 127.0.0.1:{port} (the primary by Sentinel's word) refuses the layer (WRONGPASS invalid"
        f" username-password pair){ASKED}"
    ]
    assert result["versions"] == [None]


def test_a_primary_that_is_away(watch: Start) -> None:
    port = nobody()
    result, _endpoints = watch(port, port, port)
    [problem] = result["problems"]
    assert problem.startswith(f"The shared Redis at 127.0.0.1:{port} (the primary by Sentinel's word) cannot be reach")


def test_a_primary_with_a_certificate_of_somebody_else(watch: Start, encrypted: Start) -> None:
    fake = FakeRedis(user="tethys", password="forPortal")
    port = encrypted(fake=fake)[0]["port"]
    result, _endpoints = watch(port, port, port)
    [problem] = result["problems"]
    assert "(the primary by Sentinel's word) shows a certificate that its CA did not issue for 127.0.0.1" in problem
    assert fake.seen == [], "It is sent no password."


def test_others_are_asked_beside_them(watch: Start, ping: Start, redis: Start, primary: tuple[FakeRedis, int]) -> None:
    _fake, port = primary
    _result, endpoints = watch(port, port, port)
    other, endpoint = redis(version="6.2.1")
    # One that is not the collection's own is only asked whether it is there.
    given, theirs = redis()
    result = ping(*endpoints, endpoint, {**theirs, "sentinel": "primary"})
    assert (result["problems"], result["versions"]) == ([], ["7.0.15", "6.2.1", "7.0.15"])
    assert (len(other.seen), given.seen) == (4, [["PING"], ["INFO", "server"]])

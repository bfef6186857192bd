# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is returned about a fake Sentinel and a fake Redis, and what is waited for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.redis import sentinels
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
from ansible_collections.tethys.channels.plugins.modules import sentinel_info
from ansible_collections.tethys.channels.tests.unit.plugins.watched import (
    NO_MASTER,
    Clock,
    MadeUpRedis,
    MadeUpSentinel,
    Network,
)
from hypothesis import given
from hypothesis import strategies as st

FIRST, HERE, THIRD = "192.0.2.5", "192.0.2.6", "192.0.2.7"
REFUSED = "[Errno 111] Connection refused"
Look = Callable[..., "dict[str, Any]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What redis_settings and redis_sentinel have left on a server."""
    (tmp_path / "sentinel").mkdir()
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "ca.crt").write_text("the authority\n", encoding="utf-8")
    text = "port 0\nsentinel monitor tethys-channels 192.0.2.7 6379 2\nsentinel myid 0123\n"
    (tmp_path / "sentinel" / "sentinel-0123456789ab.conf").write_text(text, encoding="utf-8")
    kept = {"password": "forPortal", "admin_password": "forRoot", "peer_password": "forPeers"}
    (tmp_path / "credentials.json").write_text(json.dumps(kept), encoding="utf-8")
    return tmp_path


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """This server's Sentinel, and its Redis, which copies the first one."""
    network = Network()
    network[HERE, 26379] = MadeUpSentinel()
    network[HERE, 6379] = MadeUpRedis(copies=True)
    monkeypatch.setattr(sentinels, "Redis", network.connect)
    return network


@pytest.fixture
def sentinel(network: Network) -> MadeUpSentinel:
    found = network[HERE, 26379]
    assert isinstance(found, MadeUpSentinel)
    return found


@pytest.fixture
def redis(network: Network) -> MadeUpRedis:
    found = network[HERE, 6379]
    assert isinstance(found, MadeUpRedis)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The module's time."""
    clock = Clock()
    monkeypatch.setattr(sentinel_info, "time", clock)
    return clock


@pytest.fixture
def look(run_module: Callable[..., dict[str, Any]], folder: Path, network: Network, clock: Clock) -> Look:
    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"directory": str(folder), "address": HERE, "servers": 3, **arguments}
        result = run_module(sentinel_info.main, check, **given)
        assert result["changed"] is False
        found: dict[str, Any] = result["sentinel"]
        return found

    return run


# --- what one query returns -----------------------------------------------------------------------------------------

WELL = {
    "set_up": True,
    "problem": None,
    "problem_code": None,
    "primary": {"host": FIRST, "port": 6379},
    # What is in its file, whoever is the primary by now.
    "last": {"host": THIRD, "port": 6379},
    "authority": "the authority\n",
    "role": "replica",
    "lacking": [],
}


@pytest.mark.parametrize("check", [False, True])
def test_a_replica_that_is_well(
    look: Look, folder: Path, sentinel: MadeUpSentinel, redis: MadeUpRedis, check: bool
) -> None:
    assert look(check) == WELL
    assert (sentinel.changed, redis.changed) == ([], [])
    admin = {"host": HERE, "tls": True, "ca": str(folder / "redis" / "ca.crt")}
    admin.update(username="tethys_admin", password="forRoot")
    assert sentinel.logins == [{**admin, "port": 26379}]
    assert redis.logins == [{**admin, "port": 6379}]


def test_the_primary_that_is_well(look: Look, sentinel: MadeUpSentinel, redis: MadeUpRedis) -> None:
    sentinel.primary, redis.of = (HERE, 6379), None
    assert look() == {**WELL, "primary": {"host": HERE, "port": 6379}, "role": "primary"}


def test_on_ports_of_its_own(look: Look, network: Network) -> None:
    network[HERE, 7000], network[HERE, 27000] = MadeUpRedis(), MadeUpSentinel((HERE, 7000))
    assert look(port=7000, sentinel_port=27000) == {**WELL, "primary": {"host": HERE, "port": 7000}, "role": "primary"}


@pytest.mark.parametrize("left", [False, True])
def test_where_nothing_was_set_up_nobody_is_asked(look: Look, folder: Path, network: Network, left: bool) -> None:
    (folder / "credentials.json").unlink()
    (folder / "redis" / "ca.crt").unlink()
    path = folder / "sentinel" / "sentinel-0123456789ab.conf"
    path.rename(path.with_name("notes.txt"))
    if not left:
        path.with_name("notes.txt").unlink()
    assert look() == {
        "set_up": False,
        "problem": "was not set up yet",
        "problem_code": "not-set-up",
        "primary": None,
        "last": None,
        "authority": None,
        "role": None,
        "lacking": ["has no Sentinel yet"],
    }
    assert [server.logins for server in network.values()] == [[], []]


@pytest.mark.parametrize("of", [None, (FIRST, 6379)])
def test_a_redis_is_asked_before_there_is_a_sentinel(
    look: Look, folder: Path, sentinel: MadeUpSentinel, redis: MadeUpRedis, of: tuple[str, int] | None
) -> None:
    (folder / "sentinel" / "sentinel-0123456789ab.conf").unlink()
    redis.of = of
    found = look()
    assert (found["set_up"], found["primary"], found["last"]) == (False, None, None)
    assert (found["role"], found["authority"]) == ("replica" if of else "primary", "the authority\n")
    # Whose copy it has to be, nobody says.
    redis_lacks = ["has a Redis that does not replicate the primary yet"] if of else []
    assert found["lacking"] == ["has no Sentinel yet", *redis_lacks]
    assert sentinel.logins == []


def test_a_sentinel_that_is_silent(look: Look, network: Network) -> None:
    del network[HERE, 26379]
    assert look() == {
        **WELL,
        "problem": f"does not answer ({REFUSED})",
        "problem_code": "silent",
        "primary": None,
        # Whose copy it has to be, nobody says.
        "lacking": [
            f"has a Sentinel that does not answer ({REFUSED})",
            "has a Redis that does not replicate the primary yet",
        ],
    }


@pytest.mark.parametrize("command", ["SENTINEL GET-MASTER", "SENTINEL MASTER", "SENTINEL REPLICAS"])
def test_a_sentinel_that_refuses(look: Look, sentinel: MadeUpSentinel, command: str) -> None:
    sentinel.errors[command] = [RedisError("NOPERM")]
    found = look()
    assert found["problem"] == "does not answer (NOPERM)"
    assert found["lacking"][0] == "has a Sentinel that does not answer (NOPERM)"


@pytest.mark.parametrize("words", [False, True])
def test_a_sentinel_that_watches_nobody(look: Look, sentinel: MadeUpSentinel, redis: MadeUpRedis, words: bool) -> None:
    sentinel.primary, redis.of = None, None
    sentinel.errors["SENTINEL GET-MASTER"] = [RedisError(NO_MASTER)] if words else []
    found = look()
    assert (found["problem"], found["primary"], found["role"]) == ("watches no primary", None, "primary")
    assert found["lacking"] == ["has a Sentinel that watches no primary"]


def test_a_redis_that_is_silent(look: Look, network: Network) -> None:
    del network[HERE, 6379]
    assert look() == {**WELL, "role": None, "lacking": [f"has a Redis that does not answer ({REFUSED})"]}


def test_a_redis_that_refuses(look: Look, redis: MadeUpRedis) -> None:
    redis.errors["ROLE"] = [RedisError("LOADING")]
    assert look() == {**WELL, "role": None, "lacking": ["has a Redis that does not answer (LOADING)"]}


@pytest.mark.parametrize(
    ("about", "replicas", "lacking"),
    [
        ({}, ["slave", "slave", "slave"], []),
        ({"num-other-sentinels": "3"}, ["slave", "slave"], []),
        ({"flags": "s_down,master"}, ["slave"] * 2, ["has a Sentinel to which the primary is s_down,master"]),
        ({"num-other-sentinels": "1"}, ["slave"] * 2, ["has a Sentinel that has found 1 of 2 others"]),
        ({"num-other-sentinels": "0"}, ["slave"] * 2, ["has a Sentinel that has found 0 of 2 others"]),
        ({}, ["slave"], ["has a Sentinel that sees 1 of 2 replicas"]),
        # One that went away is remembered, and none.
        ({}, ["slave", "s_down,slave,disconnected"], ["has a Sentinel that sees 1 of 2 replicas"]),
        ({}, [], ["has a Sentinel that sees 0 of 2 replicas"]),
        (
            {"flags": "o_down,master", "num-other-sentinels": "1"},
            [],
            [
                "has a Sentinel to which the primary is o_down,master",
                "has a Sentinel that has found 1 of 2 others",
                "has a Sentinel that sees 0 of 2 replicas",
            ],
        ),
    ],
)
def test_what_a_sentinel_lacks(
    look: Look, sentinel: MadeUpSentinel, about: dict[str, str], replicas: list[str], lacking: list[str]
) -> None:
    sentinel.about.update(about)
    sentinel.replicas = replicas
    assert look() == {**WELL, "lacking": lacking}


def test_how_many_there_are_to_be(look: Look) -> None:
    assert look(servers=5)["lacking"] == [
        "has a Sentinel that has found 2 of 4 others",
        "has a Sentinel that sees 2 of 4 replicas",
    ]


@pytest.mark.parametrize(
    ("primary", "of", "link", "role", "lacking"),
    [
        ((FIRST, 6379), None, "", "primary", "has a Redis that is primary against Sentinel's word"),
        ((HERE, 6379), (FIRST, 6379), "connected", "replica", "has a Redis that is replica against Sentinel's word"),
        # Another Redis at the same address.
        ((HERE, 7000), None, "", "primary", "has a Redis that is primary against Sentinel's word"),
        (
            (FIRST, 6379),
            ("192.0.2.7", 6379),
            "connected",
            "replica",
            "has a Redis that does not replicate the primary yet",
        ),
        ((FIRST, 6379), (FIRST, 7000), "connected", "replica", "has a Redis that does not replicate the primary yet"),
        ((FIRST, 6379), (FIRST, 6379), "connect", "replica", "has a Redis that does not replicate the primary yet"),
        ((FIRST, 6379), (FIRST, 6379), "sync", "replica", "has a Redis that does not replicate the primary yet"),
    ],
)
def test_what_a_redis_lacks(
    look: Look,
    sentinel: MadeUpSentinel,
    redis: MadeUpRedis,
    primary: tuple[str, int],
    of: tuple[str, int] | None,
    link: str,
    role: str,
    lacking: str,
) -> None:
    sentinel.primary, redis.of, redis.link = primary, of, link
    found = look()
    assert (found["role"], found["lacking"], found["problem"]) == (role, [lacking], None)


# --- what is waited for ---------------------------------------------------------------------------------------------


def test_nobody_is_waited_for_unless_asked(look: Look, sentinel: MadeUpSentinel, clock: Clock) -> None:
    sentinel.replicas = []
    assert look()["lacking"]
    assert clock.slept == []


def test_who_is_well_is_not_waited_for(look: Look, clock: Clock) -> None:
    assert look(wait=60) == WELL
    assert clock.slept == []


def test_it_waits_until_all_is_well(look: Look, sentinel: MadeUpSentinel, redis: MadeUpRedis, clock: Clock) -> None:
    sentinel.replicas, redis.link = [], "sync"
    clock.then = [
        lambda: sentinel.replicas.extend(["slave", "slave"]),
        lambda: setattr(redis, "link", "connected"),
    ]
    assert look(wait=60) == WELL
    assert len(clock.slept) == 2


def test_it_waits_for_one_that_is_not_there_yet(look: Look, network: Network, clock: Clock) -> None:
    there = dict(network)
    network.clear()
    clock.then = [lambda: network.update(there)]
    assert look(wait=60) == WELL


def test_it_does_not_wait_for_ever(look: Look, sentinel: MadeUpSentinel, clock: Clock) -> None:
    sentinel.replicas = []
    assert look(wait=60)["lacking"] == ["has a Sentinel that sees 0 of 2 replicas"]
    assert 60 <= clock.now - 1000 < 61


# --- what the modules share -----------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_pairs_are_told_in_turn(told: dict[str, Any]) -> None:
    assert sentinels.pairs([word for pair in told.items() for word in pair]) == told


class Answers:
    """A Sentinel with one answer."""

    def __init__(self, answer: Any) -> None:
        self.result = answer

    def command(self, *words: str) -> Any:
        assert words == ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tethys-channels")
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("answer", "primary"),
    [
        (["192.0.2.5", "6379"], {"host": "192.0.2.5", "port": 6379}),
        (["2001:db8::5", "7000"], {"host": "2001:db8::5", "port": 7000}),
        # As client.Redis has an array that is null.
        ([], None),
        (None, None),
        (RedisError("ERR No such master with that name"), None),
    ],
)
def test_the_primary_by_a_sentinel(answer: Any, primary: Any) -> None:
    assert sentinels.primary_of(Answers(answer)) == primary  # type: ignore[arg-type]


@pytest.mark.parametrize("words", ["NOAUTH Authentication required.", "NOPERM", "ERR unknown command 'sentinel'"])
def test_a_sentinel_that_does_not_say(words: str) -> None:
    with pytest.raises(RedisError, match=words):
        sentinels.primary_of(Answers(RedisError(words)))  # type: ignore[arg-type]


@pytest.fixture
def server(folder: Path, network: Network) -> sentinels.Server:
    return sentinels.Server(str(folder), HERE, 6379, 26379)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (["master", 12, [["192.0.2.6", "6379", "12"]]], {"role": "primary", "of": None, "link": None}),
        (
            ["slave", "192.0.2.5", 6379, "connected", 12],
            {"role": "replica", "of": {"host": "192.0.2.5", "port": 6379}, "link": True},
        ),
        (
            ["slave", "192.0.2.5", "6379", "connecting", -1],
            {"role": "replica", "of": {"host": "192.0.2.5", "port": 6379}, "link": False},
        ),
        # Asked where Redis should be.
        (["sentinel", ["tethys-channels"]], {"role": "sentinel", "of": None, "link": None}),
    ],
)
def test_the_role_of_a_redis(
    server: sentinels.Server, redis: MadeUpRedis, monkeypatch: pytest.MonkeyPatch, told: list[Any], found: Any
) -> None:
    monkeypatch.setattr(redis, "answer", lambda words: told)
    assert server.role() == found
    assert redis.seen == [("ROLE",)]


def test_the_role_of_another_redis_is_asked_by_a_peer(server: sentinels.Server, network: Network) -> None:
    network[FIRST, 7000] = MadeUpRedis()
    assert server.role({"host": FIRST, "port": 7000})["role"] == "primary"
    assert server.role()["role"] == "replica"
    [login] = network[FIRST, 7000].logins
    assert (login["username"], login["password"], login["tls"]) == ("tethys_peer", "forPeers", True)
    assert login["ca"].endswith("/redis/ca.crt")
    # It may ask for nothing else there, and this one's own admin is nobody there.
    assert network[FIRST, 7000].seen == [("ROLE",)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# Server\r\nconfig_file:/etc/tethys-sentinel/sentinel-1.conf\r\nhz:10\r\n", "sentinel-1.conf"),
        ("# Server\r\nhz:10\r\nconfig_file:/sentinel-2.conf", "sentinel-2.conf"),
        ("# Server\r\nold_config_file:/a\r\n", None),
        ("", None),
    ],
)
def test_which_file_a_sentinel_reads(text: str, name: str | None) -> None:
    class Tells:
        def command(self, *words: str) -> str:
            assert words == ("INFO", "server")
            return text

    assert sentinels.Server.reads(Tells()) == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("newer", "older", "last"),
    [
        (["sentinel monitor tethys-channels 192.0.2.5 7000 2"], [], {"host": FIRST, "port": 7000}),
        (
            ["port 0", "sentinel myid 1", "sentinel monitor tethys-channels 192.0.2.5 6379 2", "sentinel myid 1"],
            ["sentinel monitor tethys-channels 192.0.2.6 6379 2"],
            {"host": FIRST, "port": 6379},
        ),
        # One that monitors nothing has lost its state, and another's primary is not ours.
        (
            ["sentinel myid 1", "sentinel monitor other 192.0.2.9 6379 2", "# sentinel monitor tethys-channels x 1 2"],
            ["sentinel monitor tethys-channels 192.0.2.6 6379 2"],
            {"host": HERE, "port": 6379},
        ),
        (["sentinel myid 1", ""], ["sentinel down-after-milliseconds tethys-channels 5000"], None),
    ],
)
def test_where_the_primary_was_last(
    server: sentinels.Server, folder: Path, newer: list[str], older: list[str], last: Any
) -> None:
    (folder / "sentinel" / "sentinel-0123456789ab.conf").unlink()
    for name, age, lines in (("sentinel-b", 5, newer), ("sentinel-c", 7, older), ("other", 1, ["sentinel monitor"])):
        path = folder / "sentinel" / f"{name}.conf"
        path.write_text("\n".join(lines), encoding="utf-8")
        os.utime(path, (10**9 - age, 10**9 - age))
    assert server.last_primary() == last


@pytest.mark.parametrize(
    ("rows", "number"),
    [
        ([], 0),
        (["slave0:ip=192.0.2.6,port=6379,state=online,offset=1,lag=0"], 1),
        (
            [
                "slave0:ip=192.0.2.6,port=6379,state=online,offset=1,lag=0",
                "slave1:ip=192.0.2.7,port=6379,state=wait_bgsave,offset=0,lag=0",
            ],
            1,
        ),
        (["slave0:ip=x,port=1,state=online,offset=1,lag=0", "slave10:ip=y,port=1,state=online,offset=1,lag=1"], 2),
    ],
)
def test_how_many_have_a_copy(
    server: sentinels.Server, redis: MadeUpRedis, monkeypatch: pytest.MonkeyPatch, rows: list[str], number: int
) -> None:
    text = "\r\n".join(["# Replication", "role:master", f"connected_slaves:{len(rows)}", *rows, ""])
    monkeypatch.setattr(redis, "answer", lambda words: text)
    assert server.copies() == number
    assert redis.seen == [("INFO", "replication")]


def test_the_configuration_that_was_written_to_last_is_the_last(server: sentinels.Server, folder: Path) -> None:
    for name, age in (("sentinel-b", 5), ("sentinel-a", 7), ("sentinel-c", 9), ("other", 1)):
        path = folder / "sentinel" / f"{name}.conf"
        path.touch()
        os.utime(path, (10**9 - age, 10**9 - age))
    (folder / "sentinel" / ".sentinel-d.conf.17.tethys_channels").touch()
    names = [path.name for path in server.configurations()]
    assert names == ["sentinel-c.conf", "sentinel-a.conf", "sentinel-b.conf", "sentinel-0123456789ab.conf"]


@pytest.mark.parametrize(
    ("arguments", "host", "port", "user", "password"),
    [
        ((), HERE, 26379, "tethys_admin", "forRoot"),
        ((None, None), HERE, 26379, "tethys_admin", "forRoot"),
        # Its own port is known.
        ((HERE, 27000), HERE, 26379, "tethys_admin", "forRoot"),
        ((FIRST, 27000), FIRST, 27000, "tethys_peer", "forPeers"),
        ((FIRST,), FIRST, 26379, "tethys_peer", "forPeers"),
    ],
)
def test_by_which_login_a_sentinel_is_asked(
    server: sentinels.Server,
    network: Network,
    arguments: tuple[Any, ...],
    host: str,
    port: int,
    user: str,
    password: str,
) -> None:
    network[host, port] = MadeUpSentinel()
    with server.sentinel(*arguments):
        pass
    [login] = network[host, port].logins
    assert (login["username"], login["password"], login["tls"]) == (user, password, True)
    assert login["ca"].endswith("/redis/ca.crt")


@pytest.mark.parametrize("kind", ["fifo", "link", "sparse", "folder", "words", "port"])
def test_what_a_container_has_planted_beside_the_configuration(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "sentinel"
    folder.mkdir()
    planted = folder / "sentinel-planted.conf"
    if kind == "fifo":
        os.mkfifo(planted)
    elif kind == "link":
        target = tmp_path / "target"
        target.write_text("sentinel monitor tethys-channels 192.0.2.66 6379 1\n", encoding="utf-8")
        planted.symlink_to(target)
    elif kind == "sparse":
        with planted.open("wb") as file:
            file.truncate(200 * 1024**3)
    elif kind == "folder":
        planted.mkdir()
    else:
        words = "192.0.2.66" if kind == "words" else "192.0.2.66 6379;reboot 1"
        planted.write_text(f"sentinel monitor tethys-channels {words}\n", encoding="utf-8")
    server = sentinels.Server(str(tmp_path), "192.0.2.5", 6379, 26379)
    assert server.configurations() == [planted]
    assert server.last_primary() is None


@pytest.mark.parametrize(
    "answer",
    [":1\r\n", "*1\r\n:1\r\n", "*2\r\n$1\r\nh\r\n$3\r\n99x\r\n", "*2\r\n$2\r\n\x1b[\r\n$1\r\n1\r\n", "*1\r\n*0\r\n"],
    ids=range(5),
)
def test_an_address_that_is_none(serve: Callable[..., Any], says: Callable[..., Any], answer: str) -> None:
    port = serve(says(answer.encode())).port
    with Redis({"host": "127.0.0.1", "port": port}) as sentinel, pytest.raises(RedisError):
        sentinels.primary_of(sentinel)

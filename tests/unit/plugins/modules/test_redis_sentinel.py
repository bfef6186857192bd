# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentinel's configuration, changes to a running one, and when a Redis becomes a replica, or is no longer primary."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.redis import sentinels
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import RedisError
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import alone
from ansible_collections.tethys.channels.plugins.modules import redis_sentinel
from ansible_collections.tethys.channels.tests.unit.plugins.watched import (
    NO_MASTER,
    Clock,
    MadeUpRedis,
    MadeUpSentinel,
    Network,
)

Run = Callable[..., "dict[str, Any]"]
UID = 16379
FIRST, HERE, THIRD = "192.0.2.5", "192.0.2.6", "192.0.2.7"
CREDENTIALS = {"password": "forPortal", "admin_password": "forRoot", "peer_password": "forPeers"}
KILLS = [("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "KILL", "TYPE", "pubsub")]
COPY_FIRST = [("REPLICAOF", FIRST, "6379"), *KILLS]


def places(*addresses: str) -> list[dict[str, Any]]:
    return [{"host": address, "port": 26379} for address in addresses]


def sums(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What redis_settings has left on a server."""
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "fchown", lambda *_arguments: None)
    folder = tmp_path / "tethys_channels"
    for name in ("sentinel", "redis"):
        (folder / name).mkdir(parents=True)
    for name in ("redis.crt", "redis.key", "ca.crt"):
        (folder / "redis" / name).write_text(f"{name}\n", encoding="utf-8")
    keep(folder)
    return folder


def keep(folder: Path, **changes: Any) -> None:
    """The credentials as redis_settings keeps them."""
    (folder / "credentials.json").write_text(json.dumps({**CREDENTIALS, **changes}), encoding="utf-8")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """This server's Redis, and the first one, which it copies; no Sentinel is there."""
    network = Network()
    network[HERE, 6379] = MadeUpRedis(copies=True)
    network[FIRST, 6379] = MadeUpRedis()
    monkeypatch.setattr(sentinels, "Redis", network.connect)
    return network


@pytest.fixture
def redis(network: Network) -> MadeUpRedis:
    """The Redis of this server."""
    found = network[HERE, 6379]
    assert isinstance(found, MadeUpRedis)
    return found


@pytest.fixture
def run(run_module: Run, folder: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The module on the second of three servers."""
    # Who waits in a test where nothing is to be waited for would wait for long.
    monkeypatch.setattr(redis_sentinel.time, "sleep", lambda _seconds: pytest.fail("it waited"))

    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        given: dict[str, Any] = {
            "directory": str(folder),
            "uid": UID,
            "address": HERE,
            "primary": {"host": FIRST, "port": 6379},
            "image": "redis:8.2",
            "sentinels": places(FIRST, HERE, THIRD),
        }
        return run_module(redis_sentinel.main, check, **{**given, **arguments})

    return run


@pytest.fixture
def first(run: Run, redis: MadeUpRedis) -> dict[str, Any]:
    """The result of the first run, which wrote the configuration."""
    result = run()
    redis.seen.clear()
    redis.logins.clear()
    return result


@pytest.fixture
def sentinel(first: dict[str, Any], network: Network) -> MadeUpSentinel:
    """The Sentinel of this server, started with that, which has the first server for the primary."""
    found = MadeUpSentinel(opens=[sums("forPortal")], reads=first["config_file"])
    network[HERE, 26379] = found
    return found


def written(folder: Path, result: dict[str, Any]) -> list[str]:
    """The lines of the configuration that a call speaks of."""
    return (folder / "sentinel" / result["config_file"]).read_text(encoding="utf-8").splitlines()


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of Sentinel's, with what is in it and when it was written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (folder / "sentinel").iterdir()}


def of_portal(lines: list[str]) -> list[str]:
    """The sums that open for the portal."""
    [line] = [line for line in lines if line.startswith("user tethys ")]
    return [word[1:] for word in line.split() if word.startswith("#")]


# --- the first configuration ----------------------------------------------------------------------------------------


def test_the_first_configuration(run: Run, folder: Path) -> None:
    result = run()
    assert result["changed"]
    assert re.fullmatch("[0-9a-f]{32}", result["config_sum"])
    assert result["config_file"] == f"sentinel-{result['config_sum'][:12]}.conf"
    assert result["config_dir"] == str(folder / "sentinel")
    assert list(files(folder)) == [result["config_file"]]
    path = folder / "sentinel" / result["config_file"]
    assert stat.filemode(path.stat().st_mode) == "-rw-------"
    assert (
        path.read_text(encoding="utf-8")
        == f"""\
# Managed by tethys.channels, and written on by Sentinel.
bind 0.0.0.0
protected-mode no
port 0
tls-port 26379
tls-cert-file /etc/tethys-channels/redis.crt
tls-key-file /etc/tethys-channels/redis.key
tls-ca-cert-file /etc/tethys-channels/ca.crt
tls-auth-clients no
tls-replication yes
tls-protocols "TLSv1.2 TLSv1.3"
sentinel announce-ip 192.0.2.6
sentinel announce-port 26379
sentinel sentinel-user tethys_peer
sentinel sentinel-pass forPeers
user tethys_admin on #{sums("forRoot")} &* +@all
user default off
user tethys_peer on #{sums("forPeers")} &* -@all +hello +auth +ping +client|setname +sentinel +publish +subscribe\
 +info +role
user tethys on #{sums("forPortal")} -@all +hello +auth +ping +client|setname +sentinel|masters\
 +sentinel|get-master-addr-by-name +sentinel|replicas
sentinel monitor tethys-channels 192.0.2.5 6379 2
sentinel down-after-milliseconds tethys-channels 5000
sentinel failover-timeout tethys-channels 10000
sentinel parallel-syncs tethys-channels 3
sentinel auth-user tethys-channels tethys_peer
sentinel auth-pass tethys-channels forPeers
"""
    )


def test_the_sum_is_over_what_the_container_reads_when_it_starts(run: Run, folder: Path) -> None:
    # Another digest recreates every existing Sentinel. It is salted, since it can be read in a label.
    result = run()
    lines = written(folder, result)
    [peer] = [line for line in lines if line.startswith("user tethys_peer ")]
    asks = "+sentinel|masters +sentinel|get-master-addr-by-name +sentinel|replicas"
    text = "\n".join(["redis:8.2", *lines[: lines.index("user default off")], peer, asks])
    assert result["config_sum"] == sums("forRoot" + text + "redis.crt\nredis.key\nca.crt\n")[:32]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_container_owns_what_it_writes_on(run: Run, folder: Path) -> None:
    found = (folder / "sentinel" / run()["config_file"]).stat()
    assert (found.st_uid, found.st_gid) == (UID, UID)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            {"sentinels": places(*(f"192.0.2.{number}" for number in range(5, 10)))},
            ["sentinel monitor tethys-channels 192.0.2.5 6379 3", "sentinel parallel-syncs tethys-channels 5"],
        ),
        ({"down_seconds": 7}, ["sentinel down-after-milliseconds tethys-channels 7000"]),
        (
            {"primary": {"host": THIRD, "port": 7000}},
            ["sentinel monitor tethys-channels 192.0.2.7 7000 2"],
        ),
        # Inside the container the port is always the same.
        ({"sentinel_port": 27000}, ["sentinel announce-port 27000", "tls-port 26379"]),
    ],
    ids=str,
)
def test_what_it_begins_with(run: Run, folder: Path, arguments: dict[str, Any], lines: list[str]) -> None:
    found = written(folder, run(**arguments))
    for line in lines:
        assert found.count(line) == 1


def test_two_passwords_open_until_the_old_one_is_retired(run: Run, folder: Path) -> None:
    keep(folder, previous=["older", "old"])
    assert of_portal(written(folder, run())) == [sums("forPortal"), "older", "old"]
    assert of_portal(written(folder, run(retire=True))) == [sums("forPortal")]


@pytest.mark.parametrize(
    "arguments", [{"image": "redis:8.4"}, {"address": "192.0.2.16"}, {"sentinel_port": 27000}], ids=str
)
def test_what_makes_another_configuration(run: Run, network: Network, arguments: dict[str, Any]) -> None:
    network["192.0.2.16", 6379] = MadeUpRedis(copies=True)
    first = run()
    second = run(**arguments)
    assert second["changed"]
    assert second["config_sum"] != first["config_sum"]
    assert second["config_file"] != first["config_file"]
    assert run()["config_sum"] == first["config_sum"]


@pytest.mark.parametrize("name", ["admin_password", "peer_password"])
def test_another_password_of_the_servers_makes_another_configuration(run: Run, folder: Path, name: str) -> None:
    first = run()
    keep(folder, **{name: "other"})
    assert run()["config_sum"] != first["config_sum"]


@pytest.mark.parametrize("name", ["redis.crt", "redis.key", "ca.crt"])
def test_another_certificate_makes_another_configuration(run: Run, folder: Path, name: str) -> None:
    first = run()
    (folder / "redis" / name).write_text("other\n", encoding="utf-8")
    assert run()["config_sum"] != first["config_sum"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"down_seconds": 7},
        {"primary": {"host": THIRD, "port": 6379}},
        {"sentinels": places(FIRST, HERE, THIRD, "192.0.2.8", "192.0.2.9")},
        {"retire": True},
        {"port": 7000},
    ],
    ids=str,
)
def test_what_a_sentinel_is_told_makes_no_other_configuration(
    run: Run, network: Network, arguments: dict[str, Any]
) -> None:
    network[HERE, 7000] = network[HERE, 6379]
    assert run(**arguments)["config_sum"] == run()["config_sum"]


def test_the_portals_password_makes_no_other_configuration(run: Run, folder: Path) -> None:
    first = run()
    keep(folder, password="other", previous=[sums("forPortal")])
    assert run()["config_sum"] == first["config_sum"]


def test_no_password_is_in_the_answer(run: Run) -> None:
    text = str([run(), run(), run(check=True, image="redis:8.4")])
    for password in CREDENTIALS.values():
        assert password not in text
        assert sums(password) not in text


# --- what Sentinel has written down ---------------------------------------------------------------------------------

# As Redis 8.2 writes it: the lines that it was given where they were, and its state at the end.
REMEMBERED = [
    "sentinel monitor tethys-channels 192.0.2.7 6379 2",
    "sentinel down-after-milliseconds tethys-channels 7000",
    "sentinel failover-timeout tethys-channels 30000",
    "sentinel parallel-syncs tethys-channels 3",
    "sentinel auth-pass tethys-channels older",
    "sentinel auth-user tethys-channels older_peer",
    "sentinel myid 0123456789012345678901234567890123456789",
    "sentinel config-epoch tethys-channels 4",
    "sentinel leader-epoch tethys-channels 4",
    "sentinel current-epoch 4",
    "sentinel known-replica tethys-channels 192.0.2.5 6379",
    "sentinel known-replica tethys-channels 192.0.2.6 6379",
    "sentinel known-sentinel tethys-channels 192.0.2.5 26379 1123456789012345678901234567890123456789",
]
# By which password it gets in to those whom it watches, is ours to say.
LOGIN = ["sentinel auth-user tethys-channels tethys_peer", "sentinel auth-pass tethys-channels forPeers"]
TAKEN_OVER = [*(line for line in REMEMBERED if "auth-" not in line), *LOGIN]
LEFT = [
    "# Managed by tethys.channels, and written on by Sentinel.",
    "port 0",
    'sentinel announce-ip "192.0.2.66"',
    "sentinel announce-port 26666",
    "sentinel sentinel-user tethys_peer",
    "sentinel sentinel-pass older",
    "latency-tracking-info-percentiles 50 99 99.9",
    "user default off sanitize-payload resetchannels -@all",
    f"user tethys on sanitize-payload #{sums('older')} resetchannels -@all +auth",
    *REMEMBERED,
]


def leave(folder: Path, name: str, lines: list[str], seconds_ago: int = 0) -> Path:
    """A configuration that a Sentinel wrote to so long ago."""
    path = folder / "sentinel" / f"sentinel-{name}.conf"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    os.utime(path, (10**9 - seconds_ago, 10**9 - seconds_ago))
    return path


def test_what_a_sentinel_knows_is_taken_over(run: Run, folder: Path) -> None:
    leave(folder, "before", LEFT)
    lines = written(folder, run(sentinel_port=27000))
    assert [line for line in lines if line.startswith("sentinel ")] == [
        "sentinel announce-ip 192.0.2.6",
        "sentinel announce-port 27000",
        "sentinel sentinel-user tethys_peer",
        "sentinel sentinel-pass forPeers",
        *TAKEN_OVER,
    ]
    # Nothing else of it: the new image reads what we write.
    assert of_portal(lines) == [sums("forPortal")]
    assert len([line for line in lines if line.startswith("user ")]) == 4
    assert not [line for line in lines if "latency" in line or "older" in line or "sanitize" in line]


def test_another_image_reads_anew_what_was_written(run: Run, folder: Path) -> None:
    first = run()
    path = folder / "sentinel" / first["config_file"]
    lines = path.read_text(encoding="utf-8").splitlines()
    begins = next(number for number, line in enumerate(lines) if line.startswith("sentinel monitor "))
    path.write_text("\n".join([*lines[:begins], *REMEMBERED, ""]), encoding="utf-8")
    second = run(image="redis:8.4")
    assert second["config_file"] != first["config_file"]
    # The Sentinel of before runs until its container is replaced, and may have to start again until then.
    assert set(files(folder)) == {first["config_file"], second["config_file"]}
    assert written(folder, second) == [*lines[:begins], *TAKEN_OVER]
    assert written(folder, first) == [*lines[:begins], *REMEMBERED]


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (REMEMBERED, ["sentinel monitor tethys-channels 192.0.2.5 6379 2"]),
        # A file of a Sentinel that monitors nothing has no state.
        (["sentinel myid 0123", "sentinel current-epoch 9"], REMEMBERED),
    ],
    ids=["the last", "the last that knows something"],
)
def test_which_sentinel_is_remembered(run: Run, folder: Path, newer: list[str], older: list[str]) -> None:
    # By their names in neither order.
    leave(folder, "b", newer)
    leave(folder, "a", older, seconds_ago=50)
    leave(folder, "c", older, seconds_ago=60)
    assert written(folder, run())[-len(TAKEN_OVER) :] == TAKEN_OVER


def test_one_that_knows_nothing_begins_anew(run: Run, folder: Path) -> None:
    leave(folder, "before", ["sentinel myid 0123", "sentinel current-epoch 9"])
    lines = written(folder, run())
    assert "sentinel monitor tethys-channels 192.0.2.5 6379 2" in lines
    assert "sentinel myid 0123" not in lines


def test_the_file_of_before_goes_once_the_new_sentinel_answers(run: Run, folder: Path, network: Network) -> None:
    before = leave(folder, "before", LEFT)
    name = run()["config_file"]
    # It is not running yet.
    run()
    assert before.exists()
    sentinel = MadeUpSentinel(opens=[sums("forPortal")], reads=before.name)
    network[HERE, 26379] = sentinel
    # The one of before runs: it would not start again without it.
    run()
    assert before.exists()
    sentinel.reads = name
    run(check=True)
    assert before.exists()
    run()
    assert list(files(folder)) == [name]


def write_on(path: Path) -> None:
    """What a Sentinel does to its configuration that watches another primary by now."""
    lines = path.read_text(encoding="utf-8").splitlines()
    begins = next(number for number, line in enumerate(lines) if line.startswith("sentinel monitor "))
    path.write_text("\n".join([*lines[:begins], *REMEMBERED, ""]), encoding="utf-8")


def test_the_image_of_before_takes_over_what_was_written_since(run: Run, folder: Path) -> None:
    first = run()
    later = folder / "sentinel" / run(image="redis:8.4")["config_file"]
    write_on(later)
    in_a_moment = time.time() + 5
    os.utime(later, (in_a_moment, in_a_moment))
    before = files(folder)
    # Its own has the portal's password, and is of the time before another had the primary's place.
    assert run(check=True)["changed"]
    assert files(folder) == before
    os.utime(later)
    assert run() == first
    assert written(folder, first)[-len(TAKEN_OVER) :] == TAKEN_OVER
    assert later.exists()
    assert not run()["changed"]


# --- a Sentinel that runs -------------------------------------------------------------------------------------------


def test_the_second_call_changes_nothing(
    run: Run, folder: Path, first: dict[str, Any], redis: MadeUpRedis, sentinel: MadeUpSentinel
) -> None:
    before = files(folder)
    second = run()
    assert second == {**first, "changed": False}
    assert (sentinel.changed, redis.changed) == ([], [])
    assert files(folder) == before


def test_how_each_is_logged_in_to(
    run: Run, folder: Path, network: Network, redis: MadeUpRedis, sentinel: MadeUpSentinel
) -> None:
    network[FIRST, 26379] = MadeUpSentinel()
    redis.of = sentinel.primary = None
    run()
    # This server's own as its admin, the others as their peer, and none but over TLS with the group's CA.
    tls = {"tls": True, "ca": str(folder / "redis" / "ca.crt")}
    admin = {**tls, "username": "tethys_admin", "password": "forRoot", "host": HERE}
    assert sentinel.logins == [{**admin, "port": 26379}] * len(sentinel.logins) != []
    assert redis.logins == [{**admin, "port": 6379}] * len(redis.logins) != []
    peer = {**tls, "username": "tethys_peer", "password": "forPeers", "host": FIRST}
    assert network[FIRST, 26379].logins == [{**peer, "port": 26379}]
    assert network[FIRST, 6379].logins == [{**peer, "port": 6379}]


def test_it_is_told_another_password(run: Run, folder: Path, sentinel: MadeUpSentinel) -> None:
    before = files(folder)
    keep(folder, password="new", previous=[sums("forPortal")])
    assert run(check=True)["changed"]
    assert sentinel.changed == []
    assert run()["changed"]
    # Otherwise, Sentinel would lose it when it restarts.
    assert sentinel.changed == [("ACL", "SETUSER", "tethys", "#" + sums("new")), ("SENTINEL", "FLUSHCONFIG")]
    assert not run()["changed"]
    assert run(retire=True)["changed"]
    assert sentinel.opens == [sums("new")]
    assert sentinel.changed[2:] == [("ACL", "SETUSER", "tethys", "!" + sums("forPortal")), ("SENTINEL", "FLUSHCONFIG")]
    assert not run(retire=True)["changed"]
    # The file is Sentinel's to write.
    assert files(folder) == before


@pytest.mark.parametrize(
    ("arguments", "has", "told"),
    [
        ({}, {"quorum": "1"}, [("quorum", "2")]),
        ({"down_seconds": 7}, {}, [("down-after-milliseconds", "7000")]),
        ({}, {"failover-timeout": "180000"}, [("failover-timeout", "10000")]),
        (
            {"sentinels": places(*(f"192.0.2.{number}" for number in range(5, 10)))},
            {},
            [("quorum", "3"), ("parallel-syncs", "5")],
        ),
        ({"down_seconds": 7}, {"down-after-milliseconds": "7000"}, []),
    ],
    ids=str,
)
def test_only_what_differs_is_set(
    run: Run,
    sentinel: MadeUpSentinel,
    arguments: dict[str, Any],
    has: dict[str, str],
    told: list[tuple[str, str]],
) -> None:
    sentinel.about.update(has)
    assert run(check=True, **arguments)["changed"] is bool(told)
    assert sentinel.changed == []
    assert run(**arguments)["changed"] is bool(told)
    assert sentinel.changed == [("SENTINEL", "SET", "tethys-channels", *pair) for pair in told]
    assert not run(**arguments)["changed"]


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    ("say", "primary"),
    [({}, (FIRST, 6379)), ({FIRST: None, THIRD: (THIRD, 7000)}, (THIRD, 7000)), ({THIRD: (HERE, 6379)}, (HERE, 6379))],
    ids=str,
)
def test_one_that_watches_nobody_is_given_the_primary(
    run: Run,
    network: Network,
    sentinel: MadeUpSentinel,
    say: dict[str, tuple[str, int] | None],
    primary: tuple[str, int],
    words: bool,
) -> None:
    for address, known in say.items():
        network[address, 26379] = MadeUpSentinel(known)
    sentinel.primary = None
    sentinel.errors["SENTINEL GET-MASTER"] = [RedisError(NO_MASTER)] if words else []
    dry = run(check=True, down_seconds=7)
    assert (dry["changed"], sentinel.changed) == (True, [])
    sentinel.errors["SENTINEL GET-MASTER"] = [RedisError(NO_MASTER)] * 2 if words else []
    assert run(down_seconds=7)["changed"]
    monitor, *told = sentinel.changed
    assert monitor == ("SENTINEL", "MONITOR", "tethys-channels", primary[0], str(primary[1]), "2")
    # Nothing of it is known to one that was just given it, and without the login it would take it for dead.
    assert {words[:3] for words in told} == {("SENTINEL", "SET", "tethys-channels")}
    assert {words[3]: words[4] for words in told} == {
        "quorum": "2",
        "down-after-milliseconds": "7000",
        "failover-timeout": "10000",
        "parallel-syncs": "3",
        "auth-user": "tethys_peer",
        "auth-pass": "forPeers",
    }
    assert not run(down_seconds=7)["changed"]


# --- one that reads another file --------------------------------------------------------------------------------------


def test_one_that_reads_another_file_is_told_the_same(
    run: Run, folder: Path, first: dict[str, Any], redis: MadeUpRedis, sentinel: MadeUpSentinel
) -> None:
    keep(folder, password="new", previous=[sums("forPortal")])
    before = files(folder)
    assert run(check=True, image="redis:8.4", down_seconds=7)["changed"]
    assert (files(folder), sentinel.changed) == (before, [])
    assert run(image="redis:8.4", down_seconds=7)["changed"]
    # Until its container is replaced, portals get in to it.
    assert sentinel.changed == [
        ("ACL", "SETUSER", "tethys", "#" + sums("new")),
        ("SENTINEL", "FLUSHCONFIG"),
        ("SENTINEL", "SET", "tethys-channels", "down-after-milliseconds", "7000"),
    ]
    assert first["config_file"] in files(folder)
    assert redis.changed == []


def test_the_file_of_the_next_is_written_until_that_one_reads_it(
    run: Run, folder: Path, first: dict[str, Any], sentinel: MadeUpSentinel
) -> None:
    second = run(image="redis:8.4")
    assert "sentinel monitor tethys-channels 192.0.2.5 6379 2" in written(folder, second)
    # A dry run reports this as long as the container has another configuration.
    assert run(check=True, image="redis:8.4") == run(image="redis:8.4") == second
    assert second["changed"]
    # Another has the primary's place before the container is replaced, in a run that was stopped.
    path = folder / "sentinel" / first["config_file"]
    write_on(path)
    in_a_moment = time.time() + 5
    os.utime(path, (in_a_moment, in_a_moment))
    before = files(folder)
    assert run(check=True, image="redis:8.4")["changed"]
    assert files(folder) == before
    assert run(image="redis:8.4") == second
    assert written(folder, second)[-len(TAKEN_OVER) :] == TAKEN_OVER
    assert path.read_bytes() == before[path.name][0]
    sentinel.reads = second["config_file"]
    before = files(folder)
    assert run(image="redis:8.4") == {**second, "changed": False}
    assert files(folder) == {second["config_file"]: before[second["config_file"]]}


def test_what_a_running_one_has_in_its_own_file_is_not_touched(
    run: Run, folder: Path, first: dict[str, Any], sentinel: MadeUpSentinel
) -> None:
    path = folder / "sentinel" / first["config_file"]
    # Neither the passwords nor the time of its file matter if the Sentinel can be queried.
    leave(folder, "newer", LEFT)
    path.write_text("sentinel myid 0123\n", encoding="utf-8")
    os.utime(path, (10**8, 10**8))
    before = files(folder)
    assert run(check=True)["changed"] is False
    assert files(folder) == before
    assert run()["changed"] is False
    assert files(folder) == {path.name: before[path.name]}


# --- one that does not run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "arguments", "opens"),
    [
        ({"password": "new", "previous": [sums("forPortal")]}, {}, [sums("new"), sums("forPortal")]),
        ({"password": "new", "previous": [sums("forPortal")]}, {"retire": True}, [sums("new")]),
        ({"password": "new"}, {}, [sums("new")]),
    ],
    ids=["beside the old one", "in its place", "without another"],
)
@pytest.mark.parametrize("refuses", [False, True])
def test_the_file_gets_another_password(
    run: Run,
    folder: Path,
    network: Network,
    changes: dict[str, Any],
    arguments: dict[str, Any],
    opens: list[str],
    refuses: bool,
) -> None:
    path = folder / "sentinel" / run()["config_file"]
    lines = path.read_text(encoding="utf-8").splitlines()
    # As Sentinel writes it.
    user = f"user tethys on sanitize-payload #{sums('forPortal')} resetchannels -@all +auth"
    rewritten = [user if line.startswith("user tethys ") else line for line in lines if "monitor" not in line]
    path.write_text("\n".join([*rewritten, *REMEMBERED, ""]), encoding="utf-8")
    if refuses:
        # One with another admin is not changed either.
        network[HERE, 26379] = MadeUpSentinel(reads=path.name)
        network[HERE, 26379].errors["INFO"] = [RedisError("NOPERM"), RedisError("NOPERM"), RedisError("NOPERM")]
    assert not run()["changed"]
    before = files(folder)
    keep(folder, **changes)
    assert run(check=True, **arguments)["changed"]
    assert files(folder) == before
    assert run(**arguments)["changed"]
    found = path.read_text(encoding="utf-8").splitlines()
    assert of_portal(found) == opens
    assert found[-len(TAKEN_OVER) :] == TAKEN_OVER
    assert stat.filemode(path.stat().st_mode) == "-rw-------"
    before = files(folder)
    network.pop((HERE, 26379), None)
    assert not run(**arguments)["changed"]
    assert files(folder) == before


# --- check mode -----------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(run: Run, folder: Path, redis: MadeUpRedis) -> None:
    redis.of = None
    dry = run(check=True)
    assert dry["changed"]
    assert (files(folder), redis.changed) == ({}, [])
    assert {**run(), "changed": True} == dry


def test_a_dry_run_before_there_is_a_redis(run: Run, network: Network) -> None:
    network.clear()
    assert run(check=True)["changed"]
    assert run()["failed"], "A run comes after Redis."


def test_a_dry_run_without_credentials_asks_nobody(run: Run, folder: Path, redis: MadeUpRedis) -> None:
    (folder / "credentials.json").unlink()
    assert run(check=True)["changed"]
    assert redis.logins == []


def test_a_dry_run_on_a_server_that_was_never_touched(run: Run, folder: Path, redis: MadeUpRedis) -> None:
    there = folder.parent / "none"
    assert run(check=True, directory=str(there)) == {
        "changed": True,
        "config_dir": str(there / "sentinel"),
        "config_file": "sentinel.conf",
        "config_sum": "",
    }
    assert not there.exists()
    assert redis.logins == []


# --- whose copy this Redis is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_a_primary_by_itself_becomes_a_copy(
    run: Run, network: Network, redis: MadeUpRedis, running: bool, check: bool
) -> None:
    name = run()["config_file"]
    redis.of = None
    if running:
        network[HERE, 26379] = MadeUpSentinel(opens=[sums("forPortal")], reads=name)
    assert run(check=check)["changed"]
    # Connected clients would go on sending to a Redis from which no other client receives.
    assert redis.changed == ([] if check else COPY_FIRST)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        # Each would wait for the other, and nobody would serve.
        (MadeUpRedis(copies=True, of=(HERE, 6379)), f"the Redis at {FIRST}:6379 is not a primary"),
        (MadeUpRedis(copies=True, of=(THIRD, 6379)), f"the Redis at {FIRST}:6379 is not a primary"),
        (None, "[Errno 111] Connection refused"),
    ],
    ids=["copies this one", "copies another", "is away"],
)
def test_only_a_primary_is_copied(
    run: Run, network: Network, redis: MadeUpRedis, sentinel: MadeUpSentinel, other: MadeUpRedis | None, words: str
) -> None:
    redis.of = None
    network.pop((FIRST, 6379))
    if other:
        network[FIRST, 6379] = other
    # A dry run does not need this to determine the commands for this Redis.
    assert run(check=True)["changed"]
    found = run()
    assert (found["failed"], found["msg"]) == (True, SENTENCE.format(words))
    assert redis.changed == []
    # A Redis that is already a replica queries no other.
    redis.of = (THIRD, 6379)
    assert not run()["changed"]


@pytest.mark.parametrize("of", [(FIRST, 6379), (THIRD, 6379), ("192.0.2.9", 7000)])
def test_a_replica_is_left_alone(run: Run, redis: MadeUpRedis, sentinel: MadeUpSentinel, of: tuple[str, int]) -> None:
    redis.of = of
    assert not run()["changed"]
    assert redis.changed == []


@pytest.mark.parametrize("copies", [False, True])
def test_the_primary_is_left_alone(run: Run, redis: MadeUpRedis, sentinel: MadeUpSentinel, copies: bool) -> None:
    redis.of = (FIRST, 6379) if copies else None
    sentinel.primary = (HERE, 6379)
    # Who began as the primary does not matter by now.
    assert not run()["changed"]
    assert redis.changed == []


def test_another_redis_of_this_server_is_not_this_one(
    run: Run, network: Network, redis: MadeUpRedis, sentinel: MadeUpSentinel
) -> None:
    network[HERE, 7000] = MadeUpRedis()
    redis.of, sentinel.primary = None, (HERE, 7000)
    run()
    assert redis.changed == [("REPLICAOF", HERE, "7000"), *KILLS]


def test_who_is_to_begin_is_left_alone(run: Run, redis: MadeUpRedis) -> None:
    redis.of = None
    run(primary={"host": HERE, "port": 6379})
    assert not run(primary={"host": HERE, "port": 6379})["changed"]
    assert redis.changed == []


@pytest.mark.parametrize(
    ("say", "followed"),
    [
        # This server's own before the others, and any of them before what the run has.
        ({HERE: (THIRD, 7000), FIRST: (FIRST, 6379), THIRD: (FIRST, 6379)}, (THIRD, 7000)),
        ({FIRST: (THIRD, 7000), THIRD: (FIRST, 6379)}, (THIRD, 7000)),
        ({HERE: None, THIRD: (THIRD, 7000)}, (THIRD, 7000)),
        ({HERE: None, FIRST: None, THIRD: (THIRD, 7000)}, (THIRD, 7000)),
        ({HERE: None, FIRST: None, THIRD: None}, (FIRST, 6379)),
        ({}, (FIRST, 6379)),
    ],
    ids=str,
)
@pytest.mark.parametrize("words", [False, True])
def test_who_says_which_is_the_primary(
    run: Run,
    network: Network,
    redis: MadeUpRedis,
    say: dict[str, tuple[str, int] | None],
    followed: tuple[str, int],
    words: bool,
) -> None:
    redis.of = None
    network[THIRD, 7000] = MadeUpRedis()
    for address, primary in say.items():
        sentinel = MadeUpSentinel(primary, opens=[sums("forPortal")])
        network[address, 26379] = sentinel
        if words and primary is None:
            sentinel.errors["SENTINEL GET-MASTER"] = [RedisError(NO_MASTER)] * 2
    assert run()["changed"]
    assert redis.changed == [("REPLICAOF", followed[0], str(followed[1])), *KILLS]


def test_one_that_refuses_to_say_is_passed_by(run: Run, network: Network, redis: MadeUpRedis) -> None:
    redis.of = None
    network[FIRST, 26379] = MadeUpSentinel()
    network[FIRST, 26379].errors["SENTINEL GET-MASTER"] = [RedisError("NOAUTH Authentication required.")]
    network[THIRD, 26379] = MadeUpSentinel((THIRD, 6379))
    network[THIRD, 6379] = MadeUpRedis()
    run()
    assert redis.changed[0] == ("REPLICAOF", THIRD, "6379")


# --- another server has its place -----------------------------------------------------------------------------------


@pytest.fixture
def clock(run: Run, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The module's time."""
    clock = Clock()
    monkeypatch.setattr(redis_sentinel, "time", clock)
    return clock


@pytest.fixture
def served(redis: MadeUpRedis, sentinel: MadeUpSentinel) -> None:
    """This server's Redis is the primary, and the third one is the next."""
    redis.of, sentinel.primary, sentinel.next = None, (HERE, 6379), (THIRD, 6379)


FAILOVER = ("SENTINEL", "FAILOVER", "tethys-channels")
COPY_THIRD = [("REPLICAOF", THIRD, "6379"), *KILLS]


@pytest.mark.usefixtures("served")
def test_another_server_takes_its_place(
    run: Run, folder: Path, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel
) -> None:
    before = files(folder)
    keep(folder, password="new")
    assert run(hand_over=True, image="redis:8.4", down_seconds=7) == {"changed": True}
    assert sentinel.changed == [FAILOVER]
    assert redis.changed == COPY_THIRD
    assert clock.slept == []
    assert files(folder) == before, "It does nothing else."
    assert run(hand_over=True) == {"changed": False}
    assert (sentinel.changed, redis.changed) == ([FAILOVER], COPY_THIRD)


@pytest.mark.usefixtures("served")
def test_a_dry_run_hands_nothing_over(run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel) -> None:
    redis.copies = []
    assert run(check=True, hand_over=True) == {"changed": True}
    assert (sentinel.changed, redis.changed, clock.slept) == ([], [], [])


@pytest.mark.parametrize("primary", [(FIRST, 6379), (HERE, 7000)])
@pytest.mark.parametrize("check", [False, True])
def test_who_is_not_the_primary_hands_nothing_over(
    run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel, primary: tuple[str, int], check: bool
) -> None:
    redis.of, redis.copies, sentinel.primary = None, [], primary
    assert run(check=check, hand_over=True) == {"changed": False}
    assert (sentinel.changed, redis.seen, clock.slept) == ([], [], [])


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("before", [[], ["online"], ["online", "wait_bgsave"], ["send_bulk", "online"]])
def test_the_others_have_a_copy_first(
    run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel, before: list[str]
) -> None:
    redis.copies = before
    sent: list[Any] = []

    def copied() -> None:
        sent.extend(sentinel.changed)
        redis.copies = ["online", "online"]

    clock.then = [lambda: sent.extend(sentinel.changed), copied]
    assert run(hand_over=True)["changed"]
    assert (len(clock.slept), sent) == (2, [])
    assert (sentinel.changed, redis.changed) == ([FAILOVER], COPY_THIRD)


@pytest.mark.usefixtures("served")
def test_where_no_other_server_is_fit_it_asks_again(
    run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel
) -> None:
    sentinel.errors["SENTINEL FAILOVER"] = [RedisError("NOGOODSLAVE No suitable replica to promote")] * 2
    assert run(hand_over=True)["changed"]
    assert (sentinel.changed, len(clock.slept)) == ([FAILOVER] * 3, 2)
    assert redis.changed == COPY_THIRD


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("between", [(HERE, 6379), None])
def test_it_follows_when_there_is_another(
    run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel, between: tuple[str, int] | None
) -> None:
    sentinel.next = None
    seen: list[Any] = []

    def other() -> None:
        seen.extend(redis.changed)
        sentinel.primary = (THIRD, 6379)

    clock.then = [lambda: setattr(sentinel, "primary", between), other]
    assert run(hand_over=True)["changed"]
    assert (seen, len(clock.slept)) == ([], 2)
    assert (sentinel.changed, redis.changed) == ([FAILOVER], COPY_THIRD)


@pytest.fixture
def others(network: Network, served: None) -> list[MadeUpSentinel]:
    """The Sentinels of the two other servers."""
    found = [MadeUpSentinel((HERE, 6379)), MadeUpSentinel((HERE, 6379))]
    for address, one in zip((FIRST, THIRD), found):
        network[address, 26379] = one
        one.next = (THIRD, 6379)
    return found


@pytest.mark.parametrize(
    ("away", "asked"),
    [((), 0), ((HERE,), 1), ((HERE, FIRST), 2)],
)
def test_any_sentinel_hands_over(
    run: Run,
    network: Network,
    clock: Clock,
    redis: MadeUpRedis,
    sentinel: MadeUpSentinel,
    others: list[MadeUpSentinel],
    away: tuple[str, ...],
    asked: int,
) -> None:
    for address in away:
        del network[address, 26379]
    assert run(hand_over=True) == {"changed": True}
    # Its own first, and no second one.
    told = [each.changed for each in (sentinel, *others)]
    assert told == [[FAILOVER] if number == asked else [] for number in range(3)]
    assert (redis.changed, clock.slept) == (COPY_THIRD, [])


@pytest.mark.usefixtures("served")
def test_where_no_sentinel_answers_nothing_is_handed_over(
    run: Run, network: Network, clock: Clock, redis: MadeUpRedis
) -> None:
    del network[HERE, 26379]
    found = run(hand_over=True, primary={"host": HERE, "port": 6379})
    assert (found["failed"], found["msg"]) == (True, SENTENCE.format("[Errno 111] Connection refused"))
    assert (redis.changed, clock.slept) == ([], [])


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("error", [OSError("timed out"), RedisError("WRONGPASS"), None], ids=str)
def test_a_redis_that_lets_nobody_in_is_no_obstacle(
    run: Run,
    network: Network,
    clock: Clock,
    redis: MadeUpRedis,
    sentinel: MadeUpSentinel,
    error: Exception | None,
) -> None:
    # It is replaced next, which puts that right; Sentinel makes it a copy then.
    if error:
        redis.errors.update(dict.fromkeys(("INFO", "REPLICAOF"), [error] * 9))
    else:
        del network[HERE, 6379]
    assert run(hand_over=True) == {"changed": True}
    assert (sentinel.changed, clock.slept) == ([FAILOVER], [])


SENTENCE = (
    f"Sentinel on {HERE} could not be configured ({{}}). Check that the containers of Redis and of Sentinel run on"
    " all servers of the group, and run again."
)


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("what", "words", "sent"),
    [
        ("copies", "not all other servers have a copy after 40 s", []),
        ("fit", "Sentinel finds no other server fit after 40 s", [FAILOVER]),
        ("other", "no other server was the primary after 40 s", [FAILOVER]),
    ],
)
def test_it_does_not_wait_for_ever(
    run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel, what: str, words: str, sent: list[Any]
) -> None:
    if what == "copies":
        redis.copies = ["online"]
    if what == "fit":
        sentinel.errors["SENTINEL FAILOVER"] = [RedisError("NOGOODSLAVE")] * 1000
    if what == "other":
        sentinel.next = None
    found = run(hand_over=True)
    assert (found["failed"], found["msg"]) == (True, SENTENCE.format(words))
    assert 40 < clock.now - 1000 < 41
    assert list(dict.fromkeys(sentinel.changed)) == sent
    assert redis.changed == []


@pytest.mark.usefixtures("served")
def test_another_answer_ends_it(run: Run, clock: Clock, redis: MadeUpRedis, sentinel: MadeUpSentinel) -> None:
    sentinel.errors["SENTINEL FAILOVER"] = [RedisError("INPROG Failover already in progress")]
    found = run(hand_over=True)
    assert found["msg"] == SENTENCE.format("INPROG Failover already in progress")
    assert (clock.slept, sentinel.changed, redis.changed) == ([], [FAILOVER], [])


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_redis_that_is_not_there(run: Run, network: Network) -> None:
    network.clear()
    found = run()
    assert (found["failed"], found["msg"]) == (True, SENTENCE.format("[Errno 111] Connection refused"))


def test_a_redis_that_refuses(run: Run, redis: MadeUpRedis) -> None:
    redis.errors["ROLE"] = [RedisError("NOPERM this user has no permissions to run the 'role' command")]
    assert run()["msg"] == SENTENCE.format("NOPERM this user has no permissions to run the 'role' command")


def test_a_folder_that_is_not_there(run: Run, folder: Path) -> None:
    (folder / "sentinel").rmdir()
    found = run()
    assert found["failed"]
    assert found["msg"].startswith(f"Sentinel on {HERE} could not be configured ([Errno 2] No such")
    assert found["msg"].endswith(", and run again.")


def test_another_run_is_waited_for_and_not_for_ever(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_sentinel, "alone", functools.partial(alone, seconds=-1))
    with alone(folder):
        assert run()["msg"].startswith("Another run is changing this server")
    assert files(folder) == {}

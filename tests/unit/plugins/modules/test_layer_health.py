# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What layer_health reads of servers that only talk like Redis, of a made-up Supervisor, and of files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator
from unittest.mock import ANY

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.redis import figures
from ansible_collections.tethys.channels.plugins.modules import layer_health

Start = Callable[..., Any]
INFO = """# Server\r
redis_version:7.0.15\r
uptime_in_seconds:50\r
# Clients\r
connected_clients:5\r
maxclients:10000\r
# Memory\r
used_memory:1048576\r
maxmemory:201326592\r
# Stats\r
rejected_connections:2\r
evicted_keys:1\r
# Errorstats\r
errorstat_ERR:count=7\r
errorstat_OOM:count=3\r
"""


def teach(fake: Any, info: str = INFO, counts: dict[str, int] | None = None) -> None:
    """Make a fake Redis return figures and count the messages of its keys."""
    plain = fake.answer

    def answer(command: str, words: list[str]) -> bytes:
        if command == "INFO":
            assert words == ["INFO", "all"], "Redis 5 knows no other word for the whole."
            return b"$%d\r\n%s\r\n" % (len(info), info.encode())
        if command == "ZCOUNT":
            return b":%d\r\n" % (counts or {}).get(words[1], 0)
        return bytes(plain(command, words))

    fake.answer = answer


@pytest.fixture
def run(run_module: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """The module, on a server without Supervisor and without Docker."""
    monkeypatch.setattr(layer_health.Supervisor, "state", lambda self: None)
    monkeypatch.setattr(asgi_record, "groups_lost_at", lambda name, engine: 0)

    def start(**arguments: Any) -> dict[str, Any]:
        result = run_module(layer_health.main, site_packages=str(tmp_path), state_dir=str(tmp_path), **arguments)
        assert result["changed"] is False
        health: dict[str, Any] = result["health"]
        return health

    return start


def keep(folder: Path) -> None:
    """The credentials as redis_settings keeps them."""
    (folder / "credentials.json").write_text(json.dumps({"password": "forPortal", "admin_password": "forRoot"}))


# --- Redis ----------------------------------------------------------------------------------------------------------


def test_no_redis_is_asked_where_there_is_none(run: Start) -> None:
    assert run()["redis"] == []


def test_the_figures_of_our_own(run: Start, redis: Start, tmp_path: Path) -> None:
    keep(tmp_path)
    fake, endpoint = redis(
        keys=["asgi:group:app", "asgispecific.a!", "asgispecific.a!$inflight", "asgispecific.b!", "asgiempty"]
    )
    teach(fake, counts={"asgi:group:app": 9, "asgispecific.a!": 2, "asgispecific.a!$inflight": 9, "asgispecific.b!": 1})
    fake.login = ANY  # what was sent is compared here
    (found,) = run(redis_container="redis", redis_endpoint={"host": "127.0.0.1", "port": endpoint["port"]})["redis"]
    assert [words[1:] for words in fake.seen if words[0] == "AUTH"] == [
        ["tethys_admin", "forRoot"],
        ["tethys", "forPortal"],
    ]
    assert found == {
        "place": f"127.0.0.1:{endpoint['port']}",
        "problem": None,
        "known": True,
        "version": "7.0.15",
        "watches": False,
        "primary": None,
        "copies": None,
        "uptime_seconds": 50,
        "used_memory": 1048576,
        "max_memory": 201326592,
        "clients": 4,
        "max_clients": 10000,
        "rejected_connections": 2,
        "evicted_keys": 1,
        "oom_errors": 3,
        "backlog": {"messages": 3, "channels": 2, "complete": True},
    }
    (scan,) = [words for words in fake.seen if words[0] == "SCAN"]
    assert scan[4:] == ["MATCH", "asgi*"]
    asked = {words[0] for words in fake.seen}
    assert asked == {"AUTH", "PING", "INFO", "SCAN", "ZCOUNT"}, "A look sends nothing else."


def test_our_own_without_a_port(run: Start, redis: Start, tmp_path: Path) -> None:
    keep(tmp_path)
    fake, endpoint = redis(path=tmp_path / "redis.sock", keys=["asgispecific.a!"])
    teach(fake, counts={"asgispecific.a!": 2})
    fake.login = ANY
    (found,) = run(redis_container="redis", redis_endpoint=endpoint)["redis"]
    assert (found["place"], found["problem"], found["known"]) == (str(tmp_path / "redis.sock"), None, True)
    assert found["backlog"] == {"messages": 2, "channels": 1, "complete": True}
    # The figures are root's to ask for, the messages the portal's.
    assert [words[1] for words in fake.seen if words[0] == "AUTH"] == ["tethys_admin", "tethys"]
    (gone,) = run(redis_container="redis", redis_endpoint={"path": str(tmp_path / "none.sock")})["redis"]
    assert gone["problem"] == "cannot be reached ([Errno 2] No such file or directory)"
    assert gone["place"] == str(tmp_path / "none.sock")


def test_before_there_were_users_one_password_opens_everything(run: Start, redis: Start, tmp_path: Path) -> None:
    keep(tmp_path)
    fake, endpoint = redis(password="forPortal")
    teach(fake, info=INFO.replace("7.0.15", "5.0.14").replace("errorstat_OOM:count=3\r\n", ""))
    (found,) = run(redis_container="redis", redis_endpoint={"host": "127.0.0.1", "port": endpoint["port"]})["redis"]
    assert (found["version"], found["known"], found["problem"]) == ("5.0.14", True, None)
    assert found["oom_errors"] is None, "It does not count them."
    assert found["backlog"] == {"messages": 0, "channels": 0, "complete": True}


@pytest.mark.parametrize(
    ("content", "words"), [(None, "has no credentials in"), ("[]", "has no credentials in"), ("{", "has no")]
)
def test_without_credentials(run: Start, tmp_path: Path, content: str | None, words: str) -> None:
    if content:
        (tmp_path / "credentials.json").write_text(content)
    (found,) = run(redis_container="redis")["redis"]
    assert found["problem"].startswith(words)
    assert found["known"] is False


def test_credentials_that_are_refused(run: Start, redis: Start, tmp_path: Path) -> None:
    keep(tmp_path)
    _fake, endpoint = redis(user="other", password="other")
    (found,) = run(redis_container="redis", redis_endpoint={"host": "127.0.0.1", "port": endpoint["port"]})["redis"]
    assert found["problem"] == "refuses the login (WRONGPASS invalid username-password pair)"


def test_nobody_there(run: Start) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        (found,) = run(endpoints=[{"host": "127.0.0.1", "port": bound.getsockname()[1]}])["redis"]
    assert found["problem"] == "cannot be reached ([Errno 111] Connection refused)"


@pytest.mark.parametrize(
    ("refused", "known", "backlog"),
    [
        ((), True, {"messages": 5, "channels": 1, "complete": True}),
        (("INFO",), False, None),
        (("SCAN",), True, None),
        (("ZCOUNT",), True, None),
    ],
)
def test_a_given_one_that_tells_what_it_may(
    run: Start, redis: Start, refused: tuple[str, ...], known: bool, backlog: Any
) -> None:
    fake, endpoint = redis(keys=["mine.x"], user="u", password="p", refused=refused)
    teach(fake, counts={"mine.x": 5})
    (found,) = run(endpoints=[{**endpoint, "username": "u", "password": "p"}], prefix="mine")["redis"]
    assert (found["problem"], found["known"], found["backlog"]) == (None, known, backlog)


def test_the_backlog_is_not_looked_for_where_there_is_none(run: Start, redis: Start) -> None:
    fake, endpoint = redis(keys=["asgix"])
    teach(fake)
    (found,) = run(endpoints=[endpoint], backlog=False)["redis"]
    assert (found["known"], found["backlog"]) == (True, None)
    assert "SCAN" not in {words[0] for words in fake.seen}


def test_a_look_at_many_keys_ends(run: Start, redis: Start) -> None:
    fake, endpoint = redis(keys=[f"asgi{number}" for number in range(2500)])
    teach(fake, counts={"asgi0": 1, "asgi2400": 1})
    figures.MOST_KEYS, kept = 2000, figures.MOST_KEYS
    try:
        (found,) = run(endpoints=[endpoint])["redis"]
    finally:
        figures.MOST_KEYS = kept
    assert found["backlog"] == {"messages": 1, "channels": 1, "complete": False}


def test_a_prefix_means_itself(run: Start, redis: Start) -> None:
    fake, endpoint = redis()
    teach(fake)
    run(endpoints=[endpoint], prefix="a[b]*?")
    assert [words[5] for words in fake.seen if words[0] == "SCAN"] == ["a\\[b\\]\\*\\?*"]


def test_a_sentinel_is_no_redis(run: Start, redis: Start) -> None:
    fake, endpoint = redis()
    (found,) = run(endpoints=[{**endpoint, "sentinel": "primary"}])["redis"]
    assert (found["problem"], found["known"], fake.seen) == (None, False, [])


def bulk(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


def copies(*flags: str) -> bytes:
    rows = [bulk("name", f"r{number}", "flags", flag, "port", "6379") for number, flag in enumerate(flags)]
    return b"*%d\r\n" % len(rows) + b"".join(rows)


def says_of_primary(fake: Any, answer: bytes, replicas: bytes = copies("slave", "slave")) -> None:
    """Make a fake Redis answer as a Sentinel that reports the primary and its replicas."""

    def of_sentinel(command: str, words: list[str]) -> bytes:
        asked = {"GET-MASTER-ADDR-BY-NAME": answer, "REPLICAS": replicas}
        assert (words[0], words[2:]) == ("SENTINEL", ["tethys-channels"])
        return asked[words[1]]

    fake.answer = of_sentinel


WATCHES = {"sentinel": "tethys-channels", "inventory_name": "redis1", "username": "tethys", "password": "forPortal"}


@pytest.mark.parametrize(
    ("answer", "primary", "problem"),
    [
        (b"*2\r\n$9\r\n192.0.2.5\r\n$4\r\n6379\r\n", "192.0.2.5:6379", None),
        (b"*2\r\n$9\r\n192.0.2.7\r\n$4\r\n7000\r\n", "192.0.2.7:7000", None),
        (b"*-1\r\n", None, "watches no primary"),
        (b"-ERR No such master with that name\r\n", None, "watches no primary"),
        (b"-LOADING not yet\r\n", None, "does not answer (LOADING not yet)"),
        (b"*2\r\n$9\r\n192.0.2.5\r\n$2\r\nno\r\n", None, "does not answer (what answers there does not speak"),
    ],
)
def test_a_sentinel_tells_where_the_primary_is(
    run: Start, redis: Start, answer: bytes, primary: str | None, problem: str | None
) -> None:
    fake, endpoint = redis(user="tethys", password="forPortal")
    says_of_primary(fake, answer)
    (found,) = run(endpoints=[{**endpoint, **WATCHES}])["redis"]
    assert found["place"] == f"127.0.0.1:{endpoint['port']} (redis1)"
    assert (found["watches"], found["primary"]) == (True, primary)
    assert (found["problem"] or "").startswith(problem or "")
    assert (found["problem"] is None) is (problem is None)
    # It has no figures.
    assert (found["known"], found["version"], found["uptime_seconds"], found["backlog"]) == (False, None, None, None)
    assert found["copies"] == (2 if primary else None)
    asked = ["GET-MASTER-ADDR-BY-NAME", "REPLICAS"] if primary else ["GET-MASTER-ADDR-BY-NAME"]
    assert [words[0] for words in fake.seen] == ["AUTH", *["SENTINEL"] * len(asked)]
    assert [words[1] for words in fake.seen[1:]] == asked


AT_FIRST = bulk("192.0.2.5", "6379")


@pytest.mark.parametrize(
    ("flags", "number"),
    [
        ((), 0),
        (("slave",), 1),
        (("slave", "slave", "slave", "slave"), 4),
        # One that went away is remembered for ever.
        (("s_down,slave,disconnected", "slave", "slave,disconnected"), 1),
        (("o_down,slave", "s_down,slave"), 0),
    ],
)
def test_how_many_copies_a_sentinel_sees(run: Start, redis: Start, flags: tuple[str, ...], number: int) -> None:
    fake, endpoint = redis(user="tethys", password="forPortal")
    says_of_primary(fake, AT_FIRST, copies(*flags))
    (found,) = run(endpoints=[{**endpoint, **WATCHES}])["redis"]
    assert (found["copies"], found["problem"], found["primary"]) == (number, None, "192.0.2.5:6379")


def test_a_sentinel_that_does_not_tell_the_copies(run: Start, redis: Start) -> None:
    fake, endpoint = redis(user="tethys", password="forPortal")
    says_of_primary(fake, AT_FIRST, b"-NOPERM may not\r\n")
    (found,) = run(endpoints=[{**endpoint, **WATCHES}])["redis"]
    assert (found["problem"], found["primary"], found["copies"]) == ("does not answer (NOPERM may not)", None, None)


def test_a_sentinel_that_does_not_let_the_portal_in(run: Start, redis: Start) -> None:
    _fake, endpoint = redis(user="tethys", password="old")
    (found,) = run(endpoints=[{**endpoint, **WATCHES}])["redis"]
    assert (found["watches"], found["primary"]) == (True, None)
    assert found["problem"] == "does not answer (WRONGPASS invalid username-password pair)"


def test_a_sentinel_that_is_silent(run: Start, redis: Start) -> None:
    fake, endpoint = redis(user="tethys", password="forPortal")
    says_of_primary(fake, b"*2\r\n$9\r\n192.0.2.5\r\n$4\r\n6379\r\n")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        gone = {**WATCHES, "host": "127.0.0.1", "port": bound.getsockname()[1], "inventory_name": "redis2"}
        found = run(endpoints=[gone, {**endpoint, **WATCHES}])["redis"]
    assert [row["problem"] for row in found] == ["does not answer ([Errno 111] Connection refused)", None]
    assert [row["primary"] for row in found] == [None, "192.0.2.5:6379"]
    assert [row["watches"] for row in found] == [True, True]


def test_a_sentinel_of_somebody_else_is_not_asked(run: Start, redis: Start) -> None:
    fake, endpoint = redis()
    theirs = {**WATCHES, "inventory_name": None}
    (found,) = run(endpoints=[{**endpoint, **theirs}])["redis"]
    assert (found["watches"], found["primary"], found["problem"], fake.seen) == (False, None, None, [])


def test_what_tells_only_half_is_not_known(run: Start, redis: Start) -> None:
    fake, endpoint = redis()
    teach(fake, info="redis_version:9.9.9\r\nconnected_clients:3\r\n")
    (found,) = run(endpoints=[endpoint])["redis"]
    assert (found["known"], found["version"], found["oom_errors"]) == (False, "9.9.9", 0)


# --- processes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def child() -> Iterator[int]:
    """A process that only waits."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


def supervisor_row(pid: int, state: str = "RUNNING", name: str = "tethys_asgi0", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "group": "asgi",
        "statename": state,
        "pid": pid,
        "stdout_logfile": "/l",
        "spawnerr": "",
        **more,
    }


def test_a_process_that_runs(child: int, tmp_path: Path) -> None:
    sources = asgi_record.Sources([], str(tmp_path))
    key = str(layer_health.proc.process_key(child))
    (found,) = layer_health.read_processes([supervisor_row(child)], sources, {key: sources.sum}, lambda k, age: None)
    assert 0 <= found.pop("age_seconds") < 30
    assert found.pop("user")
    # An interpreter that imports nothing; it has accepted nothing.
    assert 2**20 < found.pop("memory_bytes") < 2**30
    assert found == {
        "name": "asgi:tethys_asgi0", "group": "asgi", "state": "RUNNING", "pid": child, "log": "/l", "frozen": False,
        "connections": 0, "outdated": False, "before_redis": None, "problem": None,
    }  # fmt: skip


@pytest.mark.parametrize("recorded", [True, False])
def test_a_process_that_runs_with_something_older(child: int, tmp_path: Path, recorded: bool) -> None:
    file = tmp_path / "portal_config.yml"
    file.write_text("changed")
    later = time.time() + 100
    os.utime(file, (later, later))
    sources = asgi_record.Sources([str(file)], str(tmp_path))
    record = {str(layer_health.proc.process_key(child)): "other"} if recorded else {}
    (found,) = layer_health.read_processes([supervisor_row(child)], sources, record, lambda k, age: None)
    assert found["outdated"] is True


def test_a_process_that_a_signal_stopped(child: int, tmp_path: Path) -> None:
    os.kill(child, 19)
    end = time.monotonic() + 5
    while layer_health.proc.describe(child, 0).state != "T" and time.monotonic() < end:  # type: ignore[union-attr]
        time.sleep(0.01)
    rows = [supervisor_row(child)]
    (found,) = layer_health.read_processes(rows, asgi_record.Sources([], str(tmp_path)), {}, lambda k, age: True)
    assert (found["frozen"], found["before_redis"]) == (True, True)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (supervisor_row(0, "STOPPED", description="Nov 22 11:00 AM"), "Nov 22 11:00 AM"),
        (supervisor_row(0, "FATAL", spawnerr="can't find command", description="x"), "can't find command"),
        (supervisor_row(2**30, description="pid 7, uptime 0:01"), None),
    ],
)
def test_a_process_that_is_gone(tmp_path: Path, row: dict[str, Any], problem: str | None) -> None:
    (found,) = layer_health.read_processes([row], asgi_record.Sources([], str(tmp_path)), {}, lambda k, age: True)
    assert (found["pid"], found["problem"]) == (row["pid"] or None, problem)
    assert [found[name] for name in ("user", "frozen", "outdated", "before_redis")] == [None] * 4


@pytest.mark.parametrize(("redis_age", "older"), [(10**6, False), (0, True), (None, None)])
def test_a_process_older_than_a_given_redis(
    run: Start, redis: Start, monkeypatch: pytest.MonkeyPatch, redis_age: int | None, older: bool | None
) -> None:
    monkeypatch.setattr(layer_health.Supervisor, "state", lambda self: {"version": "4.2.5", "pid": 1})
    monkeypatch.setattr(layer_health, "supervised", lambda *_given: [supervisor_row(os.getpid())])
    real = layer_health.proc.describe
    # However young this process is.
    monkeypatch.setattr(layer_health.proc, "describe", lambda pid, port: real(pid, port)._replace(age_seconds=100.0))  # type: ignore[union-attr]
    fake, endpoint = redis(refused=("INFO",) if redis_age is None else ())
    teach(fake, info=INFO.replace("seconds:50", f"seconds:{redis_age}"))
    found = run(endpoints=[endpoint])
    assert found["supervisor"]["running"] is True
    assert found["processes"][0]["before_redis"] is older


@pytest.mark.parametrize(("ahead", "older"), [(100.0, True), (-(10**9), False)])
def test_a_process_older_than_the_container(
    run: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ahead: float, older: bool
) -> None:
    monkeypatch.setattr(layer_health.Supervisor, "state", lambda self: {"version": "4.2.5", "pid": 1})
    monkeypatch.setattr(layer_health, "supervised", lambda *_given: [supervisor_row(os.getpid())])
    monkeypatch.setattr(asgi_record, "groups_lost_at", lambda name, engine: time.time() + ahead)
    assert run(redis_container="redis")["processes"][0]["before_redis"] is older


def test_supervisors_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [("asgi", "tethys_asgi10"), ("nginx", "nginx"), ("asgi", "tethys_asgi2"), ("tethys_asgi1", "tethys_asgi1")]

    class Rpc:
        def getAllProcessInfo(self) -> list[dict[str, str]]:
            return [{"group": group, "name": name} for group, name in names]

    supervisor = layer_health.Supervisor()
    monkeypatch.setattr(supervisor, "rpc", Rpc)
    found = layer_health.supervised(supervisor)
    assert found
    assert [row["name"] for row in found] == ["tethys_asgi1", "tethys_asgi2", "tethys_asgi10"]


def test_no_supervisor(run: Start) -> None:
    found = run()
    assert (found["supervisor"]["running"], found["supervisor"]["version"], found["processes"]) == (False, None, [])


@pytest.mark.parametrize(("text", "found"), [(None, None), ("401 \x1bUnauthorized", "401 Unauthorized")])
def test_why_the_watch_cannot_work(run: Start, tmp_path: Path, text: str | None, found: str | None) -> None:
    if text:
        (tmp_path / "watch_problem").write_text(text, encoding="utf-8")
    assert run()["watch_problem"] == found


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["text", None])
def test_nothing_there(run: Start, tmp_path: Path, content: str | None) -> None:
    path = str(tmp_path / "none")
    assert run(files=[{"path": path, "content": content, "mode": "0755"}])["differs"] == [
        {"path": path, "why": "does not exist"}
    ]

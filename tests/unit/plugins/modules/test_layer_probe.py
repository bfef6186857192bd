# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery check: the processes of a port, and what the results mean; with TETHYS_TEST_PYTHON a real portal."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import (
    asgi_record,
    boundary,
    portal_env,
    portal_wire,
)
from ansible_collections.tethys.channels.plugins.module_utils.delivery import front as delivery_front
from ansible_collections.tethys.channels.plugins.module_utils.delivery import messages, pages, sockets
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts, proc
from ansible_collections.tethys.channels.plugins.modules import layer_probe
from ansible_collections.tethys.channels.tests.unit.plugins.fake_front import FakeFront

ME = accounts.account_of(os.geteuid())
REDIS = "channels_redis.core.RedisChannelLayer"

# --- what the portal's side says ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "name"),
    [
        (["portal.example.org", "localhost"], "portal.example.org"),
        ([".example.org"], "example.org"),
        (["*"], "localhost"),
        ([], "localhost"),
        (["[::1]", "*", "a-b.c"], "a-b.c"),
        # What no certificate and no name server can have.
        (["a..b", "x" * 64, f"www.{'y' * 64}.org", "portal"], "portal"),
    ],
)
def test_host_name(allowed: list[str], name: str) -> None:
    assert portal_wire.host_name(allowed) == name


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": {"hosts": [("r", 1)]}}, {"a": {"hosts": [["r", 1]]}}, True),
        ({"a": 1, "b": b"key"}, {"b": "key", "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ({"a": "1"}, {"a": 1}, False),
    ],
)
def test_equal_settings(one: Any, other: Any, equal: bool) -> None:
    assert (portal_wire.plain(one) == portal_wire.plain(other)) is equal


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        ('closed uncleanly ("WebSocket connection upgrade failed [500]: Internal server error")', 500, "HTTP 500"),
        ('("WebSocket opening handshake timeout (peer did not finish)")', -1, "no answer within 3 seconds"),
        ("(peer dropped the TCP connection without previous handshake)", 0, "previous handshake)"),
        ("something else", -1, "something else"),
    ],
)
def test_the_reason_for_a_websocket_that_was_not_opened(reason: str, status: int, words: str) -> None:
    found, why = portal_wire.refusal(reason, 3)
    assert found == status
    assert why.endswith(words)


def test_only_the_secrets_of_the_setting_are_hidden() -> None:
    layers = {
        "default": {
            "BACKEND": REDIS,
            "CONFIG": {
                "hosts": [{"host": "127.0.0.1", "username": "tethys", "password": "pw-one"}, "redis://:pw-two@r:1"]
            },
        }
    }
    assert layer_probe.secret_values(layers) == {"pw-one", "pw-two", ":pw-two", "redis://:pw-two@r:1"}


# --- what is made of what was seen ------------------------------------------------------------------------------------


class Portal:
    """Plays the portal's side of a delivery check: three processes, two sockets in each unless said otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.about: dict[str, Any] = {
            "backend": REDIS,
            "settings_match": True,
            "versions": {"redis": "7.4.1"},
            "host": "portal.example.org",
            "prefix_url": "",
            "consumer": True,
            "sentinel": False,
            "short_reads": {},
        }
        self.pids = [11, 12, 13]
        self.state = "S"
        self.takes = {11: 2, 12: 2, 13: 2}
        self.failed: list[dict[str, Any]] = []
        self.fails_so_often = 99
        self.unreached: set[int] = set()
        self.send_problem: str | None = None
        self.dies: set[int] = set()
        self.age = 10.0
        self.losing: tuple[int, ...] = ()
        self.loses_at_once = False
        self.hears_again_after = 99
        self.warnings: list[str] = ["An odd script."]
        self.tokens: list[str] = []
        self._said: list[dict[str, Any]] = [self.about]
        self._owner: dict[int, int] = {}
        self._sends = 0
        monkeypatch.setattr(portal_env, "PortalProcess", lambda *_args, **_more: self)
        monkeypatch.setattr(proc, "accepting", lambda *_args: [self.process(pid) for pid in self.pids])
        monkeypatch.setattr(proc, "listening", lambda *_args: {})
        monkeypatch.setattr(proc, "still_there", lambda process: process.pid not in self.dies)
        monkeypatch.setattr(proc, "who_holds", lambda ends, _pids: {e: self._owner[e[1]] for e in ends})
        monkeypatch.setattr(time, "sleep", lambda _seconds: None)

    def process(self, pid: int) -> proc.Process:
        started = time.time() - self.age
        return proc.Process(pid, 8000, "www-data", pid, started, self.state, self.age, f"asgi:asgi{pid}", None)

    def __enter__(self) -> Portal:
        return self

    def __exit__(self, *_ignored: object) -> None:
        pass

    def receive(self, _deadline: float, schema: boundary.Schema) -> dict[str, Any]:
        return boundary.accept(json.dumps(self._said.pop(0)), schema)

    def send(self, command: dict[str, Any]) -> None:
        answer = getattr(self, command.pop("do"))(**command)
        if answer is not None:
            self._said.append(answer)

    def open(self, ports: dict[str, int], seconds: float) -> dict[str, Any]:
        opened = []
        for pid in self.pids:
            for _each in range(self.takes.get(pid, 0)):
                number = len(self._owner)
                self._owner[number] = pid
                opened.append({"id": number, "port": 8000, "local_port": number})
        self.fails_so_often -= 1
        return {"opened": opened, "failed": self.failed if self.fails_so_often >= 0 else []}

    def keep(self, ids: list[int]) -> dict[str, Any]:
        self._owner = {number: pid for number, pid in self._owner.items() if number in ids}
        return {"kept": len(ids)}

    def rest(self, seconds: float) -> dict[str, Any]:
        self._sends = 1
        return {"closed": self.closed()}

    def closed(self) -> dict[str, int]:
        first = {pid: number for number, pid in sorted(self._owner.items(), reverse=True)}
        dead = [first[pid] for pid in self.losing] if self._sends else []
        return {str(number): 1011 for number in dead}

    def greet(self, name: str, names: list[str], seconds: float) -> dict[str, Any]:
        # As a portal of that name, whose processes in `unreached` receive nothing from all others.
        all_of_them = list(self._owner)
        hearing = [number for number in all_of_them if self._owner[number] not in self.unreached]
        heard = {one: all_of_them if one == name else hearing for one in names}
        return {"problem": self.send_problem, "of": all_of_them, "heard": heard}

    def quit(self) -> None:
        return None


def message(portal: Portal, seconds: float) -> dict[str, Any]:
    # A socket that closes while its message is awaited was still open when it was sent.
    closed = portal.closed()
    portal.hears_again_after -= 1
    if portal.hears_again_after < 0:
        portal.unreached = set()
    of = [number for number in portal._owner if str(number) not in closed]
    heard = [] if portal.send_problem else [n for n in of if portal._owner[n] not in portal.unreached]
    if portal.loses_at_once:
        portal._sends = 1
        closed = portal.closed()
        heard = [n for n in heard if str(n) not in closed]
    return {
        "problem": portal.send_problem,
        "of": of,
        "received": {str(number): 0.01 for number in heard},
        "closed": closed,
    }


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Portal:
    played = Portal(monkeypatch)
    send = played.send

    def speak(command: dict[str, Any]) -> None:
        if command["do"] == "send":
            played._said.append(message(played, command["seconds"]))
        else:
            send(command)

    monkeypatch.setattr(played, "send", speak)
    return played


def prove(tmp_path: Path, **given: Any) -> dict[str, Any]:
    (tmp_path / "portal_config.yml").write_text("{}", encoding="utf-8")
    os.utime(tmp_path / "portal_config.yml", (time.time() - 1000,) * 2)
    defaults = {
        "prefix": "/env",
        "home": str(tmp_path),
        "user": ME.name,
        "host": "127.0.0.1",
        "ports": [8000],
        "processes": 3,
        "idle_seconds": 0,
        "idle_always": True,
        "expected_layers": None,
        "timeout": 30,
        "portal_name": "",
        "redis_container": "",
        "redis_engine": "docker",
        **dict.fromkeys(("settings_file", "name", "among", "word", "front", "url")),
    }
    return layer_probe.verify({**defaults, **given})


def failed(status: int, why: str = "") -> dict[str, Any]:
    return {"port": 8000, "status": status, "why": why or f"the portal answered HTTP {status}"}


REFUSED = [failed(500)] * 3
DROPPED = failed(0, "connection was closed uncleanly (peer dropped the TCP connection)")


def test_behind_sentinel_a_process_may_refuse_once(portal: Portal, tmp_path: Path) -> None:
    portal.about["sentinel"] = True
    # Two batches until each process holds enough.
    portal.failed, portal.fails_so_often = REFUSED, 2
    probe = prove(tmp_path)
    assert probe["ok"], probe["problems"]
    assert any(warning.startswith("6 of our first WebSockets were refused, and none") for warning in probe["warnings"])
    assert probe["sent"] == probe["received"] > 0


@pytest.mark.parametrize(
    ("version", "forgiven"),
    [
        ("8.1.0", True),
        ("10.0.0", True),
        ("8.0.1", False),
        ("7.4.1", False),
        ("8", False),
        ("x.y", False),
        (None, False),
    ],
)
def test_redis_py_that_uses_closed_connections_may_refuse_once(
    portal: Portal, tmp_path: Path, version: str | None, forgiven: bool
) -> None:
    portal.about["versions"] = {"redis": version}
    portal.failed, portal.fails_so_often = REFUSED, 2
    probe = prove(tmp_path)
    assert probe["ok"] is forgiven
    assert any("refused, and none after them" in warning for warning in probe["warnings"]) is forgiven


def test_a_process_that_subscribed_before_redis_restarted_may_refuse_once(portal: Portal, tmp_path: Path) -> None:
    """Whatever redis-py it has: while nothing is subscribed, the class does not read from that connection."""
    portal.about.update(backend="channels_redis.pubsub.RedisPubSubChannelLayer", versions={"redis": "8.0.1"})
    portal.failed, portal.fails_so_often = REFUSED, 2
    probe = prove(tmp_path)
    assert probe["ok"], probe["problems"]
    assert any("a process that nobody used since Redis restarted" in warning for warning in probe["warnings"])


@pytest.mark.parametrize("versions", [{"redis": "8.0.1"}, {"redis": "8.1.0"}])
@pytest.mark.parametrize(
    ("container", "seconds_ago", "forgiven"),
    [
        # The processes are 10 s old.
        ("redis", 5, True),
        ("redis", 60, False),
        ("redis", 0, True),
        # What is reached over a network loses connections also while it runs.
        ("", 60, True),
    ],
)
def test_a_refusal_is_forgiven_only_if_redis_started_after_the_process(
    portal: Portal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    container: str,
    seconds_ago: int,
    forgiven: bool,
    versions: dict[str, str],
) -> None:
    """A fault of the app that comes and goes has the same status."""
    started = time.time() - seconds_ago if seconds_ago else 0.0
    monkeypatch.setattr(asgi_record, "groups_lost_at", lambda name, _engine: started if name else 0.0)
    portal.about.update(backend="channels_redis.pubsub.RedisPubSubChannelLayer", versions=versions)
    portal.failed, portal.fails_so_often = REFUSED, 2
    assert prove(tmp_path, redis_container=container)["ok"] is forgiven


def test_a_layer_that_names_no_class_is_checked_all_the_same(portal: Portal, tmp_path: Path) -> None:
    """Its processes do not serve, which is what is said."""
    portal.about["backend"] = None
    portal.failed, portal.takes = [failed(500)], {}
    [first, *_rest] = prove(tmp_path)["problems"]
    assert "could not be opened: the portal answered HTTP 500" in first


@pytest.mark.parametrize("first", [[failed(403)], [DROPPED, DROPPED], [DROPPED, failed(403)]])
def test_a_busy_process_that_refuses_is_asked_again(portal: Portal, tmp_path: Path, first: list[Any]) -> None:
    portal.failed, portal.fails_so_often = first, 2
    probe = prove(tmp_path)
    assert probe["ok"], probe["problems"]
    start = f"{2 * len(first)} of our first WebSockets were refused, and none after them: daphne refuses a WebSocket"
    [warning] = [each for each in probe["warnings"] if "refused" in each]
    assert warning.startswith(start)
    assert "on a busy server (load " in warning


@pytest.mark.parametrize(("statuses", "is_ok"), [([0], True), ([403, 0], True), ([404], False), ([500, 0], False)])
def test_a_portal_too_busy_for_a_whole_batch(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statuses: list[int], is_ok: bool
) -> None:
    answer, takes = portal.open, portal.takes
    portal.takes, portal.fails_so_often = {}, 1
    portal.failed = [failed(status) for status in itertools.islice(itertools.cycle(statuses), 18)]

    def open_later(ports: dict[str, int], seconds: float) -> dict[str, Any]:
        found = answer(ports, seconds)
        portal.takes = takes
        return found

    monkeypatch.setattr(portal, "open", open_later)
    probe = prove(tmp_path)
    assert probe["ok"] is is_ok
    assert any(warning.startswith("18 of our first WebSockets") for warning in probe["warnings"]) is is_ok


def test_a_stale_connection_on_a_busy_server_has_both_causes(portal: Portal, tmp_path: Path) -> None:
    portal.about["sentinel"] = True
    portal.failed, portal.fails_so_often = [failed(403), *REFUSED], 2
    [warning] = [each for each in prove(tmp_path)["warnings"] if "refused" in each]
    assert "refuses once; daphne refuses" in warning


@pytest.mark.parametrize("first", [[failed(403), *REFUSED], [failed(403), failed(-1, "no route")], [failed(404)]])
def test_what_busy_does_not_explain_fails_at_once(portal: Portal, tmp_path: Path, first: list[Any]) -> None:
    portal.failed, portal.fails_so_often = first, 2
    assert not prove(tmp_path)["ok"]


def test_a_portal_that_goes_on_refusing_is_at_fault(portal: Portal, tmp_path: Path) -> None:
    portal.failed, portal.fails_so_often = [failed(403)], 3
    [problem] = prove(tmp_path)["problems"]
    assert problem.startswith("3 of our WebSockets to 127.0.0.1:8000 could not be opened: the portal answered HTTP 403")


def test_behind_sentinel_silence_is_no_refusal(portal: Portal, tmp_path: Path) -> None:
    portal.about["sentinel"] = True
    portal.failed, portal.fails_so_often = [failed(-1, "there was no answer within 10 seconds")], 1
    assert "there was no answer within 10 seconds" in prove(tmp_path)["problems"][0]


@pytest.mark.parametrize(("sentinel", "often"), [(True, 99), (False, 1), (False, 99)])
def test_a_process_that_refuses_more_often_is_told(portal: Portal, tmp_path: Path, sentinel: bool, often: int) -> None:
    portal.about["sentinel"] = sentinel
    portal.failed, portal.fails_so_often = REFUSED, often
    probe = prove(tmp_path)
    assert "could not be opened: the portal answered HTTP 500" in probe["problems"][0]
    assert not any("were refused" in warning for warning in probe["warnings"])


def test_behind_sentinel_each_process_has_to_take_one_again(portal: Portal, tmp_path: Path, monkeypatch: Any) -> None:
    portal.about["sentinel"] = True
    portal.failed, portal.fails_so_often = REFUSED, 2
    batches, opened = [], portal.open

    def open_some(ports: dict[str, int], seconds: float) -> dict[str, Any]:
        batches.append(ports)
        portal.takes = {11: 2, 12: 2, 13: 2} if len(batches) < 3 else {11: 2, 12: 2}
        return opened(ports, seconds)

    monkeypatch.setattr(portal, "open", open_some)
    problems = prove(tmp_path)["problems"]
    assert len(batches) == 2 + sockets.OPENED_PER_PROCESS // sockets.OPENED_AT_ONCE
    assert problems[0].startswith("6 of our WebSockets to 127.0.0.1:8000 could not be opened")


def test_behind_sentinel_a_process_that_takes_none_is_told(portal: Portal, tmp_path: Path) -> None:
    portal.about["sentinel"] = True
    portal.failed, portal.fails_so_often, portal.takes = REFUSED, 2, {11: 2, 12: 2}
    problems = " ".join(prove(tmp_path)["problems"])
    assert "could not be opened" in problems


def test_a_proof_that_holds(portal: Portal, tmp_path: Path) -> None:
    probe = prove(tmp_path, idle_seconds=7)
    assert probe["ok"], probe["problems"]
    assert probe["problems"] == []
    assert (probe["provable"], probe["reason"]) == (True, None)
    assert probe["sent"] == probe["received"] > 0
    assert [p["pid"] for p in probe["processes"]] == [11, 12, 13]
    assert all(p["sockets"] == p["received"] >= sockets.ENOUGH_PER_PROCESS for p in probe["processes"])
    assert probe["idle"]["of"] == probe["idle"]["alive"] == probe["idle"]["received"] == probe["sent"]
    assert probe["listeners"] == [{"port": 8000, "processes": 3}]
    assert probe["warnings"] == ["An odd script."]


@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        (
            {"unreached": {12}},
            {},
            ["process 12 (asgi:asgi12) on port 8000 got the message on 0 of its", "supervisorctl tail"],
        ),
        ({"unreached": {12}, "age": 5000.0}, {}, ["it was started before portal_config.yml was last changed"]),
        ({"takes": {11: 6, 12: 6}}, {}, ["process 13 (asgi:asgi13) on port 8000 took none of our WebSockets"]),
        ({"losing": (11, 13)}, {"idle_seconds": 7}, ["2 of ", "7 seconds of silence (code 1011)"]),
        ({"dies": {13}}, {}, ["process 13 (asgi:asgi13) on port 8000 ended during the delivery check"]),
        ({"state": "T"}, {}, ["is stopped (state T)"]),
        ({"pids": [11, 12]}, {}, ["3 ASGI processes are expected on 127.0.0.1:8000, and 2 are there."]),
        ({"pids": [11]}, {}, ["and 1 is there."]),
        ({"pids": []}, {"processes": 0}, ["Nothing listens on 127.0.0.1:8000."]),
        (
            {"send_problem": "ConnectionError: no"},
            {},
            ["Nothing can be sent through the channel layer", "ConnectionError"],
        ),
        (
            {"takes": {}, "failed": [failed(500)] * 18},
            {},
            ["18 of our WebSockets to 127.0.0.1:8000 could not be opened: the portal answered HTTP 500"],
        ),
    ],
)
def test_a_proof_that_fails(
    portal: Portal, tmp_path: Path, change: dict[str, Any], given: dict[str, Any], words: list[str]
) -> None:
    for name, value in change.items():
        setattr(portal, name, value)
    probe = prove(tmp_path, timeout=1, **given)
    assert not probe["ok"]
    for word in words:
        assert any(word in problem for problem in probe["problems"]), probe["problems"]


@pytest.mark.parametrize("more", [{}, {"name": "a", "among": ["a", "b"], "word": "w"}], ids=["alone", "among others"])
def test_where_no_process_serves_nothing_is_sent(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """Nobody could get it, and whoever listens in the place of Redis would get the portal's password with it."""
    portal.pids = []
    commands: list[str] = []
    send = portal.send
    monkeypatch.setattr(portal, "send", lambda command: commands.append(command["do"]) or send(command))
    probe = prove(tmp_path, processes=0, timeout=1, **more)
    assert commands == ["quit"]
    assert (probe["ok"], probe["problems"]) == (False, ["Nothing listens on 127.0.0.1:8000."])
    assert probe["among"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_stranger_on_the_portals_port_is_sent_nothing(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the portal is down, another user listens on its port, and perhaps on that of Redis."""
    # pytest closes its folders to other users; with several processes there is one more.
    for folder in [tmp_path, *tmp_path.parents]:
        if not folder.stat().st_mode & 0o077:
            folder.chmod(0o755)
    config = tmp_path / "portal_config.yml"
    commands: list[str] = []
    send = portal.send
    monkeypatch.setattr(portal, "send", lambda command: commands.append(command["do"]) or send(command))
    users = {11: 65534, 12: 65534, 13: None}
    monkeypatch.setattr(proc, "user_id", lambda pid: users[pid])
    config.write_text("{}", encoding="utf-8")
    config.chmod(0o600)
    portal.pids = [11, 12]
    probe = prove(tmp_path, processes=0)
    assert commands == ["quit"]
    assert probe["processes"] == []
    assert [each["code"] for each in probe["codes"]] == ["process-of-stranger"] * 2
    assert f"Process 11 on port 8000 is of user www-data, who cannot read {config}" in probe["problems"][0]
    # Who can read the settings has the password, and may well be the portal.
    config.chmod(0o644)
    portal._said = [portal.about]
    assert prove(tmp_path, processes=0)["ok"]


def test_a_message_that_is_lost_once_is_sent_again(portal: Portal, tmp_path: Path) -> None:
    portal.unreached = {12}
    portal.hears_again_after = 1
    probe = prove(tmp_path)
    assert probe["ok"], probe["problems"]
    assert probe["messages"] == 2
    assert probe["received"] == probe["sent"]
    assert any("It took 2 messages" in warning for warning in probe["warnings"])


def test_a_socket_that_closes_while_a_message_is_awaited(portal: Portal, tmp_path: Path) -> None:
    portal.losing = (12,)
    portal.loses_at_once = True
    probe = prove(tmp_path)
    assert not probe["ok"]
    assert "process 12 (asgi:asgi12) on port 8000 got the message on" in probe["problems"][0]


def test_among_portals_that_hear_each_other(portal: Portal, tmp_path: Path) -> None:
    probe = prove(tmp_path, processes=0, name="a", among=["a", "b"], word="w")
    assert probe["ok"]
    # Three sockets in each process are tried for.
    assert probe["among"]["heard"] == dict.fromkeys("ab", probe["among"]["sockets"])
    assert probe["among"]["sockets"] >= 6
    assert probe["messages"] == 0


def test_among_portals_one_of_which_is_not_heard(portal: Portal, tmp_path: Path) -> None:
    portal.unreached = {11, 12, 13}
    probe = prove(tmp_path, processes=0, name="a", among=["a", "b"], word="w")
    assert probe["among"]["heard"]["b"] == 0
    [problem] = probe["problems"]
    assert f"What b sends reached 0 of {probe['among']['sockets']} WebSockets on a" in problem


def test_among_portals_without_a_layer(portal: Portal, tmp_path: Path) -> None:
    portal.send_problem = "TimeoutError"
    probe = prove(tmp_path, processes=0, name="a", among=["a"], word="w")
    assert "Nothing can be sent through the channel layer with the settings of a: TimeoutError." in probe["problems"]


SHORT = (
    "CHANNEL_LAYERS.{} ends a read after 5 s (redis-py 8.1.0), and its class waits in one for 5 s, so that idle"
    " WebSockets are closed with code 1011. Set socket_timeout to 15 in each of its hosts."
)


def test_a_short_read_is_named_after_a_silence(portal: Portal, tmp_path: Path) -> None:
    portal.about.update(versions={"redis": "8.1.0"}, short_reads={"default": 5.0, "tribs": 5.0})
    portal.losing = (11,)
    probe = prove(tmp_path, idle_seconds=7)
    assert probe["problems"][1] == SHORT.format("default")
    assert SHORT.format("tribs") in probe["warnings"]
    assert SHORT.format("default") not in probe["warnings"]
    assert probe["idle"]["close_codes"] == {"1011": 1}
    assert probe["idle"]["alive"] == probe["idle"]["of"] - 1


def test_a_short_read_is_named_before_it_does_harm(portal: Portal, tmp_path: Path) -> None:
    portal.about.update(versions={"redis": "8.1.0"}, short_reads={"tribs": 5.0})
    probe = prove(tmp_path)
    assert probe["ok"]
    assert SHORT.format("tribs") in probe["warnings"]


def test_redis_8_alone_is_no_reason(portal: Portal, tmp_path: Path) -> None:
    portal.about["versions"] = {"redis": "8.1.0"}
    portal.losing = (11,)
    [problem] = prove(tmp_path, idle_seconds=7)["problems"]
    assert "closed during 7 seconds of silence" in problem


@pytest.mark.parametrize(
    ("about", "silent"),
    [
        ({}, False),
        ({"backend": "channels_redis.pubsub.RedisPubSubChannelLayer"}, False),
        ({"short_reads": {"tribs": 5.0}}, False),
        ({"short_reads": {"default": 5.0}}, True),
        ({"backend": "somebody.RedisChannelLayer"}, True),
    ],
)
def test_silence_only_where_it_may_do_harm(portal: Portal, tmp_path: Path, about: dict[str, Any], silent: bool) -> None:
    portal.about.update(backend=portal_wire.CORE)
    portal.about.update(about)
    assert (prove(tmp_path, idle_seconds=7, idle_always=False)["idle"] is not None) is silent


def test_silence_that_was_asked_for(portal: Portal, tmp_path: Path) -> None:
    portal.about["backend"] = portal_wire.CORE
    assert prove(tmp_path, idle_seconds=7)["idle"] is not None


# --- through the web server in front ----------------------------------------------------------------------------------


@pytest.fixture
def front(portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFront]:
    """A web server that gets each message that the portal sends."""
    found, send = FakeFront(tmp_path), portal.send
    monkeypatch.setattr(delivery_front, "direct_status", lambda *_args: 200)
    # What arrives does so in a thread, and the machine may be busy.
    monkeypatch.setattr(messages, "ARRIVAL_SECONDS", 60)

    def speak(command: dict[str, Any]) -> None:
        if command["do"] == "send" and not portal.send_problem:
            portal.tokens.append(f"token {len(portal.tokens)}")
            found.say(portal.tokens[-1], *found.gets)
        send(command)

    monkeypatch.setattr(portal, "send", speak)
    yield found
    found.close()


def through(front: FakeFront, **changes: Any) -> dict[str, Any]:
    """The option for that web server."""
    given = {"called": "nginx", "address": "127.0.0.1", "port": front.place.port, "tls": False, "name": ""}
    return {**given, "fix": "Add a line.", "closes_after": None, **changes}


def test_a_front_that_is_right(portal: Portal, front: FakeFront, tmp_path: Path) -> None:
    portal.about["prefix_url"] = "tethys"
    probe = prove(tmp_path, front=through(front), idle_seconds=7, word="abc")
    assert probe["ok"], probe["problems"]
    at = f"http://portal.example.org:{front.place.port}/tethys/"
    # Two for each process.
    assert probe["front"] == {"at": at, "through": "nginx", "page": 200, "sockets": 6, "received": 6}
    assert probe["messages"] == len(portal.tokens) == 2
    paths = {request.split()[1] for request in front.requests}
    assert paths == {"/tethys/", "/tethys/ws/app-lifecycle/layer_probe_abc/"}


def test_a_name_of_the_site_is_asked_for(portal: Portal, front: FakeFront, tmp_path: Path) -> None:
    assert prove(tmp_path, front=through(front, name="www.example.org"))["ok"]
    assert all(f"Host: www.example.org:{front.place.port}\r\n" in request for request in front.requests)


def test_a_front_that_leads_to_another_portal(
    portal: Portal, front: FakeFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.gets = [0]
    # What does not arrive is waited for.
    monkeypatch.setattr(messages, "ARRIVAL_SECONDS", 0.5)
    probe = prove(tmp_path, front=through(front))
    assert [row["code"] for row in probe["codes"]] == ["front-message-not-received"]
    assert probe["messages"] == messages.MESSAGES
    assert (probe["front"]["sockets"], probe["front"]["received"]) == (6, 1)


def test_a_front_without_websockets(portal: Portal, front: FakeFront, tmp_path: Path) -> None:
    front.socket = 404
    probe = prove(tmp_path, front=through(front))
    assert probe["problems"] == ["A WebSocket through nginx could not be opened: HTTP 404. Add a line."]
    assert (probe["sent"], probe["messages"]) == (probe["received"], 1)


def test_what_the_processes_miss_is_not_the_fronts_fault(
    portal: Portal, front: FakeFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "ARRIVAL_SECONDS", 0.5)
    portal.unreached, front.gets = {12}, [0]
    probe = prove(tmp_path, front=through(front))
    assert {row["code"] for row in probe["codes"]} == {"message-not-received"}


def test_where_no_process_serves_the_front_is_not_asked(portal: Portal, front: FakeFront, tmp_path: Path) -> None:
    portal.pids = []
    probe = prove(tmp_path, front=through(front), processes=0, timeout=1)
    assert (probe["front"], front.requests) == (None, [])


@pytest.mark.parametrize(
    ("change", "asks"),
    [({"failed": REFUSED}, False), ({"state": "T"}, False), ({"pids": [11, 12]}, True)],
    ids=["refused", "stopped", "fewer"],
)
def test_where_the_processes_are_at_fault_the_front_is_not_asked(
    portal: Portal, front: FakeFront, tmp_path: Path, change: dict[str, Any], asks: bool
) -> None:
    for name, value in change.items():
        setattr(portal, name, value)
    probe = prove(tmp_path, front=through(front), timeout=1)
    assert bool(front.requests) is asks
    assert bool(probe["front"]) is asks
    assert not [row for row in probe["codes"] if row["code"].startswith("front-")]


def test_a_portal_without_the_consumer_has_a_page(
    portal: Portal, front: FakeFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal.about["consumer"], front.page = False, 502
    monkeypatch.setattr(pages, "request_pages", lambda *_args: None)
    probe = prove(tmp_path, front=through(front))
    assert [row["code"] for row in probe["codes"]] == ["front-page"]
    assert len(front.requests) == 1


def test_settings_that_are_not_those_expected(portal: Portal, tmp_path: Path) -> None:
    portal.about["settings_match"] = False
    probe = prove(tmp_path)
    assert probe["settings_match"] is False
    assert "is not what was written" in probe["problems"][0]


def test_several_processes_on_the_in_memory_layer(portal: Portal, tmp_path: Path) -> None:
    portal.about["backend"] = layer_probe.IN_MEMORY
    portal.unreached = {11, 12, 13}
    probe = prove(tmp_path, idle_seconds=7)
    assert not probe["ok"]
    assert len(probe["problems"]) == 1
    assert "3 processes serve the portal" in probe["problems"][0]
    assert probe["received"] == 0


def test_one_process_on_the_in_memory_layer_only_has_to_answer(portal: Portal, tmp_path: Path) -> None:
    portal.about["backend"] = layer_probe.IN_MEMORY
    portal.pids = [11]
    probe = prove(tmp_path, processes=1, idle_seconds=7)
    assert probe["ok"]
    assert (probe["provable"], probe["reason"]) == (False, "in_memory")
    assert (probe["sent"], probe["idle"]) == (0, None)


def test_a_portal_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, portal: Portal, tmp_path: Path) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise portal_env.PortalEnded("It cannot be started.")

    monkeypatch.setattr(portal_env, "PortalProcess", fail)
    probe = prove(tmp_path)
    assert probe["problems"] == ["The delivery check could not be carried out: It cannot be started."]
    assert (probe["provable"], probe["reason"]) == (False, "not_started")


# --- a real portal --------------------------------------------------------------------------------------------------

REAL = os.environ.get("TETHYS_TEST_PYTHON")
real = pytest.mark.portal


@pytest.fixture
def daphne(tmp_path: Path) -> Iterator[Any]:
    """Starts a real portal on the in-memory layer, with as many processes as there are ports."""
    assert REAL is not None
    if not portal_wire.has_consumer():
        pytest.skip("Tethys before 4.4 has no ws/app-lifecycle: a run verifies no delivery there")
    prefix, home = tmp_path / "env", tmp_path / "home"
    (prefix / "bin").mkdir(parents=True)
    home.mkdir()
    (prefix / "bin" / "python").write_text(f'#!/bin/sh\nexec {REAL} "$@"\n', encoding="utf-8")
    (prefix / "bin" / "python").chmod(0o755)
    config = (
        "settings:\n  SECRET_KEY: x\n  DEBUG: false\n  ALLOWED_HOSTS: [portal.example.org]\n  PREFIX_URL: on/here\n"
    )
    (home / "portal_config.yml").write_text(config, encoding="utf-8")
    started: list[subprocess.Popen[bytes]] = []

    def start(count: int) -> dict[str, Any]:
        ports = []
        for _each in range(count):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        for port in ports:
            command = [REAL, "-m", "daphne", "-p", str(port), "tethys_portal.asgi:application"]
            started.append(subprocess.Popen(command, env={**os.environ, "TETHYS_HOME": str(home)}, cwd="/"))
        deadline = time.monotonic() + 60
        while len(proc.accepting("127.0.0.1", ports)) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        return {"prefix": str(prefix), "home": str(home), "ports": ports}

    yield start
    for process in started:
        process.kill()
        process.wait()


@real
def test_real_portal_with_one_process(daphne: Any, tmp_path: Path) -> None:
    layers = {"default": {"BACKEND": layer_probe.IN_MEMORY}}
    probe = prove(tmp_path, **daphne(1), processes=1, expected_layers=layers)
    assert probe["ok"], probe["problems"]
    assert probe["reason"] == "in_memory"
    assert probe["settings_match"] is True
    assert probe["processes"][0]["sockets"] >= sockets.ENOUGH_PER_PROCESS


@real
@pytest.mark.parametrize(
    ("backend", "match"), [(layer_probe.IN_MEMORY, True), ("channels_redis.core.RedisChannelLayer", False)]
)
def test_the_real_portals_settings_beside_those_of_a_file(
    daphne: Any, tmp_path: Path, backend: str, match: bool
) -> None:
    path = tmp_path / "as_written.yml"
    path.write_text(f"settings:\n  CHANNEL_LAYERS:\n    default: {{BACKEND: {backend}}}\n", encoding="utf-8")
    probe = prove(tmp_path, **daphne(1), processes=1, settings_file=str(path))
    assert probe["settings_match"] is match
    assert probe["ok"] is match


@real
def test_real_portal_with_two_processes_in_memory(daphne: Any, tmp_path: Path) -> None:
    probe = prove(tmp_path, **daphne(2), processes=2)
    assert not probe["ok"]
    assert [problem.partition(",")[0] for problem in probe["problems"]] == ["CHANNEL_LAYERS is the in-memory layer"]
    assert all(process["sockets"] >= sockets.ENOUGH_PER_PROCESS for process in probe["processes"])
    assert (probe["sent"] > 0, probe["received"]) == (True, 0)

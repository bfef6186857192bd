# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals that greet each other through a layer that is only played."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import portal_wire
from ansible_collections.tethys.channels.plugins.module_utils.secrets import Hider
from hypothesis import given
from hypothesis import strategies as st

SOCKETS = 3


class Air:
    """A layer that brings a message to every socket of every known portal, except for what it withholds from some."""

    def __init__(self) -> None:
        self.wires: dict[str, portal_wire.Wire] = {}
        self.keeps: set[tuple[str, str]] = set()
        self.groups: set[str] = set()
        self.broken = False

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.broken:
            raise ConnectionError("no Redis")
        self.groups.add(group)
        token = message["progress_metadata"]["layer_probe"]
        for name, wire in self.wires.items():
            if (token.split(" ")[0], name) not in self.keeps:
                for socket in wire._sockets.values():
                    socket.arrived.setdefault(token, 1.0)

    def portal(self, name: str, sockets: int = SOCKETS) -> portal_wire.Wire:
        wire = portal_wire.Wire("127.0.0.1", "localhost", "", Hider(), "word")
        wire._layer = self
        for number in range(sockets):
            socket = portal_wire.Socket(number, 8000)
            socket.opened = True
            wire._sockets[number] = socket
        self.wires[name] = wire
        return wire


@pytest.fixture
def air(monkeypatch: pytest.MonkeyPatch) -> Air:
    monkeypatch.setattr(portal_wire, "GREETING_SECONDS", 0.005)
    return Air()


def greet(air: Air, names: list[str], seconds: float = 3.0, late: str = "") -> dict[str, Any]:
    """Return what each portal received; one may begin later than the others."""

    async def one(name: str) -> dict[str, Any]:
        if name == late:
            await asyncio.sleep(0.1)
        return await air.wires[name].do_greet(name, names, seconds)

    async def every() -> list[dict[str, Any]]:
        return await asyncio.gather(*(one(name) for name in names))

    return dict(zip(names, asyncio.run(every())))


def heard(answer: dict[str, Any]) -> dict[str, int]:
    return {name: len(numbers) for name, numbers in answer["heard"].items()}


@pytest.mark.parametrize("late", ["", "b"])
def test_all_hear_all_and_nobody_leaves_too_early(air: Air, late: str) -> None:
    names = ["a", "b", "c"]
    for name in names:
        air.portal(name)
    found = greet(air, names, late=late)
    for name in names:
        assert heard(found[name]) == dict.fromkeys(names, SOCKETS)
        assert (found[name]["problem"], len(found[name]["of"])) == (None, SOCKETS)
    assert air.groups == {"app_layer_probe_word"}


def test_one_direction_is_missing(air: Air) -> None:
    for name in ("a", "b"):
        air.portal(name)
    air.keeps = {("a", "b")}
    found = greet(air, ["a", "b"], seconds=0.3)
    assert heard(found["a"]) == {"a": SOCKETS, "b": SOCKETS}
    assert heard(found["b"]) == {"a": 0, "b": SOCKETS}


def test_nothing_can_be_sent(air: Air) -> None:
    air.portal("a")
    air.broken = True
    found = greet(air, ["a"])
    assert "no Redis" in found["a"]["problem"]


def test_without_sockets_nobody_is_content(air: Air) -> None:
    air.portal("a", sockets=0)
    assert heard(greet(air, ["a"], seconds=0.2)["a"]) == {"a": 0}


@pytest.mark.parametrize(
    ("token", "name", "content", "is_of"),
    [
        ("a 1 0", "a", False, True),
        ("a 1 0", "a", True, False),
        ("a 1 1", "a", True, True),
        ("ab 1 1", "a", False, False),
        ("0123456789abcdef", "a", False, False),
        ("", "", True, False),
    ],
)
def test_whose_a_greeting_is(token: str, name: str, content: bool, is_of: bool) -> None:
    assert portal_wire.is_of(token, name, content) is is_of


# --- reads that end before Redis answers ------------------------------------------------------------------------------

CORE, PUBSUB = portal_wire.CORE, "channels_redis.pubsub.RedisPubSubChannelLayer"


def layer(*hosts: Any, backend: str = CORE) -> dict[str, Any]:
    return {"BACKEND": backend, "CONFIG": {"hosts": list(hosts)}}


@pytest.mark.parametrize(
    ("one", "old", "new"),
    [
        (layer(["127.0.0.1", 6379]), None, 5),
        (layer("redis://r:6379"), None, 5),
        (layer({"host": "r", "socket_timeout": 15}), None, None),
        (layer({"host": "r", "socket_timeout": None}), None, None),
        (layer({"host": "r", "socket_timeout": 3}), 3, 3),
        (layer({"host": "r", "socket_timeout": "2.5"}), 2.5, 2.5),
        (layer({"host": "r", "socket_timeout": ["x"]}), None, None),
        (layer("redis://r?socket_timeout=15"), None, None),
        (layer("redis://r?socket_timeout=4"), 4, 4),
        (layer({"address": "unix:///r?socket_timeout=4", "socket_timeout": 15}), 4, 4),
        (layer({"host": "a", "socket_timeout": 15}, {"host": "b"}), None, 5),
        (layer("redis://[::1"), None, 5),
        (layer(), None, 5),
        ({"BACKEND": CORE}, None, 5),
        (layer(["127.0.0.1", 6379], backend=PUBSUB), None, None),
        ({"BACKEND": "channels.layers.InMemoryChannelLayer"}, None, None),
        ({"BACKEND": CORE, "CONFIG": {"hosts": 5}}, None, None),
        ("no layer", None, None),
    ],
)
def test_reads_that_end_early(one: Any, old: float | None, new: float | None) -> None:
    for version, seconds in (("4.6.0", old), ("7.4.1", old), (None, old), ("8.0.1", new), ("10.0", new)):
        found = portal_wire.short_reads({"default": one}, version)
        assert found == ({} if seconds is None else {"default": seconds}), version


def test_reads_of_further_layers() -> None:
    layers = {"default": layer({"host": "r", "socket_timeout": 15}), "tri\nbs": layer(["r", 1])}
    assert portal_wire.short_reads(layers, "8.1.0") == {"tribs": 5}
    assert portal_wire.short_reads(None, "8.1.0") == {}


# --- settings that are compared ---------------------------------------------------------------------------------------

# As PATIENCE has them: sorted as numbers they are in another order than sorted as texts.
OPTIONS = {4: 1, 5: 1, 6: 3, 18: 4000}


@pytest.mark.parametrize("order", [[4, 5, 6, 18], [18, 6, 5, 4], [6, 18, 4, 5]])
@pytest.mark.parametrize("key", [int, str])
def test_numbers_for_keys_are_equal_to_their_text(order: list[int], key: type) -> None:
    texts = {str(number): value for number, value in OPTIONS.items()}
    other = {key(number): OPTIONS[number] for number in order}
    for wrap in (lambda value: value, lambda value: {"hosts": [{"b": 1, "options": value, "a": None}]}):
        assert portal_wire.plain(wrap(other)) == portal_wire.plain(wrap(texts)) == portal_wire.plain(wrap(OPTIONS))


def test_numbers_and_texts_for_keys_together() -> None:
    assert portal_wire.plain({18: 1, "b": 2, 4: 3, "a": 4}) == portal_wire.plain({"a": 4, "b": 2, "18": 1, "4": 3})


@pytest.mark.parametrize(
    "other", [{4: 1, 5: 1, 6: 3}, {**OPTIONS, 18: 4001}, {**OPTIONS, 7: 1}, {**OPTIONS, 18: "4000"}, None]
)
def test_other_numbers_are_not_equal(other: Any) -> None:
    assert portal_wire.plain({"options": other}) != portal_wire.plain({"options": OPTIONS})


@given(st.dictionaries(st.integers(), st.integers() | st.text()), st.randoms())
def test_any_numbers_for_keys(options: dict[int, Any], chance: Any) -> None:
    rows = list(options.items())
    chance.shuffle(rows)
    there_and_back = json.loads(json.dumps({"hosts": [options]}))
    assert portal_wire.plain({"hosts": [dict(rows)]}) == portal_wire.plain(there_and_back)


@pytest.mark.parametrize(
    ("layers", "expected", "there"),
    [
        ({"default": {"a": 1}}, {"default": {"a": 1}}, True),
        ({"default": {"a": 1}, "tribs": {}}, {"default": {"a": 1}}, True),
        ({"default": {"a": 1, "b": 2}}, {"default": {"a": 1}}, False),
        ({"tribs": {}}, {"default": {"a": 1}}, False),
        ({"default": {"a": 1}}, {}, True),
        (None, {"default": {}}, False),
    ],
)
def test_layers_that_are_expected(layers: Any, expected: Any, there: bool) -> None:
    assert portal_wire.has_layers(layers, expected) is there


def test_what_came_from_python_and_from_yaml() -> None:
    assert portal_wire.plain({"a": b"text", "b": (1, 2)}) == portal_wire.plain({"b": [1, 2], "a": "text"})
    assert portal_wire.plain({"a": [1, 2]}) != portal_wire.plain({"a": [2, 1]})


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("settings:\n  CHANNEL_LAYERS: {default: {BACKEND: a.B}}\n", {"default": {"BACKEND": "a.B"}}),
        ("settings:\n  CHANNEL_LAYERS:\n", {}),
        ("settings:\n  A: 1\n", {}),
        ("settings:\n", {}),
        ("apps: {}\n", {}),
        ("", {}),
    ],
)
def test_the_setting_as_the_file_says_it(tmp_path: Path, text: str, layers: Any) -> None:
    path = tmp_path / "portal_config.yml"
    path.write_text(text)
    assert portal_wire.layers_in(str(path)) == layers


@pytest.mark.parametrize(
    ("layer", "behind"),
    [
        ({"CONFIG": {"hosts": [{"sentinels": [["192.0.2.1", 26379]], "master_name": "tethys-channels"}]}}, True),
        ({"CONFIG": {"hosts": [["127.0.0.1", 6379], "redis://r", {"path": "/run/redis.sock"}]}}, False),
        ({"CONFIG": {"hosts": None}}, False),
        ({"CONFIG": None}, False),
        ({}, False),
    ],
)
def test_a_layer_that_asks_sentinel(layer: dict[str, Any], behind: bool) -> None:
    assert portal_wire.behind_sentinel(layer) is behind

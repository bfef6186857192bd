# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of portals that share a layer."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.fleet import layer_of, page, place

ONE, TWO = ({"address": f"rediss://192.0.2.{number}:6379", "password": "********"} for number in (1, 2))


def host(
    hosts: list[Any], heard: dict[str, int] | None = None, problems: list[str] | None = None, prefix: str = ""
) -> Any:
    """A portal's variables at the end of a run."""
    config = {"hosts": hosts, **({"prefix": prefix} if prefix else {})}
    return {
        "__preflight_found": {
            "portal": {
                "versions": {"tethys_platform": "4.6.1", "channels_redis": "4.3.0"},
                "settings": {
                    "layer_backend": "channels_redis.core.RedisChannelLayer",
                    "layer_hosts": hosts,
                    "channel_layers": {"default": {"CONFIG": config}},
                },
            }
        },
        "__fleet_check_result": {
            "probe": {"problems": problems or [], "among": {"sockets": 12, "heard": heard} if heard else None}
        },
    }


def test_all_is_well() -> None:
    heard = {"a": 12, "b": 12}
    found = page(["b", "a"], {"a": host([ONE, TWO], heard), "b": host([ONE, TWO], heard)}, True)
    assert found["ok"]
    assert found["lines"] == [
        f"{name}: Tethys 4.6.1, channels_redis 4.3.0, RedisChannelLayer at rediss://192.0.2.1:6379 and"
        " rediss://192.0.2.2:6379, prefix asgi; each of 12 WebSockets received messages of 2 portals"
        for name in "ab"
    ]


def test_after_a_run_the_proof_tells_what_there_is() -> None:
    # As the first run of all found it.
    before: Any = host([], {"a": 12, "b": 12})
    portal = before["__preflight_found"]["portal"]
    portal["versions"]["channels_redis"] = None
    portal["settings"]["layer_backend"] = "channels.layers.InMemoryChannelLayer"
    before["__fleet_check_result"]["probe"].update(
        backend="channels_redis.core.RedisChannelLayer", versions={"channels_redis": "4.3.0"}
    )
    found = page(["a", "b"], {"a": before, "b": before}, False)
    assert found["lines"] == [
        f"{name}: Tethys 4.6.1, channels_redis 4.3.0, RedisChannelLayer; each of 12 WebSockets received messages of"
        " 2 portals"
        for name in "ab"
    ]


def test_one_hears_less() -> None:
    hosts = {"a": host([ONE], {"a": 12, "b": 12}), "b": host([ONE], {"a": 3, "b": 12}, ["What a sends reached 3."])}
    found = page(["a", "b"], hosts, True)
    assert found["problems"] == ["What a sends reached 3."]
    assert found["lines"][1].endswith("; receives messages of a on 3 of 12 WebSockets")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (host([TWO, ONE]), "in another order a group's messages go to another Redis"),
        (host([ONE]), "they do not meet"),
        (host([ONE, TWO], prefix="site"), "has the prefix site on b and asgi on a"),
        ({}, "has the hosts (none) on b"),
    ],
)
def test_another_layer(other: Any, words: str) -> None:
    hosts = {"a": host([ONE, TWO]), "b": other}
    assert words in " ".join(page(["a", "b"], hosts, True)["problems"])
    # What a run of site has changed since is not compared.
    assert page(["a", "b"], hosts, False)["ok"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (["127.0.0.1", 6379], "127.0.0.1:6379"),
        ("redis://h", "redis://h"),
        ({"host": "h", "port": 7000}, "h:7000"),
        ({"path": "/run/redis.sock"}, "/run/redis.sock"),
        ({"master_name": "m", "sentinels": [["s", 26379]]}, "m of s:26379"),
    ],
)
def test_places(written: Any, told: str) -> None:
    assert place(written) == told


@pytest.mark.parametrize("odd", [5, True, "x", [5], {"default": 5}, {"default": {"CONFIG": True}}, {1: 2}], ids=str)
def test_settings_of_another_kind(odd: Any) -> None:
    """An app can set anything."""
    layer = layer_of({"settings": {"layer_backend": "x.Y", "layer_hosts": odd, "channel_layers": odd}})
    assert (layer["backend"], layer["prefix"]) == ("x.Y", "asgi")
    assert place({"sentinels": odd})

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import client


@pytest.mark.parametrize(
    ("version", "number"), [("8.1.0", 8), ("10", 10), ("5.0.14-alpine", 5), ("latest", None), ("", None), (None, None)]
)
def test_the_first_number_of_a_version(version: Any, number: int | None) -> None:
    assert client.major(version) == number


@pytest.mark.parametrize(
    ("packages", "portal", "version"),
    [
        ({"moves": [{"name": "redis", "from": "7.4.1", "to": "8.1.0"}], "installed": {"redis": "7.4.1"}}, {}, "8.1.0"),
        ({"moves": [{"name": "msgpack", "from": None, "to": "1.1.0"}]}, {"versions": {"redis": "7.4.1"}}, "7.4.1"),
        ({"moves": None, "installed": {"redis": "6.4.0"}}, {"versions": {"redis": None}}, "6.4.0"),
        ({"skipped": True}, {"versions": {"redis": None}}, None),
        ({}, {}, None),
    ],
)
def test_the_client_after_the_run(packages: dict[str, Any], portal: dict[str, Any], version: str | None) -> None:
    assert client.client_version(packages, portal) == version


def test_a_refusal_names_both_versions() -> None:
    found = client.hello_refusal("redis_container_image", "redis:5", "5.0.14", "8.1.0", "Set it to redis:8.2.")
    assert found
    assert (found.code, found.subject) == ("redis-without-hello", "redis_container_image")
    assert found.text == (
        "redis_container_image is redis:5: redis-py 8.1.0 opens a connection with HELLO, and Redis 5.0.14 does not have"
        " that command. Set it to redis:8.2."
    )


@pytest.mark.parametrize(
    ("server", "ours", "denied"),
    [("6.0", True, True), ("6.0.16", False, False), ("6.2", True, False), ("6", True, False), ("8.2", True, False)],
)
def test_redis_6_0_denies_hello_where_its_default_user_is_off(server: str, ours: bool, denied: bool) -> None:
    """`redis:6` is the newest of that line, 6.2."""
    found = client.hello_refusal("redis_container_image", "r", server, "8.0.1", "Set it.", ours=ours)
    assert bool(found) is denied
    if found:
        assert "denies that command to a client that has not logged in" in found.text


@pytest.mark.parametrize(
    ("hosts", "left"),
    [
        ([["h", 1]], True),
        (["redis://h"], True),
        (["redis://h?protocol=3"], True),
        (["redis://h?protocol=2", {"address": "redis://h/0?protocol=2"}], False),
        ([{"host": "h", "protocol": 2}, {"host": "g", "protocol": "2"}], False),
        ([{"host": "h", "protocol": 2}, {"host": "g"}], True),
        ([{"host": "h", "protocol": 3}], True),
        ([], False),
        (None, False),
        (True, False),
    ],
)
def test_who_leaves_the_protocol_open(hosts: Any, left: bool) -> None:
    assert client.without_protocol(hosts) is left

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter redis_endpoints; where each form of a host leads is tested beside the code behind it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.redis_endpoints import FilterModule, redis_endpoints
from hypothesis import given
from hypothesis import strategies as st

ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def test_a_list_for_redis_ping() -> None:
    hosts = [["127.0.0.1", 6379], "rediss://tethys:p@redis.example.org/1"]
    before = copy.deepcopy(hosts)
    found = redis_endpoints(hosts)
    assert hosts == before
    assert isinstance(found, list)
    assert [(row["host"], row["port"], row["tls"], row["db"]) for row in found] == [
        ("127.0.0.1", 6379, False, 0),
        ("redis.example.org", 6379, True, 1),
    ]
    assert found[1]["password"] == "p"


def test_credentials_beside_the_hosts() -> None:
    (found,) = redis_endpoints([["redis", 1]], {"username": "u", "password": "p"})
    assert (found["username"], found["password"]) == ("u", "p")


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([], "tethys_layer_hosts is empty"),
        ("redis", "tethys_layer_hosts is a str"),
        ([["redis", 0]], "tethys_layer_hosts entry 1 has the port 0"),
        ([["redis", 1], 7], "tethys_layer_hosts entry 2 is no host"),
    ],
)
def test_a_refusal_is_a_sentence(hosts: Any, words: str) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        redis_endpoints(hosts)
    assert str(refused.value).startswith(f"redis_endpoints: {words}")
    assert str(refused.value).endswith(".")


@given(ANYTHING, ANYTHING)
def test_anything_is_endpoints_or_a_refusal(hosts: Any, credentials: Any) -> None:
    try:
        assert redis_endpoints(hosts, credentials)
    except AnsibleFilterError as refused:
        assert str(refused).endswith(".")


def test_the_filter_is_found() -> None:
    assert FilterModule().filters() == {"redis_endpoints": redis_endpoints}

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import READ_TIMEOUT
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import (
    read_hosts,
    redis_endpoints,
    sets_timeout,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal
from hypothesis import given
from hypothesis import strategies as st

NOTHING = {
    **{"host": None, "port": None, "path": None, "username": None, "password": None, "sentinel": None},
    **{"tls": False, "ca_beside": None, "db": 0},
}
# Every form of a host, and where it leads.
FORMS: list[tuple[Any, dict[str, Any]]] = [
    (["127.0.0.1", 6379], {"host": "127.0.0.1", "port": 6379}),
    ("redis://redis", {"host": "redis", "port": 6379}),
    ("redis://[::1]:6380/2", {"host": "::1", "port": 6380, "db": 2}),
    ("redis://redis:1?db=3", {"host": "redis", "port": 1, "db": 3}),
    (
        "rediss://us%40er:p%2Fw@redis",
        {"host": "redis", "port": 6379, "username": "us@er", "password": "p/w", "tls": True},
    ),
    ("redis://redis?username=u&password=p", {"host": "redis", "port": 6379, "username": "u", "password": "p"}),
    ("unix:///run/re%20dis.sock?db=1", {"path": "/run/re dis.sock", "db": 1}),
    ("unix://u:p@/r.sock", {"path": "/r.sock", "username": "u", "password": "p"}),
    ({"path": "/run/re dis.sock", "password": "p"}, {"path": "/run/re dis.sock", "password": "p"}),
    ({"host": "redis", "db": "4", "password": "p"}, {"host": "redis", "port": 6379, "db": 4, "password": "p"}),
    (
        {"address": "rediss://redis", "ssl_ca_certs": "/ca.crt"},
        {"host": "redis", "port": 6379, "tls": True, "ca_beside": "/ca.crt"},
    ),
    ("rediss://redis?ssl_ca_certs=/ca.crt", {"host": "redis", "port": 6379, "tls": True, "ca_beside": "/ca.crt"}),
    ({"address": "rediss://redis", "db": 5}, {"host": "redis", "port": 6379, "tls": True, "db": 5}),
]


@pytest.mark.parametrize(("host", "where"), FORMS)
def test_where_a_host_leads(host: Any, where: dict[str, Any]) -> None:
    assert redis_endpoints([host]) == [{**NOTHING, **where}]


def test_credentials_are_for_every_host() -> None:
    found = redis_endpoints([["a", 1], "unix:///r.sock"], {"username": "u", "password": "p"})
    assert found == [
        {**NOTHING, "host": "a", "port": 1, "username": "u", "password": "p"},
        {**NOTHING, "path": "/r.sock", "username": "u", "password": "p"},
    ]


def test_sentinels_have_a_login_of_their_own() -> None:
    host = {"master_name": "m", "sentinels": [["s1", 1], ["s2", 2]], "sentinel_kwargs": {"password": "sp", "ssl": True}}
    common = {**NOTHING, "password": "sp", "tls": True, "sentinel": "m"}
    assert redis_endpoints([host], {"password": "p"}) == [
        {**common, "host": "s1", "port": 1},
        {**common, "host": "s2", "port": 2},
    ]


TLS_FORMS = [
    ("rediss://h", {"address": "rediss://h", "ssl_check_hostname": True}),
    ("rediss://h/1?ssl_ca_certs=/c", {"address": "rediss://h/1?ssl_ca_certs=/c", "ssl_check_hostname": True}),
    ("rediss://h?ssl_check_hostname=yes", "rediss://h?ssl_check_hostname=yes"),
    ("rediss://h?ssl_cert_reqs=required", {"address": "rediss://h?ssl_cert_reqs=required", "ssl_check_hostname": True}),
    ({"address": "rediss://h"}, {"address": "rediss://h", "ssl_check_hostname": True}),
    (
        {"address": "rediss://h", "ssl_check_hostname": True, "ssl_cert_reqs": "optional"},
        {"address": "rediss://h", "ssl_check_hostname": True, "ssl_cert_reqs": "optional"},
    ),
    (
        {"address": "rediss://h?ssl_check_hostname=1", "db": 1},
        {"address": "rediss://h?ssl_check_hostname=1", "db": 1},
    ),
    (
        {"master_name": "m", "sentinels": [["s", 1]], "ssl": True, "sentinel_kwargs": {"ssl": True}},
        {
            "master_name": "m",
            "sentinels": [["s", 1]],
            "ssl": True,
            "ssl_check_hostname": True,
            "sentinel_kwargs": {"ssl": True, "ssl_check_hostname": True},
        },
    ),
    (
        {"master_name": "m", "sentinels": [["s", 1]], "sentinel_kwargs": {"password": "p"}},
        {"master_name": "m", "sentinels": [["s", 1]], "sentinel_kwargs": {"password": "p"}},
    ),
]


@pytest.mark.parametrize(("host", "written"), TLS_FORMS)
def test_host_names_are_verified(host: Any, written: Any) -> None:
    given = copy.deepcopy(host)
    with_login = {**({"address": written} if isinstance(written, str) else written), "socket_timeout": READ_TIMEOUT}
    assert channel_layers([host])["default"]["CONFIG"]["hosts"] == [with_login]
    assert host == given
    found = channel_layers([host], {"password": "p"})["default"]["CONFIG"]["hosts"]
    assert found == [{**with_login, "password": "p"}]


@pytest.mark.parametrize(
    ("entry", "sets"),
    [
        (["127.0.0.1", 6379], False),
        ("redis://r", False),
        ("redis://r?socket_timeout=3", True),
        ("redis://:***@r?db=1&socket_timeout=", True),
        ("redis://[::1", False),
        ({"host": "r"}, False),
        ({"host": "r", "socket_timeout": None}, True),
        ({"address": "unix:///r?socket_timeout=3"}, True),
        ({"address": 5}, False),
        ({"master_name": "m", "sentinels": [["s", 1]], "sentinel_kwargs": {"socket_timeout": 1}}, False),
        (None, False),
        (5, False),
    ],
)
def test_who_sets_a_timeout(entry: Any, sets: bool) -> None:
    assert sets_timeout(entry) is sets


SENTINEL_OFF = {"master_name": "m", "sentinels": [["s", 1]], "ssl": True}
OFF = [
    *(f"rediss://h?ssl_check_hostname={value}" for value in ("False", "no", "0", "n", "")),
    *(f"rediss://h?ssl_cert_reqs={value}" for value in ("none", "None", "0", "")),
    *({"address": "rediss://h", "ssl_check_hostname": value} for value in (False, 0, "false", "no", None)),
    *({"address": "rediss://h", "ssl_cert_reqs": value} for value in ("none", None, 0, False, True)),
    {"address": "rediss://h?ssl_check_hostname=0", "ssl_check_hostname": True},
    {**SENTINEL_OFF, "ssl_check_hostname": False},
    {**SENTINEL_OFF, "ssl_cert_reqs": "none"},
    {**SENTINEL_OFF, "sentinel_kwargs": {"ssl": True, "ssl_cert_reqs": "none"}},
]


@pytest.mark.parametrize("host", OFF)
def test_verification_is_not_switched_off(host: Any) -> None:
    with pytest.raises(Refusal, match=r"entry 1.* has ssl_(check_hostname|cert_reqs) switched off: .*\. Remove "):
        channel_layers([host])


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([], "tethys_layer_hosts is empty"),
        ("redis", "tethys_layer_hosts is a str"),
        ([["redis", 0]], "tethys_layer_hosts entry 1 has the port 0"),
        ([["redis", 1], 7], "tethys_layer_hosts entry 2 is not a host"),
        ([["a", 1], "redis"], "tethys_layer_hosts entry 2"),
    ],
)
def test_hosts_that_cannot_be_used(hosts: Any, words: str) -> None:
    with pytest.raises(Refusal, match=rf"^{words}") as refused:
        redis_endpoints(hosts)
    assert str(refused.value).endswith(".")


ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(ANYTHING, ANYTHING)
def test_anything_is_endpoints_or_a_refusal(hosts: Any, credentials: Any) -> None:
    before = copy.deepcopy(hosts)
    try:
        assert redis_endpoints(hosts, credentials)
    except Refusal as refused:
        assert str(refused).endswith(".")
    assert repr(hosts) == repr(before)


@pytest.mark.portal
@pytest.mark.parametrize(
    ("host", "credentials"),
    [(host, None) for host, _where in FORMS]
    + [(host, {"username": "o", "password": "w/n"}) for host, where in FORMS if "password" not in where],
)
def test_channels_redis_connects_there(host: Any, credentials: Any) -> None:
    """The real channels_redis and redis-py make a connection of what the filter writes, to where the endpoint says."""
    from channels_redis import utils

    layers = channel_layers([host], credentials)
    (entry,) = utils.decode_hosts(layers["default"]["CONFIG"]["hosts"])
    connection = utils.create_pool(entry).make_connection()
    (endpoint,) = redis_endpoints([host], credentials)
    for key in ("host", "port", "path", "username", "password"):
        assert getattr(connection, key, None) == endpoint[key], key
    assert int(connection.db) == endpoint["db"]
    assert connection.socket_timeout == READ_TIMEOUT
    assert (type(connection).__name__ == "SSLConnection") is endpoint["tls"]


@pytest.mark.portal
def test_sentinel_hands_the_timeout_to_the_primarys_connection() -> None:
    from channels_redis import utils

    host = {"master_name": "m", "sentinels": [["s", 1]], "sentinel_kwargs": {"password": "sp"}}
    (entry,) = utils.decode_hosts(channel_layers([host])["default"]["CONFIG"]["hosts"])
    assert utils.create_pool(entry).make_connection().socket_timeout == READ_TIMEOUT


@pytest.mark.parametrize("host", ["unix:///run/{}", {"path": "/run/{}"}, {"address": "unix:///run/{}"}])
def test_the_path_of_a_socket_has_at_most_107_bytes(host: Any) -> None:
    def named(length: int) -> Any:
        name = "r" * (length - len("/run/"))
        return host.format(name) if isinstance(host, str) else {key: text.format(name) for key, text in host.items()}

    assert redis_endpoints([named(107)])
    with pytest.raises(Refusal, match=r"has a path of 108 bytes, and Linux allows 107 for a Unix socket"):
        redis_endpoints([named(108)])


class TaggedText(str):
    """As Ansible's own text, which it gives to a variable of an inventory."""


def test_a_type_is_named_as_yaml_has_it() -> None:
    with pytest.raises(Refusal, match="tethys_layer_hosts is a str: "):
        read_hosts(TaggedText("redis://redis:1"))

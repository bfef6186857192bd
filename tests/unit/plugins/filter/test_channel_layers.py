# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.channel_layers import FilterModule
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, MEMORY_BACKEND, PUBSUB_BACKEND
from hypothesis import assume, given
from hypothesis import strategies as st

channel_layers = FilterModule().filters()["channel_layers"]

SEED = [["127.0.0.1", 6379]]
# What every host gets that does not set it.
READ = {"socket_timeout": 15}
SEED_WRITTEN = [{"host": "127.0.0.1", "port": 6379, **READ}]
LOGIN = {"username": "tethys", "password": "p@ss/w#rd: 'x'"}


def hosts_of(*args: Any, **kwargs: Any) -> Any:
    return channel_layers(*args, **kwargs)["default"]["CONFIG"]["hosts"]


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        channel_layers(*args, **kwargs)
    message = str(caught.value)
    assert message.startswith("channel_layers: ")
    return message


def test_the_documentations_own_setting() -> None:
    assert channel_layers(SEED) == {"default": {"BACKEND": CORE_BACKEND, "CONFIG": {"hosts": SEED_WRITTEN}}}


@pytest.mark.parametrize(
    ("hosts", "written"),
    [
        ((("127.0.0.1", 6379),), SEED_WRITTEN),
        ([["127.0.0.1", "6379"]], SEED_WRITTEN),
        (["127.0.0.1", 6379], SEED_WRITTEN),
        (["127.0.0.1", "6379"], SEED_WRITTEN),
        (
            [["::1", 6379], ["redis-1.example.org", 6380]],
            [{"host": "::1", "port": 6379, **READ}, {"host": "redis-1.example.org", "port": 6380, **READ}],
        ),
        (["redis://redis:6379/1"], [{"address": "redis://redis:6379/1", **READ}]),
        (
            ["rediss://:secret@redis"],
            [{"address": "rediss://:secret@redis", "ssl_check_hostname": True, **READ}],
        ),
        (["redis://redis?socket_timeout=3"], ["redis://redis?socket_timeout=3"]),
        (["unix:///run/redis.sock"], [{"address": "unix:///run/redis.sock", **READ}]),
        (["unix:///run/redis.sock?socket_timeout=3"], ["unix:///run/redis.sock?socket_timeout=3"]),
        ([{"host": "redis"}], [{"host": "redis", "port": 6379, **READ}]),
        ([{"host": "redis", "socket_timeout": None}], [{"host": "redis", "port": 6379, "socket_timeout": None}]),
        ([{"host": "redis", "socket_timeout": 30}], [{"host": "redis", "port": 6379, "socket_timeout": 30}]),
        ([{"host": "redis", "port": "1", "db": 2}], [{"host": "redis", "port": 1, "db": 2, **READ}]),
        ([{"path": "/run/re dis/r.sock", "db": 1}], [{"address": "unix:///run/re%20dis/r.sock", "db": 1, **READ}]),
        (
            [{"address": "rediss://redis", "ssl_ca_data": None, "password": "x"}],
            [{"address": "rediss://redis", "ssl_ca_data": None, "password": "x", "ssl_check_hostname": True, **READ}],
        ),
        (
            [{"master_name": "m", "sentinels": (("s1", "26379"),), "sentinel_kwargs": {"password": "x"}}],
            [{"master_name": "m", "sentinels": [["s1", 26379]], "sentinel_kwargs": {"password": "x"}, **READ}],
        ),
    ],
)
def test_hosts_without_credentials(hosts: Any, written: Any) -> None:
    assert hosts_of(hosts) == written


@pytest.mark.parametrize(
    ("hosts", "written"),
    [
        (SEED, [{**SEED_WRITTEN[0], **LOGIN}]),
        (["127.0.0.1", 6379], [{**SEED_WRITTEN[0], **LOGIN}]),
        (["rediss://redis/1?timeout=2"], None),
        (
            ["rediss://redis/1?socket_timeout=2"],
            [{"address": "rediss://redis/1?socket_timeout=2", "ssl_check_hostname": True, **LOGIN}],
        ),
        (["unix:///r.sock"], [{"address": "unix:///r.sock", **READ, **LOGIN}]),
        ([{"path": "/r.sock"}], [{"address": "unix:///r.sock", **READ, **LOGIN}]),
        (
            [{"host": "a"}, ["b", 1]],
            [{"host": "a", "port": 6379, **READ, **LOGIN}, {"host": "b", "port": 1, **READ, **LOGIN}],
        ),
        (
            [{"master_name": "m", "sentinels": [["s", 1]]}],
            [{"master_name": "m", "sentinels": [["s", 1]], **READ, **LOGIN}],
        ),
    ],
)
def test_hosts_with_credentials(hosts: Any, written: Any) -> None:
    if written is None:
        assert "parameter" in refused(hosts, LOGIN)
    else:
        assert hosts_of(hosts, LOGIN) == written


@pytest.mark.parametrize("backend", [CORE_BACKEND, PUBSUB_BACKEND])
def test_the_socket_of_the_collections_own_redis(backend: str) -> None:
    hosts = [{"path": "/var/lib/tethys_channels/redis.sock"}]
    written = {"address": "unix:///var/lib/tethys_channels/redis.sock", **READ, **LOGIN}
    assert channel_layers(hosts, LOGIN, {"prefix": "portal_a"}, backend) == {
        "default": {"BACKEND": backend, "CONFIG": {"hosts": [written], "prefix": "portal_a"}}
    }


def test_a_password_without_a_user_name() -> None:
    assert hosts_of(SEED, {"password": "x"}) == [{**SEED_WRITTEN[0], "password": "x"}]
    assert hosts_of(SEED, {"username": None, "password": "x"}) == hosts_of(SEED, {"username": "", "password": "x"})


@pytest.mark.parametrize("nothing", [None, {}, {"password": None}, {"username": "", "password": ""}])
def test_no_credentials(nothing: Any) -> None:
    assert hosts_of(SEED, nothing) == SEED_WRITTEN


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("secret", "not a mapping"),
        (["tethys", "secret"], "not a mapping"),
        ({"username": "tethys"}, "without a password"),
        ({"password": 1234}, "put it in quotes"),
        ({"password": True}, "put it in quotes"),
        ({"user": "tethys", "password": "x"}, "'user'"),
    ],
)
def test_credentials_that_are_none(credentials: Any, said: str) -> None:
    assert said in refused(SEED, credentials)


@pytest.mark.parametrize(
    "host",
    [
        "redis://:secret@redis",
        "redis://user@redis",
        "redis://redis?password=secret",
        {"host": "redis", "password": "secret"},
        {"address": "redis://redis", "username": "user"},
        {"address": "redis://:secret@redis"},
        {"path": "/r.sock", "password": "secret"},
        {"master_name": "m", "sentinels": [["s", 1]], "password": "secret"},
    ],
)
def test_a_login_in_the_host_and_apart(host: Any) -> None:
    assert "entry 2 has its own user name or password" in refused([["redis", 1], host], LOGIN)
    assert len(hosts_of([["redis", 1], host])) == 2


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (None, "empty"),
        ([], "empty"),
        ("", "empty"),
        ("redis://:secret@redis", "write a list"),
        ({"host": "redis"}, "write a list"),
        (6379, "write a list"),
        (["redis:6379"], "not a Redis URL"),
        (["redis"], "not a Redis URL"),
        (["redis", "other"], "not a Redis URL"),
        (["redis:/redis"], "not a Redis URL"),
        (["http://redis"], "not a Redis URL"),
        (["redis://"], "without a host"),
        (["redis://redis:0"], "port 0"),
        (["redis://redis:99999"], "cannot be read"),
        (["redis://redis:port"], "cannot be read"),
        (["redis://[::1"], "cannot be read"),
        (["redis://user:12#w@redis"], "percent-encoded"),
        (["redis://user:12/w@redis"], "percent-encoded"),
        (["redis://user:12?w@redis"], "percent-encoded"),
        (["redis://re dis"], "percent-encoded"),
        (["redis://redis/zero"], "database"),
        (["redis://redis?db=x"], "database"),
        (["redis://redis?db"], "question mark"),
        (["redis://redis?decode_responses=1"], "parameter"),
        (["unix://run/redis.sock"], "three slashes"),
        (["unix://"], "three slashes"),
        ([["redis"]], "list of 1"),
        ([["redis", 6379, "secret"]], "list of 3"),
        ([["redis", 0]], "port 0"),
        ([["redis", 65536]], "port 65536"),
        ([["redis", True]], "port True"),
        ([["redis", "6379 "]], "port '6379 '"),
        ([["", 1]], "no host name"),
        ([["redis://redis", 1]], "no host name"),
        ([["redis:6380", 1]], "no host name"),
        ([[1, 1]], "no host name"),
        ([6379], "not a host (int)"),
        ([None], "not a host (NoneType)"),
        ([{}], "none of them"),
        ([{"port": 1}], "none of them"),
        ([{"host": "redis", "address": "redis://redis"}], "has address and host"),
        ([{"host": "redis", "prot": 1}], "did you mean 'port'?"),
        ([{"host": "redis", "ssl": True}], "rediss://"),
        ([{"host": "redis", "password": 1}], "put it in quotes"),
        ([{"host": "redis", "client_name": ["x"]}], "not a plain value"),
        ([{"host": "redis", "socket_keepalive_options": 1}], "not a mapping"),
        ([{"path": "redis.sock"}], "not absolute"),
        ([{"path": "/r.sock", "socket_keepalive": True}], "socket_keepalive"),
        ([{"address": 1}], "not a URL"),
        ([{"address": "redis://redis", "ssl_cert_reqs": None}], "ssl_cert_reqs"),
        ([{"address": "redis://:a@redis", "password": "b"}], "keep one of them"),
        ([{"sentinels": [["s", 1]]}], "add master_name"),
        ([{"master_name": "m"}], "add sentinels"),
        ([{"master_name": "m", "sentinels": ["s"]}], "not a pair"),
        ([{"master_name": "m", "sentinels": [["s", 1]], "host": "x"}], "'host'"),
        ([{"master_name": "m", "sentinels": [["s", 1]], "sentinel_kwargs": {"pasword": "x"}}], "'password'"),
    ],
)
def test_hosts_that_redis_py_cannot_use(hosts: Any, said: str) -> None:
    message = refused(hosts)
    assert said in message
    assert "tethys_layer_hosts" in message
    assert "secret" not in message


def test_every_reason_is_told() -> None:
    message = refused([["redis", 0], "redis"], None, {"capcity": 1, "expiry": 0})
    for part in ("entry 1", "entry 2", "'capcity' (did you mean 'capacity'?)", "expiry is 0"):
        assert part in message


@pytest.mark.parametrize("backend", [CORE_BACKEND, PUBSUB_BACKEND])
def test_options_go_into_config(backend: str) -> None:
    options = {"prefix": "portal", "symmetric_encryption_keys": ("k" * 32,), "serializer_format": None}
    config = channel_layers(SEED, None, options, backend)["default"]["CONFIG"]
    assert config == {"hosts": SEED_WRITTEN, "prefix": "portal", "symmetric_encryption_keys": ["k" * 32]}


def test_numbers_from_an_inventory() -> None:
    options = {"capacity": "200", "expiry": 60, "channel_capacity": {"http.*": "5"}, "random_prefix_length": 0}
    config = channel_layers(SEED, options=options)["default"]["CONFIG"]
    assert config["capacity"] == 200
    assert config["channel_capacity"] == {"http.*": 5}
    assert config["random_prefix_length"] == 0


@pytest.mark.parametrize(
    ("backend", "options", "said"),
    [
        (CORE_BACKEND, {"capcity": 1}, "did you mean 'capacity'?"),
        (CORE_BACKEND, {"hosts": SEED}, "set tethys_layer_hosts instead"),
        (CORE_BACKEND, {"capacity": 0}, "at least 1"),
        (CORE_BACKEND, {"capacity": True}, "at least 1"),
        (CORE_BACKEND, {"expiry": 2.5}, "at least 1"),
        (CORE_BACKEND, {"prefix": ""}, "not empty"),
        (CORE_BACKEND, {"prefix": 5}, "not empty"),
        (CORE_BACKEND, {"channel_capacity": [1]}, "mapping of channel name"),
        (CORE_BACKEND, {"channel_capacity": {"x": 0}}, "channel_capacity.x is 0"),
        (CORE_BACKEND, {"symmetric_encryption_keys": "secret"}, "in a list"),
        (CORE_BACKEND, {"symmetric_encryption_keys": ["secret", 5]}, "in a list"),
        (CORE_BACKEND, {"on_disconnect": "x"}, "on_disconnect"),
        (CORE_BACKEND, {1: 2}, "option 1"),
        (CORE_BACKEND, ["secret"], "not a mapping"),
        # The pub/sub layer would take this one without a word, and ignore it.
        (PUBSUB_BACKEND, {"capacity": 5}, "not an option of channels_redis.pubsub.RedisPubSubChannelLayer"),
        (MEMORY_BACKEND, {"prefix": "x"}, "not an option of channels.layers.InMemoryChannelLayer"),
    ],
)
def test_options_that_the_layer_does_not_heed(backend: str, options: Any, said: str) -> None:
    message = refused(SEED, None, options, backend)
    assert said in message
    assert "secret" not in message


@pytest.mark.parametrize("hosts", [SEED, [], None, "redis"])
def test_the_memory_layer_has_no_hosts(hosts: Any) -> None:
    assert channel_layers(hosts, LOGIN, backend=MEMORY_BACKEND) == {"default": {"BACKEND": MEMORY_BACKEND}}
    with_options = channel_layers(hosts, None, {"capacity": 5}, MEMORY_BACKEND)
    assert with_options == {"default": {"BACKEND": MEMORY_BACKEND, "CONFIG": {"capacity": 5}}}


@pytest.mark.parametrize("backend", ["channels_redis.core.RedisChanelLayer", None, "", 5, [CORE_BACKEND]])
def test_a_backend_that_does_not_exist(backend: Any) -> None:
    message = refused(SEED, backend=backend)
    assert "tethys_layer_backend is " in message
    assert PUBSUB_BACKEND in message


@given(password=st.text(min_size=1))
def test_any_password_arrives_through_yaml(password: str) -> None:
    given_as = copy.deepcopy({"hosts": [["h", 1], "rediss://h"], "credentials": {"password": password}})
    before = copy.deepcopy(given_as)
    layers = channel_layers(**given_as)
    assert given_as == before
    read_again = yaml.safe_load(yaml.safe_dump(layers, allow_unicode=False))
    assert [host["password"] for host in read_again["default"]["CONFIG"]["hosts"]] == [password, password]


@given(
    password=st.text(alphabet="abcXYZ0189 :/?#[]@!$&'()*+,;=%{}\"\\é", min_size=1),
    form=st.sampled_from(
        [
            "redis://:{}@redis",
            "redis://user:{}@redis:6379",
            "redis://:{}",
            "unix://:{}@/r.sock",
            "{}",
            "redis://redis?password={}",
            "redis://redis?{}",
        ]
    ),
)
def test_no_password_in_a_message(password: str, form: str) -> None:
    # A mark no message has of itself, so that finding it is finding the password.
    password = f"qqq{password}qqq"
    for host in (form.format(password), {"address": form.format(password)}, [form.format(password), 1]):
        try:
            channel_layers([host, ["other", 0]])
        except AnsibleFilterError as error:
            assert "qqq" not in str(error)
        else:
            pytest.fail("the second host is refused")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
a_host = st.one_of(
    anything,
    st.dictionaries(st.sampled_from(["host", "port", "address", "path", "password", "db", "master_name"]), anything),
    st.text(alphabet="redis:/unx@?=#[]0129.").map(lambda text: f"redis://{text}"),
)


@given(hosts=st.lists(a_host) | anything, credentials=anything, options=anything)
def test_the_answer_is_a_layer_or_a_refusal(hosts: Any, credentials: Any, options: Any) -> None:
    assume(not isinstance(hosts, float))
    before = copy.deepcopy((hosts, credentials, options))
    try:
        layers = channel_layers(hosts, credentials, options)
    except AnsibleFilterError:
        pass
    else:
        assert yaml.safe_load(yaml.safe_dump(layers)) == layers
    assert (hosts, credentials, options) == before

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a secret, and that it is masked or removed wherever it stands."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import secrets
from hypothesis import given
from hypothesis import strategies as st

SECRET = "geheim&1234"


@pytest.mark.parametrize(
    ("layers", "shown"),
    [
        ({"hosts": [{"host": "r", "port": 1, "password": SECRET}]}, {"host": "r", "port": 1, "password": "********"}),
        ({"hosts": [f"redis://u:{SECRET}@r:1/0"]}, "redis://********@r:1/0"),
        ({"hosts": [f"redis://:{SECRET}@r:1"]}, "redis://********@r:1"),
        ({"hosts": [f"REDIS://:{SECRET}@r:1"]}, "REDIS://********@r:1"),
        ({"hosts": ["redis://r:1"]}, "redis://r:1"),
        ({"hosts": ["redis://r:1/0?db=2"]}, "redis://r:1/0?db=2"),
        ({"hosts": [("r", 1)]}, ["r", 1]),
        ({"hosts": [{"host": "r", "password": None}]}, {"host": "r", "password": None}),
    ],
)
def test_layers_are_shown_without_secrets(layers: dict[str, Any], shown: Any) -> None:
    assert secrets.masked(layers)["hosts"] == [shown]
    found = secrets.secrets_in(layers)
    # With the user, also as it was written.
    assert {text for text in found if ":" not in text} == ({SECRET} if SECRET in str(layers) else set())
    assert all(SECRET in text for text in found)


@pytest.mark.parametrize(
    ("url", "shown", "found"),
    [
        ("redis://r:1/0?password=geheim", "redis://r:1/0?password=********", {"geheim"}),
        ("RedisS://r?db=1&pass%77ord=a%40b&x=1", "RedisS://r?db=1&pass%77ord=********&x=1", {"a%40b", "a@b"}),
        ("rediss://u:pw@r?ssl_password=geheim", "rediss://********@r?ssl_password=********", {"u:pw", "pw", "geheim"}),
        ("redis://r?password=a@b", "redis://********", {"r?password=a", "a@b"}),
        ("redis://r?password=", "redis://r?password=", set()),
        ("what?password=is-that", "what?password=********", {"is-that"}),
        ("redis://:p/w@r", "redis://********@r", {":p/w", "p/w"}),
        ("redis://r/0?password=a,b&db=1", "redis://r/0?password=********&db=1", {"a", "a,b"}),
        ("redis://r?db=1&ssl_keyfile=/etc/r.key", "redis://r?db=1&ssl_keyfile=/etc/r.key", set()),
        ("redis://u:pw@r/0?n=a@b", "redis://********@b", {"u:pw", "pw", "u:pw@r/0?n=a", "pw@r/0?n=a"}),
        ("a=b=password=x", "a=b=password=********", {"x"}),
    ],
)
def test_a_url_may_have_the_password_behind_the_question_mark(url: str, shown: str, found: set[str]) -> None:
    assert secrets.masked(url) == shown
    assert secrets.secrets_in(url) == found


def test_encryption_keys_are_secret() -> None:
    config = {"symmetric_encryption_keys": ["key-one", b"key-two"], "prefix": "asgi"}
    # How many there are is not shown either.
    assert secrets.masked(config) == {"symmetric_encryption_keys": "********", "prefix": "asgi"}
    assert secrets.secrets_in(config) == {"key-one", "key-two"}


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWD", "ssl_password", "secret", "api_key", "symmetric_encryption_keys", "token", "cred", "auth"],
)
@pytest.mark.parametrize("value", ["geheim", 12345, True, 1.5, ["geheim"], {"a": "geheim"}, b"geheim"])
def test_whatever_has_a_secret_name_is_masked_whole(name: str, value: Any) -> None:
    assert secrets.masked({name: value, "x": value})[name] == "********"
    assert secrets.without_secrets({name: value}) == {}


def test_the_path_of_a_key_file_is_no_secret() -> None:
    host = {"ssl_keyfile": "/etc/r.key", "ssl_keyfile_password": "geheim"}
    assert secrets.masked(host) == {"ssl_keyfile": "/etc/r.key", "ssl_keyfile_password": "********"}
    assert secrets.without_secrets(host) == {"ssl_keyfile": "/etc/r.key"}
    assert secrets.secrets_in(host) == {"geheim"}


@pytest.mark.parametrize(
    ("value", "before", "shown"),
    [
        ({"password": "new"}, {"password": "old"}, {"password": "******** (changed)"}),
        ({"password": "same"}, {"password": "same"}, {"password": "********"}),
        ({"password": "new"}, {}, {"password": "********"}),
        (["redis://:b@h"], ["redis://:a@h"], ["redis://********@h (changed)"]),
        (["redis://h/1"], ["redis://h/0"], ["redis://h/1"]),
        ({"a": {"keys": ["b"]}}, {"a": {"keys": ["a"]}}, {"a": {"keys": "******** (changed)"}}),
        ({"a": {"password": "x"}}, {"a": [1]}, {"a": {"password": "********"}}),
    ],
)
def test_a_hidden_difference_is_named(value: Any, before: Any, shown: Any) -> None:
    assert secrets.masked(value, before) == shown


@given(
    st.sampled_from(["redis://u:{}@h:1/0", "x {} redis://:{}@h", "redis://h?password={}", "password={}", "{}://{}@"]),
    st.text("ab/:?@&=%;, \n", min_size=1).map(lambda text: f"<{text}>"),
)
def test_what_is_found_in_a_text_is_masked_there(form: str, word: str) -> None:
    text = form.replace("{}", word)
    shown = secrets.masked(text)
    for secret in secrets.secrets_in(text):
        if len(secret) > 3 and "<" in secret and not secret.startswith("<<"):
            assert shown.count(secret) < text.count(secret) or secret not in text


@given(st.text(min_size=4), st.text(), st.text())
def test_a_secret_is_never_said(secret: str, before: str, after: str) -> None:
    hider = secrets.Hider()
    hider.learn(secret, None, 5)
    said = hider.everywhere({"a": [before + secret + after, 1]})["a"][0]
    assert secret not in said or secret in "********"


SECRETS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [
                {"host": "127.0.0.1", "port": 6379, "password": "pw-one", "username": "tethys"},
                "redis://tethys:pw/tw@o@example.org:6379/0?password=pw-three&db=1",
                "rediss://:pw-four@example.org",
            ],
            "symmetric_encryption_keys": ["pw-five", {"old": "pw-six"}],
            "token": 123456789,
        },
    },
    "theirs": {"BACKEND": "another layer"},
}


def test_secrets() -> None:
    assert secrets.secrets_in({"CHANNEL_LAYERS": SECRETS}) == {
        "pw-one",
        "tethys:pw/tw@o",
        "pw/tw@o",
        "pw-three",
        ":pw-four",
        "pw-four",
        "pw-five",
        "pw-six",
        "123456789",
    }


PIP_PASSWORD = "s3cr%2Fet"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"https://joe:{PIP_PASSWORD}@h/simple", "no access with s3cr/et or https://joe:s3cr%2Fet@h/simple"),
        (f"https://token{PIP_PASSWORD}@h/simple", f"no access with token{PIP_PASSWORD}"),
        (f"https://joe:{PIP_PASSWORD}@[h/simple", f"not a URL: https://joe:{PIP_PASSWORD}@[h/simple"),
    ],
)
def test_passwords_are_hidden(url: str, text: str) -> None:
    hidden = secrets.without_logins(text, secrets.logins_in([url, None]))
    assert "s3cr" not in hidden
    assert "********" in hidden


words = st.text(min_size=1).map(lambda text: f"<<{text}>>")


@given(
    st.recursive(
        st.integers() | st.text("ab") | st.none(),
        lambda held: (
            st.lists(held, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "hosts"]), held, max_size=3)
        ),
    ),
    words,
    st.sampled_from(["password", "username", "symmetric_encryption_keys", "sentinel_kwargs", "ssl_password"]),
)
def test_no_secret_is_left_wherever_it_stands(value: Any, secret: str, key: str) -> None:
    held = {"hosts": [value, {key: secret, "x": {key: [secret]}}], key: secret}
    before = copy.deepcopy(held)
    left = secrets.without_secrets(held)
    assert held == before
    assert secret not in repr(left).replace("\\\\", "\\")
    assert left["hosts"][0] == secrets.without_secrets(value)
    assert key not in left


URLS = (
    "redis://u:{}@h:1/0",
    "REDIS://:{}@h:1",
    "Rediss://h:1/0?password={}",
    "rediss://h?db=1&ssl_password={}&username=u",
    "unix:///run/redis.sock?db=1&username={}",
    "redis://h?pass%77ord={}",
)


@given(st.sampled_from(URLS), st.text("ab%:.!*", min_size=1).map(lambda text: f"<<{text}>>"))
def test_no_secret_is_left_in_a_url(url: str, secret: str) -> None:
    left = secrets.without_secrets({"hosts": [url.format(secret), {"address": url.format(secret)}]})
    assert "<<" not in repr(left)
    assert "h" in repr(left)


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("redis://h:1/0?db=1&password=x&socket_timeout=2", "redis://h:1/0?db=1&socket_timeout=2"),
        ("redis://h:1/0?password=a@b", "redis://h:1/0"),
        ("redis://h?password=a@b", "redis://h"),
        ("REDIS://u:x@h", "REDIS://h"),
        ("redis://h:1/0?db=1", "redis://h:1/0?db=1"),
        ("asgi?password=x", "asgi?password=x"),
    ],
)
def test_the_rest_of_a_url_stays(url: str, left: str) -> None:
    assert secrets.without_secrets(url) == left


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("NOAUTH Authentication required; PASSWORD is missing", True),
        ("redis://portal:a/b@redis:6379/0", True),
        ("symmetric_encryption_keys: [geheim]", True),
        ("auth_token=abc", True),
        ("Listening on TCP address 127.0.0.1:8000", False),
        ('{"hosts": ["unix:///run/tethys_channels/redis.sock"]}', False),
        ("Key error in author's app: mail to someone@example.org", False),
    ],
)
def test_a_text_in_no_known_form_may_hold_a_secret(text: str, may: bool) -> None:
    assert secrets.may_hold_secret(text) is may

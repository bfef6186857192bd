# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis's configuration and credentials: what is in the file, who can read it, what is kept, shown and followed."""

from __future__ import annotations

import functools
import grp
import hashlib
import json
import os
import re
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.redis import client, config_files, configuration
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import rights, users
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import alone
from ansible_collections.tethys.channels.plugins.modules import redis_settings
from hypothesis import given
from hypothesis import strategies as st

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
CREDENTIALS = {"password": "p", "admin_password": "a"}
UID = 16379


def sums(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


# --- the users ------------------------------------------------------------------------------------------------------


OF_THE_CORE_CLASS = rights("asgi", ["core"])


def test_users_of_the_core_layer() -> None:
    default, portal, admin = users(CREDENTIALS, OF_THE_CORE_CLASS)
    assert default == "user default off"
    assert portal.startswith(f"user tethys on #{sums('p')} resetkeys -@all ")
    assert " ~asgi* " in portal
    granted = {word for word in portal.split() if word.startswith("+")}
    assert {"+bzpopmin", "+eval", "+evalsha", "+zadd", "+ping", "+hello", "+auth"} <= granted
    # None of these is the portal's, and Redis 7.0 does not start with the last one.
    assert not {"+get", "+set", "+keys", "+scan", "+info", "+flushall", "+config", "+client|setinfo"} & granted
    # 6.0 has no permissions for channels.
    assert "&" not in portal + admin
    assert "resetchannels" not in portal + admin


def test_users_of_the_pubsub_layer() -> None:
    _default, portal, _admin = users(CREDENTIALS, rights("other", ["pubsub"]))
    assert " resetchannels &other* +publish +subscribe +unsubscribe" in portal
    assert "~" not in portal


def test_redis_without_rights_on_channels() -> None:
    assert (
        rights("other", ["pubsub"], channel_rights=False)
        == f"resetkeys -@all {OF_ALL} +publish +subscribe +unsubscribe"
    )


def test_the_rights_of_both_classes() -> None:
    assert rights("asgi", ["pubsub", "core"]) == f"resetkeys -@all {OF_ALL} {OF_CORE} {OF_PUBSUB}"


def test_the_admin_can_look_and_not_read() -> None:
    admin = users(CREDENTIALS, OF_THE_CORE_CLASS)[2]
    assert admin.startswith(f"user tethys_admin on #{sums('a')} ")
    assert {"+info", "+client", "+acl"} <= set(admin.split())
    assert not {"+get", "+set", "+zrange", "+eval", "+@all"} & set(admin.split())


def redis_word(text: str) -> bytes:
    """A double-quoted word as Redis reads it in its configuration."""
    assert text[0] == text[-1] == '"'
    simple = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
    found, rest = b"", text[1:-1].encode()
    while rest:
        match = re.match(rb"\\x([0-9a-fA-F]{2})", rest)
        if match:
            found, rest = found + bytes([int(match.group(1), 16)]), rest[4:]
        elif rest[:1] == b"\\":
            found, rest = found + simple.get(rest[1:2], rest[1:2]), rest[2:]
        else:
            assert rest[:1] != b'"', "the word ends too early"
            found, rest = found + rest[:1], rest[1:]
    return found


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_password_without_users(password: str) -> None:
    (line,) = users({"password": password}, OF_THE_CORE_CLASS, acl=False)
    keyword, _space, word = line.partition(" ")
    assert keyword == "requirepass"
    assert len(line.splitlines()) == 1
    assert redis_word(word) == password.encode()


def test_configuration() -> None:
    lines = configuration.configuration(192)
    assert {"maxmemory 192mb", "maxmemory-policy noeviction", 'save ""', "appendonly no"} <= set(lines)


@pytest.mark.parametrize(
    ("transport", "said", "not_said"),
    [
        (
            {"transport": "unix", "port": 7000},
            ["port 0", "unixsocket /run/tethys-channels/redis.sock", "unixsocketperm 660"],
            ["bind", "protected-mode", "tcp-keepalive", "port 7000"],
        ),
        (
            {"transport": "host", "port": 7000},
            ["bind 127.0.0.1", "port 7000", "tcp-keepalive 60"],
            # Redis's own default is on, and keeps others out should the address not.
            ["protected-mode", "unixsocket", "port 6379", "port 0"],
        ),
        (
            # Inside the container the port is always the same.
            {"transport": "published", "port": 7000},
            ["bind 0.0.0.0", "protected-mode no", "port 6379", "tcp-keepalive 60"],
            ["unixsocket", "port 7000"],
        ),
        ({}, ["bind 0.0.0.0", "protected-mode no", "port 6379"], ["unixsocket"]),
    ],
    ids=str,
)
def test_where_the_server_listens(transport: dict[str, Any], said: list[str], not_said: list[str]) -> None:
    lines = configuration.configuration(192, **transport)
    for line in [*said, "maxmemory 192mb"]:
        assert lines.count(line) == 1
    for opening in not_said:
        assert [line for line in lines if line.startswith(opening)] == []


# Any other text, even a space, would restart every existing Redis: this text must not change.
OF_CORE = (
    "~asgi* +bzpopmin +zpopmin +zadd +zcount +zrange +zrem +zremrangebyscore +expire +del +eval +evalsha +script|load"
    " +multi +exec"
)
OF_PUBSUB = "resetchannels &asgi* +publish +subscribe +unsubscribe"
OF_ALL = "+hello +auth +ping +select +client|setname"


@pytest.mark.parametrize("given", [None, ["one", "two"]])
@pytest.mark.parametrize(("name", "reach"), [("core", OF_CORE), ("pubsub", OF_PUBSUB)])
def test_users_of_one_that_stands_alone_are_what_they_were(name: str, reach: str, given: list[str] | None) -> None:
    opening = "#one #two" if given else f"#{sums('p')}"
    assert users(CREDENTIALS, rights("asgi", [name]), sums=given) == [
        "user default off",
        f"user tethys on {opening} resetkeys -@all {OF_ALL} {reach}",
        f"user tethys_admin on #{sums('a')} ~* -@all {OF_ALL} +info +client +acl +memory +latency +dbsize +scan"
        " +config|get",
    ]


LISTENING = {
    "published": [
        "# Inside the container every address; outside only what the container publishes.",
        "bind 0.0.0.0",
        "protected-mode no",
        "port 6379",
        "tcp-keepalive 60",
    ],
    "host": ["bind 127.0.0.1", "port 7000", "tcp-keepalive 60"],
    "unix": [
        "# No port at all.",
        "port 0",
        "unixsocket /run/tethys-channels/redis.sock",
        "unixsocketperm 660",
    ],
    "tls": [
        "# Inside the container every address; outside only the one that it publishes. Nothing in clear.",
        "bind 0.0.0.0",
        "protected-mode no",
        "port 0",
        "tls-port 6379",
        "tls-cert-file /etc/tethys-channels/redis.crt",
        "tls-key-file /etc/tethys-channels/redis.key",
        "tls-ca-cert-file /etc/tethys-channels/ca.crt",
        "# Who comes in is told by name and password.",
        "tls-auth-clients no",
        'tls-protocols "TLSv1.2 TLSv1.3"',
        "tcp-keepalive 60",
    ],
}
COPYING = [
    "# Copies go from server to server encrypted, and never by way of a file, which could not be written here.",
    "replica-announce-ip 192.0.2.6",
    "replica-announce-port 7000",
    "tls-replication yes",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "repl-diskless-load swapdb",
    "# A server that has gone without a word is given up after so many seconds.",
    "repl-ping-replica-period 3",
    "repl-timeout 15",
    "# A copy that is slow begins anew, before what waits for it takes the memory of the container.",
    "client-output-buffer-limit replica 32mb 16mb 10",
]


@pytest.mark.parametrize(("copied_at", "copying"), [(None, []), ("192.0.2.6", COPYING)])
@pytest.mark.parametrize("transport", LISTENING)
def test_the_whole_configuration(transport: str, copied_at: str | None, copying: list[str]) -> None:
    assert configuration.configuration(192, transport, 7000, copied_at) == [
        "# Managed by tethys.channels: a change made here is lost.",
        *LISTENING[transport],
        *copying,
        "# A channel layer is a message bus whose messages expire after a minute: nothing is worth writing to disk.",
        'save ""',
        "appendonly no",
        "maxmemory 192mb",
        "maxmemory-policy noeviction",
    ]


def test_users_where_servers_copy_each_other() -> None:
    alone = users(CREDENTIALS, OF_THE_CORE_CLASS)
    default, portal, admin, *peers = users({**CREDENTIALS, "peer_password": "q"}, OF_THE_CORE_CLASS)
    # What a portal may is the same.
    assert [default, portal] == alone[:2]
    assert admin == f"{alone[2]} +role +replicaof"
    assert peers == [
        f"user tethys_peer on #{sums('q')} ~* &* -@all {OF_ALL} +psync +replconf +role +info +multi +exec +replicaof"
        " +slaveof +publish +subscribe +config|rewrite +client|kill +script|kill",
        "masteruser tethys_peer",
        'masterauth "q"',
    ]


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_password_of_the_peers(password: str) -> None:
    *_users, line = users({**CREDENTIALS, "peer_password": password}, OF_THE_CORE_CLASS)
    keyword, _space, word = line.partition(" ")
    assert (keyword, len(line.splitlines())) == ("masterauth", 1)
    assert redis_word(word) == password.encode()


# --- the module, on files -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the module keeps things; who is not root sees what would be root's as root's."""
    folder = tmp_path / "tethys_channels"
    if os.geteuid() != 0:
        owners: dict[str, tuple[int, int]] = {}
        bits: dict[str, int] = {}
        real_stat, real_chmod = Path.stat, Path.chmod

        def owned(self: Path, **arguments: Any) -> os.stat_result:
            found = list(real_stat(self, **arguments))
            first = (0, 0) if self.suffix == ".json" or self == folder else (UID, UID)
            found[stat.ST_UID], found[stat.ST_GID] = owners.get(str(self), first)
            found[stat.ST_MODE] = bits.get(str(self), found[stat.ST_MODE])
            return os.stat_result(found)

        def chmod(self: Path, mode: int) -> None:
            if self.is_dir():
                # Root writes in a folder in which its owner may not.
                bits[str(self)], mode = stat.S_IFDIR | mode, mode | stat.S_IRWXU
            real_chmod(self, mode)

        monkeypatch.setattr(os, "chown", lambda path, *owner: owners.update({str(path): owner}))
        monkeypatch.setattr(os, "fchown", lambda *_arguments: None)
        monkeypatch.setattr(Path, "stat", owned)
        monkeypatch.setattr(Path, "chmod", chmod)
    return folder


@pytest.fixture
def run(run_module: Callable[..., dict[str, Any]], folder: Path) -> Callable[..., dict[str, Any]]:
    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"directory": str(folder), "uid": UID, "maxmemory_mb": 192, "container": "redis", "backend": CORE}
        given.update(arguments)
        return run_module(redis_settings.main, check, **given)

    return run


Run = Callable[..., "dict[str, Any]"]


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder.parent)): stat.filemode(path.stat().st_mode)
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def test_first_run_and_the_next(run: Run, folder: Path) -> None:
    first = run()
    assert first["changed"]
    assert modes(folder) == {
        "tethys_channels": "drwx------",
        "tethys_channels/credentials.json": "-rw-------",
        "tethys_channels/redis": "dr-x------",
        "tethys_channels/redis/redis.conf": "-r--------",
    }
    assert [(folder / name).stat().st_uid for name in (".", "credentials.json", "redis", "redis/redis.conf")] == [
        *(0, 0),
        *(UID, UID),
    ]
    assert first["config_dir"] == str(folder / "redis")
    second = run()
    assert not second["changed"]
    assert {**second, "changed": True, "diff": first["diff"]} == first


def test_the_first_file_names_the_portal(run: Run, folder: Path, tmp_path: Path) -> None:
    home, link = tmp_path / "home", tmp_path / "link"
    home.mkdir()
    link.symlink_to(home)
    first = run(home=str(link))
    assert set(first["credentials"]) == {"username", "password", "admin_username", "admin_password"}
    credentials = folder / "credentials.json"
    kept = json.loads(credentials.read_text(encoding="utf-8"))
    assert kept["portal_config"] == f"{home}/portal_config.yml"
    # Another one has been refused; the name stays through a rotation, and the configuration does not depend on it.
    assert not run(home=str(tmp_path))["changed"]
    assert run(home=str(tmp_path), rotate=True)["changed"]
    assert json.loads(credentials.read_text(encoding="utf-8"))["portal_config"] == kept["portal_config"]


def test_credentials_without_a_portal_stay_as_they_are(run: Run, folder: Path, tmp_path: Path) -> None:
    run()
    assert not run(home=str(tmp_path))["changed"]
    assert "portal_config" not in json.loads((folder / "credentials.json").read_text(encoding="utf-8"))


def test_the_configuration_holds_sums_only(run: Run, folder: Path) -> None:
    credentials = run()["credentials"]
    text = (folder / "redis" / "redis.conf").read_text(encoding="utf-8")
    assert credentials["password"] not in text
    assert credentials["admin_password"] not in text
    assert f"#{sums(credentials['password'])}" in text
    assert f"#{sums(credentials['admin_password'])}" in text
    assert (credentials["username"], credentials["admin_username"]) == ("tethys", "tethys_admin")
    assert len(credentials["password"]) >= 40
    assert credentials["password"] != credentials["admin_password"]
    assert "requirepass" not in text
    assert text.endswith("\n")


def test_a_server_without_users(run: Run, folder: Path) -> None:
    credentials = run(acl=False, password='it"s')["credentials"]
    assert credentials == {
        "username": None,
        "password": 'it"s',
        "admin_username": None,
        "admin_password": 'it"s',
    }
    assert 'requirepass "it\\x22s"\n' in (folder / "redis" / "redis.conf").read_text(encoding="utf-8")


def test_a_given_password_takes_the_place_of_the_kept_one(run: Run, folder: Path) -> None:
    first = run()
    second = run(password="given")
    assert second["changed"]
    assert second["credentials"]["password"] == "given"
    assert second["credentials"]["admin_password"] == first["credentials"]["admin_password"]
    assert json.loads((folder / "credentials.json").read_text(encoding="utf-8"))["password"] == "given"
    assert run()["credentials"]["password"] == "given"


@pytest.mark.parametrize(
    "change", [{"maxmemory_mb": 64}, {"backend": PUBSUB}, {"prefix": "other"}, {"acl": False}], ids=str
)
def test_every_change_changes_the_sum(run: Run, change: dict[str, Any]) -> None:
    first = run()
    second = run(**change)
    assert second["changed"]
    assert second["config_sum"] != first["config_sum"]
    assert second["credentials"]["password"] == first["credentials"]["password"]


def test_the_sum_tells_nothing_of_a_guessable_password(run: Run, folder: Path) -> None:
    one = run(password="guessable", acl=False)["config_sum"]
    (folder / "credentials.json").unlink()
    assert run(password="guessable", acl=False)["config_sum"] != one


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("path", "mode"), [(".", 0o755), ("credentials.json", 0o644), ("redis", 0o755), ("redis/redis.conf", 0o644)]
)
def test_a_wrong_mode_is_put_right(run: Run, folder: Path, path: str, mode: int, check: bool) -> None:
    run()
    before = modes(folder)
    (folder / path).chmod(mode)
    assert run(check)["changed"]
    assert (modes(folder) == before) is not check


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("path", [".", "credentials.json", "redis", "redis/redis.conf"])
def test_a_wrong_owner_is_put_right(run: Run, folder: Path, path: str) -> None:
    run()
    os.chown(folder / path, 12345, 12345)
    assert run()["changed"]
    assert not run()["changed"]


# --- the ways to the server -----------------------------------------------------------------------------------------

GROUP = grp.getgrgid(os.getegid()).gr_name


def over_socket(folder: Path, **more: Any) -> dict[str, Any]:
    """Options for a server that listens on a unix socket only."""
    return {"transport": "unix", "socket": str(folder.parent / "socket" / "redis.sock"), "socket_group": GROUP, **more}


def test_each_way_has_another_sum_and_its_lines_in_the_file(run: Run, folder: Path) -> None:
    kinds: list[dict[str, Any]] = [{}, {"transport": "host"}, {"transport": "host", "port": 6380}, over_socket(folder)]
    seen = [run(password="p", **arguments) for arguments in kinds]
    assert all(each["changed"] for each in seen)
    assert len({each["config_sum"] for each in seen}) == len(kinds)
    text = (folder / "redis" / "redis-unix.conf").read_text(encoding="utf-8")
    assert "\nport 0\nunixsocket /run/tethys-channels/redis.sock\nunixsocketperm 660\n" in text
    assert "unixsocket /run" in seen[-1]["diff"]["after"]
    # What is published outside, and where the socket is outside, is no matter of the file's.
    assert run(password="p", port=6380)["config_sum"] == seen[0]["config_sum"]
    assert run(password="p", **over_socket(folder, port=6380))["config_sum"] == seen[-1]["config_sum"]


TLS = {"transport": "tls", "address": "127.0.0.1", "tls_cert": "cert", "tls_key": "key\n\n", "tls_ca": "ca"}


def test_a_server_that_others_reach(run: Run, folder: Path) -> None:
    first = run(password="p", **TLS)
    assert {"port 0", "tls-port 6379", "tls-auth-clients no", "bind 0.0.0.0"} <= set(first["config"])
    assert "tls-key-file /etc/tethys-channels/redis.key" in first["config"]
    assert modes(folder)["tethys_channels/redis/redis.key"] == "-r--------"
    assert (folder / "redis" / "redis.key").stat().st_uid == UID
    assert (folder / "redis" / "redis.key").read_text(encoding="utf-8") == "key\n"
    assert not run(password="p", **TLS)["changed"]
    for name in ("tls_cert", "tls_key", "tls_ca"):
        other = run(password="p", **{**TLS, name: "other"})
        # A new certificate is read by a new container only.
        assert other["changed"]
        assert other["config_sum"] != first["config_sum"]
    assert run(password="p", **TLS)["config_sum"] == first["config_sum"]


@pytest.mark.parametrize("name", ["tls_cert", "tls_key", "tls_ca"])
def test_an_empty_certificate_is_refused_before_anything_is_written(run: Run, folder: Path, name: str) -> None:
    found = run(**{**TLS, name: "\n"})
    assert found["failed"]
    assert found["msg"].startswith(f"{name} would be empty, and Redis would not start. ")
    assert not folder.exists()
    # A dry run may come before the certificate.
    assert run(check=True, **{**TLS, name: ""})["changed"]


def test_a_certificate_of_another_way_is_forgotten(run: Run, folder: Path) -> None:
    run(**TLS)
    run(running=True, acl=False)
    assert sorted(path.name for path in (folder / "redis").iterdir()) == ["redis.conf"]


def test_the_key_is_nowhere_in_the_answer(run: Run) -> None:
    secret = "a key that nobody may see"
    assert secret not in str(run(**{**TLS, "tls_key": secret}))


def test_whose_the_container_is(run: Run, folder: Path) -> None:
    for arguments in ({}, {"transport": "host"}, {"socket_group": GROUP}, {"transport": "unix", "socket": "/x/r.sock"}):
        assert run(check=True, **arguments)["run_as"] == f"{UID}:{UID}"
    assert run(check=True, **over_socket(folder))["run_as"] == f"{UID}:{os.getegid()}"
    assert run(check=True, **over_socket(folder, socket_group="4321"))["run_as"] == f"{UID}:4321"


def test_the_folder_of_the_socket(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    real = os.chown

    def chown(path: Any, uid: int, gid: int) -> None:
        given.append((str(path), uid, gid))
        real(path, uid, gid)

    monkeypatch.setattr(os, "chown", chown)
    there = folder.parent / "socket"
    assert run(check=True, **over_socket(folder))["changed"]
    assert not there.exists()
    assert run(**over_socket(folder))["changed"]
    assert stat.filemode(there.stat().st_mode) == "drwxr-x---"
    assert (str(there), UID, os.getegid()) in given
    assert (there.stat().st_uid, there.stat().st_gid) == (UID, os.getegid())
    assert not run(**over_socket(folder))["changed"]
    there.chmod(0o755)
    assert run(check=True, **over_socket(folder))["changed"]
    assert stat.filemode(there.stat().st_mode) == "drwxr-xr-x"
    assert run(**over_socket(folder))["changed"]
    assert stat.filemode(there.stat().st_mode) == "drwxr-x---"
    there.rmdir()
    assert run(**over_socket(folder))["changed"]
    assert there.is_dir()
    there.rmdir()
    run(transport="host", socket=str(there / "redis.sock"), socket_group=GROUP)
    assert not there.exists(), "It is for the socket alone."


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_socket_folder_of_another_is_put_right(run: Run, folder: Path) -> None:
    there = folder.parent / "socket"
    run(**over_socket(folder, socket_group="4321"))
    for owner in ((12345, 4321), (UID, 12345)):
        os.chown(there, *owner)
        assert run(**over_socket(folder, socket_group="4321"))["changed"]
        assert (there.stat().st_uid, there.stat().st_gid) == (UID, 4321)
        assert not run(**over_socket(folder, socket_group="4321"))["changed"]


def test_a_group_that_nobody_knows(run: Run, folder: Path) -> None:
    found = run(**over_socket(folder, socket_group="no-such-group"))
    assert found["failed"]
    assert found["msg"] == "There is no group no-such-group on this server."
    assert list(folder.rglob("*.json")) == []
    # Without a socket it is nobody's.
    assert "failed" not in run(check=True, transport="host", socket_group="no-such-group")


def test_options_that_do_not_go_together(run: Run) -> None:
    found = run(transport="unix")
    assert found["failed"]
    assert "transport is unix but all of the following are missing: socket" in found["msg"]
    assert "value of transport must be one of" in run(transport="tcp")["msg"]


def test_check_mode_writes_nothing(run: Run, folder: Path) -> None:
    result = run(check=True)
    assert result["changed"]
    assert result["credentials"]["password"]
    assert not folder.exists()


def test_the_difference_shows_no_user(run: Run, folder: Path) -> None:
    first = run()["diff"]
    assert first["before"] == ""
    assert "maxmemory 192mb\n" in first["after"]
    second = run(maxmemory_mb=64)["diff"]
    assert second["before"] == first["after"]
    assert "maxmemory 64mb\n" in second["after"]
    plain = run(acl=False)["diff"]
    shown = json.dumps([first, second, plain, run(acl=True)["diff"]])
    credentials = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))
    for secret in credentials.values():
        assert secret not in shown
        assert sums(secret) not in shown
    assert "requirepass" not in shown


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"password": ""}'])
def test_credentials_that_are_none_are_made_anew(run: Run, folder: Path, text: str) -> None:
    run()
    (folder / "credentials.json").write_text(text, encoding="utf-8")
    assert len(run()["credentials"]["password"]) >= 40


def test_a_run_that_dies_leaves_the_file_as_it_was(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    before = (folder / "redis" / "redis.conf").read_text(encoding="utf-8")

    def fail(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        result = run(maxmemory_mb=64)
    assert result["failed"]
    assert "No space left on device" in result["msg"]
    assert (folder / "redis" / "redis.conf").read_text(encoding="utf-8") == before
    assert not run()["changed"]
    assert len(list(folder.rglob("*"))) == 3


def test_who_may_not_read_is_told_to_be_root(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Path, **_arguments: Any) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", fail)
    result = run()
    assert result["failed"]
    assert "ansible_become: true" in result["msg"]


# --- one that Sentinel watches --------------------------------------------------------------------------------------

WATCHED = {**TLS, "topology": "sentinel", "address": "192.0.2.6", "peer_password": "known among peers"}


def test_one_that_sentinel_watches(run: Run, folder: Path) -> None:
    first = run(**WATCHED)
    assert (first["changed"], first["config_file"], first["start_file"]) == (True, "redis-copies.conf", "start.sh")
    assert modes(folder) == {
        "tethys_channels": "drwx------",
        "tethys_channels/credentials.json": "-rw-------",
        "tethys_channels/redis": "dr-x------",
        "tethys_channels/redis/ca.crt": "-r--------",
        "tethys_channels/redis/redis-copies.conf": "-r--------",
        "tethys_channels/redis/redis.crt": "-r--------",
        "tethys_channels/redis/redis.key": "-r--------",
        "tethys_channels/redis/start.sh": "-r--------",
        "tethys_channels/sentinel": "drwx------",
    }
    for name in ("redis/start.sh", "sentinel"):
        assert (folder / name).stat().st_uid == UID
    assert set(COPYING) - set(first["config"]) == {"replica-announce-port 7000"}
    assert "replica-announce-port 6379" in first["config"]
    second = run(**WATCHED)
    assert {**second, "changed": True, "diff": first["diff"]} == first
    assert not second["changed"]


def test_a_dry_run_makes_no_folder_for_sentinel(run: Run, folder: Path) -> None:
    dry = run(check=True, **WATCHED)
    assert (dry["changed"], dry["start_file"]) == (True, "start.sh")
    assert not folder.exists()
    run(**TLS)
    before = modes(folder)
    assert run(check=True, **WATCHED)["changed"]
    assert modes(folder) == before


def test_the_peers_password_is_kept_and_not_shown(run: Run, folder: Path) -> None:
    run(password="p", **WATCHED)
    second = run(password="p", maxmemory_mb=64, **WATCHED)
    text = (folder / "redis" / "redis-copies.conf").read_text(encoding="utf-8")
    assert 'masterauth "known among peers"\n' in text
    assert kept(folder)["peer_password"] == "known among peers"
    assert set(second["credentials"]) == {"username", "password", "admin_username", "admin_password"}
    assert "maxmemory 192mb\n" in second["diff"]["before"]
    shown = json.dumps([second["diff"], second["config"], run(password="p", maxmemory_mb=64, **WATCHED)])
    for secret in ("known among peers", sums("known among peers"), "masterauth", "masteruser", "user tethys_peer"):
        assert secret not in shown


def test_another_password_of_the_peers(run: Run, folder: Path) -> None:
    first = run(password="p", **WATCHED)
    second = run(password="p", **{**WATCHED, "peer_password": "other"})
    assert second["changed"]
    # It cannot be changed at runtime: it is the one for replication.
    assert second["config_sum"] != first["config_sum"]
    assert kept(folder)["peer_password"] == "other"
    assert second["credentials"] == first["credentials"]
    assert not second["rotating"]


def test_a_rotation_keeps_the_peers_password(run: Run, folder: Path) -> None:
    first = run(password="one", **WATCHED)
    assert run(password="two", **WATCHED)["config_sum"] == first["config_sum"]
    assert kept(folder)["peer_password"] == "known among peers"
    assert run(password="two", retire=True, **WATCHED)["config_sum"] == first["config_sum"]
    assert kept(folder)["peer_password"] == "known among peers"


@pytest.mark.parametrize(
    "change", [{"sentinel_port": 27000}, {"port": 7000}, {"address": "192.0.2.66"}, {"tls_cert": "other"}], ids=str
)
def test_what_the_script_says_changes_the_sum(run: Run, folder: Path, change: dict[str, Any]) -> None:
    first = run(password="p", **WATCHED)
    script = (folder / "redis" / "start.sh").read_text(encoding="utf-8")
    second = run(password="p", **{**WATCHED, **change})
    assert second["changed"]
    assert second["config_sum"] != first["config_sum"]
    assert ((folder / "redis" / "start.sh").read_text(encoding="utf-8") == script) is ("tls_cert" in change)
    assert run(password="p", **WATCHED)["config_sum"] == first["config_sum"]


def test_another_script_changes_the_sum(run: Run) -> None:
    first = run(password="p", **WATCHED)
    assert not run(password="p", start_wait=35, **WATCHED)["changed"]
    second = run(password="p", start_wait=36, **WATCHED)
    assert second["changed"]
    assert second["config_sum"] != first["config_sum"]


def test_the_check_of_sentinels_answer_restarts_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(password="p", **WATCHED)
    written = configuration.start_script
    other = "  sleep 1"
    monkeypatch.setattr(config_files, "start_script", lambda *given: written(*given, *[other] * (3 - len(given))))
    assert run(password="p", **WATCHED)["config_sum"] == first["config_sum"]


def test_how_long_it_waits_is_nothing_to_one_that_stands_alone(run: Run) -> None:
    first = run(**TLS)
    assert run(start_wait=99, **TLS) == {**first, "changed": False, "diff": run(**TLS)["diff"]}


@pytest.mark.parametrize("known", [True, False])
def test_what_the_running_one_starts_again_with_is_kept(run: Run, folder: Path, known: bool) -> None:
    way = {"address": "127.0.0.1", "port": free_port()}
    alone = run(**{**TLS, **way})
    before = {path.name for path in (folder / "redis").iterdir()}
    watched = {**WATCHED, **way, "running": True}
    if known:
        # It may have to before its container is replaced, for which others are waited.
        told = run(running_sum=alone["config_sum"], **watched)
        assert {path.name for path in (folder / "redis").iterdir()} == {*before, "redis-copies.conf", "start.sh"}
        run(check=True, running_sum=told["config_sum"], **watched)
        assert before <= {path.name for path in (folder / "redis").iterdir()}
        run(running_sum=told["config_sum"], **watched)
    else:
        run(**watched)
    assert {path.name for path in (folder / "redis").iterdir()} == {
        *(before - {"redis-tls.conf"}),
        "redis-copies.conf",
        "start.sh",
    }


def test_one_that_is_watched_no_longer_keeps_its_script_until_it_is_replaced(run: Run, folder: Path) -> None:
    way = {"address": "127.0.0.1", "port": free_port()}
    watched = run(**{**WATCHED, **way})
    alone = run(running=True, running_sum=watched["config_sum"], **{**TLS, **way})
    assert {"redis-copies.conf", "start.sh"} <= {path.name for path in (folder / "redis").iterdir()}
    run(running=True, running_sum=alone["config_sum"], **{**TLS, **way})
    assert not {"redis-copies.conf", "start.sh"} & {path.name for path in (folder / "redis").iterdir()}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("path", "mode"), [("sentinel", 0o755), ("sentinel", 0o500), ("redis/start.sh", 0o500)])
def test_a_wrong_mode_of_the_watched_is_put_right(run: Run, folder: Path, path: str, mode: int, check: bool) -> None:
    run(**WATCHED)
    before = modes(folder)
    (folder / path).chmod(mode)
    assert run(check, **WATCHED)["changed"]
    assert (modes(folder) == before) is not check


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("path", ["sentinel", "redis/start.sh"])
def test_a_wrong_owner_of_the_watched_is_put_right(run: Run, folder: Path, path: str) -> None:
    run(**WATCHED)
    os.chown(folder / path, 12345, 12345)
    assert run(**WATCHED)["changed"]
    assert (folder / path).stat().st_uid == UID
    assert not run(**WATCHED)["changed"]


def test_what_sentinel_keeps_there_is_left_alone(run: Run, folder: Path) -> None:
    way = {**WATCHED, "address": "127.0.0.1", "port": free_port()}
    run(**way)
    (folder / "sentinel" / "sentinel-1.conf").write_text("sentinel myid 1\n", encoding="utf-8")
    assert not run(**way)["changed"]
    run(running=True, **way)
    assert (folder / "sentinel" / "sentinel-1.conf").read_text(encoding="utf-8") == "sentinel myid 1\n"


def free_port() -> int:
    """A port on which nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_one_that_stands_alone_is_what_it_was_before_there_was_sentinel(run: Run, folder: Path) -> None:
    first = run(**TLS)
    assert (first["config_file"], first["start_file"]) == ("redis-tls.conf", None)
    text = (folder / "redis" / "redis-tls.conf").read_text(encoding="utf-8")
    assert first["config_sum"] == sums(kept(folder)["admin_password"] + text + "cert\nkey\nca\n")[:32]
    assert set(kept(folder)) == {"password", "admin_password"}
    assert not (folder / "redis" / "start.sh").exists()
    assert not (folder / "sentinel").exists()
    run(**WATCHED)
    again = run(running=True, acl=True, port=free_port(), **TLS)
    assert {**again, "diff": first["diff"]} == first
    assert set(kept(folder)) == {"password", "admin_password"}
    assert sorted(path.name for path in (folder / "redis").iterdir()) == [
        "ca.crt",
        "redis-tls.conf",
        "redis.crt",
        "redis.key",
    ]


@pytest.mark.parametrize("missing", ["address", "peer_password"])
def test_what_sentinel_needs(run: Run, folder: Path, missing: str) -> None:
    found = run(**{name: value for name, value in WATCHED.items() if name not in (missing, "transport")})
    assert found["failed"]
    assert found["msg"].endswith(f"topology is sentinel but all of the following are missing: {missing}")
    assert not folder.exists()


# --- how it starts ---------------------------------------------------------------------------------------------------

# What takes the place of the programs in the container: each prints its arguments.
STUBS = {
    # Whoever may read a process in /proc sees its environment.
    "redis-server": 'printf "%s\\n" "$@" ${REDISCLI_AUTH:+"it knows $REDISCLI_AUTH"}\n',
    "timeout": 'seconds=$1\nshift\nWITHIN=$seconds exec "$@"\n',
    "redis-cli": """\
number=$(ls FOLDER/asked | wc -l)
printf '%s\\n' "$WITHIN" "$REDISCLI_AUTH" "$@" >FOLDER/asked/$number
[ -e FOLDER/answers/$number ] || number=last
if grep -q hangs FOLDER/answers/$number; then
  echo $(($(cat FOLDER/now) + WITHIN)) >FOLDER/now
  exit 124
fi
grep -q nobody FOLDER/answers/$number || exec cat FOLDER/answers/$number
echo "Could not connect to Redis at 192.0.2.6:26379: Connection refused" >&2
exit 1
""",
    # Time passes only where somebody waits.
    "date": "[ $# -eq 1 ] && [ $1 = +%s ] && cat FOLDER/now\n",
    "sleep": "echo $1 >>FOLDER/slept\necho $(($(cat FOLDER/now) + $1)) >FOLDER/now\n",
}
SILENT, HANGS = "nobody", "hangs"
BEFORE_THE_END = 3


class Started:
    """What a start has come to."""

    def __init__(self, folder: Path, output: str) -> None:
        self.server = output.splitlines()
        self.asked = [path.read_text(encoding="utf-8").splitlines() for path in sorted((folder / "asked").iterdir())]
        self.slept = (folder / "slept").read_text().split() if (folder / "slept").exists() else []


@pytest.fixture
def start(run: Run, folder: Path, tmp_path: Path) -> Callable[..., Started]:
    """Runs the script that is written, on a server whose Sentinel has these answers in turn, the last one for ever."""

    def start(*answers: str, watched: bool = True, **arguments: Any) -> Started:
        run(**{**WATCHED, "start_wait": BEFORE_THE_END, **arguments})
        (tmp_path / "now").write_text("1700000000\n", encoding="utf-8")
        for name in ("bin", "asked", "answers"):
            (tmp_path / name).mkdir()
        for name, text in STUBS.items():
            stub = tmp_path / "bin" / name
            stub.write_text("#!/bin/sh\n" + text.replace("FOLDER", str(tmp_path)), encoding="utf-8")
            stub.chmod(0o755)
        for number, answer in enumerate(answers):
            name = "last" if number == len(answers) - 1 else str(number)
            (tmp_path / "answers" / name).write_text(answer, encoding="utf-8")
        if watched:
            (folder / "sentinel" / "sentinel-1.conf").touch()
        script = (folder / "redis" / "start.sh").read_text(encoding="utf-8")
        # As the container has its mounts.
        for mount, name in ((configuration.MOUNT, "redis"), (configuration.SENTINEL_MOUNT, "sentinel")):
            script = script.replace(mount, str(folder / name))
        (tmp_path / "start.sh").write_text(script, encoding="utf-8")
        found = subprocess.run(
            ["sh", str(tmp_path / "start.sh")],
            env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            encoding="utf-8",
            timeout=30,
            check=True,
        )
        # The container's log only has output of Redis.
        assert found.stderr == ""
        return Started(tmp_path, found.stdout)

    return start


@pytest.fixture
def config(folder: Path) -> str:
    return str(folder / "redis" / "redis-copies.conf")


ITSELF, OTHER = "192.0.2.6\n6379\n", "192.0.2.5\n6379\n"


def test_before_there_is_a_sentinel_it_starts_at_once(start: Callable[..., Started], config: str) -> None:
    found = start(OTHER, watched=False)
    assert (found.server, found.asked, found.slept) == ([config], [], [])


def test_where_another_is_the_primary_it_starts_as_its_copy(
    start: Callable[..., Started], folder: Path, config: str
) -> None:
    found = start(OTHER, sentinel_port=27000, peer_password="q-_9")
    assert found.server == [config, "--replicaof", "192.0.2.5", "6379"]
    words = f"-h 192.0.2.6 -p 27000 --tls --cacert {folder}/redis/ca.crt --user tethys_peer"
    words += " sentinel get-master-addr-by-name tethys-channels"
    # The password is no word of the command, which any user of the server could read.
    assert found.asked == [["3", "q-_9", *words.split()]]
    assert found.slept == []


@pytest.mark.parametrize(
    ("answers", "primary"),
    [
        ([ITSELF, ITSELF, OTHER], ["192.0.2.5", "6379"]),
        # Sentinel starts as well.
        ([SILENT, ITSELF, "192.0.2.7\n7000\n"], ["192.0.2.7", "7000"]),
        (["", SILENT, OTHER], ["192.0.2.5", "6379"]),
    ],
)
def test_a_primary_that_starts_waits_until_another_has_its_place(
    start: Callable[..., Started], config: str, answers: list[str], primary: list[str]
) -> None:
    found = start(*answers)
    assert found.server == [config, "--replicaof", *primary]
    assert (len(found.asked), found.slept) == (3, ["1", "1"])


@pytest.mark.parametrize("other", ["192.0.2.6\n7000\n", "192.0.2.66\n6379\n", "92.0.2.6\n6379\n"])
def test_who_is_nearly_itself_is_another(start: Callable[..., Started], config: str, other: str) -> None:
    assert start(other).server == [config, "--replicaof", *other.split()]


@pytest.mark.parametrize(
    "answer",
    [
        SILENT,
        # All of them have lost everything, and it is still the primary.
        ITSELF,
        "",
        "\n",
        # As redis-cli prints a refusal.
        "NOAUTH Authentication required.\n\n",
        "NOPERM User tethys_peer has no permissions to run the 'sentinel|get-master-addr-by-name' command\n\n",
        "ERR No such master with that name\n\n",
        "ERR max number of clients reached\n\n",
        "ERR: something: went wrong\n\n",
        # What would be an option of redis-server.
        "192.0.2.9\n6379 --loadmodule /tmp/x.so\n",
        "192.0.2.9\n6379\n--loadmodule\n/tmp/x.so\n",
        "192.0.2.9 --loadmodule\n6379\n",
        "--load.mod.ule\n6379\n",
        "192.0.2.*\n6379\n",
        # Sentinel only supports IPv4 addresses for its servers.
        "2001:db8::5\n6379\n",
    ],
)
def test_where_nobody_else_is_named_it_starts_after_a_while(
    start: Callable[..., Started], config: str, answer: str
) -> None:
    found = start(answer)
    assert found.server == [config]
    assert (len(found.asked), found.slept) == (BEFORE_THE_END, ["1"] * BEFORE_THE_END)


@pytest.mark.parametrize(("wait", "times"), [(35, 9), (8, 2), (9, 3)])
def test_a_sentinel_that_hangs_does_not_make_it_wait_longer(
    start: Callable[..., Started], config: str, wait: int, times: int
) -> None:
    found = start(HANGS, start_wait=wait)
    assert found.server == [config]
    # Each takes three seconds and the one between.
    assert (len(found.asked), found.slept) == (times, ["1"] * times)


def test_how_long_it_waits_by_itself(run: Run, folder: Path) -> None:
    run(**WATCHED)
    assert "end=$(($(date +%s) + 35))\n" in (folder / "redis" / "start.sh").read_text(encoding="utf-8")


# --- a new password beside the one it follows -----------------------------------------------------------------------


class Users:
    """What a running server returns to its admin about the portal's user, and the commands that it gets."""

    def __init__(self, *opens: str) -> None:
        self.opens = [sums(password) for password in opens]
        self.told: list[str] = []
        self.rights = ""
        self.there = True
        self.version = "7.0.15"

    def answer(self, command: str, words: list[str]) -> bytes:
        if command == "INFO":
            text = f"redis_version:{self.version}\r\n".encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        assert (command, words[2]) == ("ACL", "tethys")
        if words[1] == "GETUSER":
            rows = b"".join(b"$64\r\n%s\r\n" % each.encode() for each in self.opens)
            flags = b"$5\r\nflags\r\n*1\r\n$2\r\non\r\n"
            about = b"*6\r\n%s$9\r\npasswords\r\n*%d\r\n%s$4\r\nkeys\r\n$6\r\n~asgi*\r\n"
            return about % (flags, len(self.opens), rows) if self.there else b"*-1\r\n"
        assert words[1] == "SETUSER"
        words = words[3:]
        passwords = [word for word in words if word[0] in "#!"]
        for word in passwords:
            self.told.append(word)
            if word[0] == "#":
                self.opens.append(word[1:])
            else:
                self.opens.remove(word[1:])
        # In one command, so that there is no moment with fewer of either.
        self.rights = " ".join(words[len(passwords) :])
        return b"+OK\r\n"


@pytest.fixture
def server(redis: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Users, int | None]]:
    """Starts a server with users that the admin of these credentials may read and change."""

    def start(admin_password: str, *opens: str, path: Path | None = None) -> tuple[Users, int | None]:
        fake, endpoint = redis(user="tethys_admin", password=admin_password, path=path)
        users = Users(*opens)
        monkeypatch.setattr(fake, "answer", users.answer)
        return users, endpoint.get("port")

    return start


def opens_in_file(folder: Path) -> list[str]:
    """The sums that open for the portal in the configuration."""
    text = (folder / "redis" / "redis.conf").read_text(encoding="utf-8")
    (line,) = [row for row in text.splitlines() if row.startswith("user tethys ")]
    return [word[1:] for word in line.split() if word.startswith("#")]


def kept(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))
    return found


def test_both_passwords_open_until_the_old_one_is_retired(run: Run, folder: Path) -> None:
    first = run(password="one")
    assert not first["rotating"]
    second = run(password="two")
    assert second["changed"]
    assert second["rotating"]
    assert opens_in_file(folder) == [sums("two"), sums("one")]
    again = run(password="two")
    assert (again["changed"], again["rotating"]) == (False, True)
    last = run(password="two", retire=True)
    assert (last["changed"], last["rotating"]) == (True, False)
    assert opens_in_file(folder) == [sums("two")]
    assert not run(password="two", retire=True)["changed"]
    assert not run(password="two")["changed"]
    # No container is recreated for any of it, and neither is one from before there were rotations.
    assert {each["config_sum"] for each in (first, second, again, last)} == {first["config_sum"]}
    assert run(password="two", maxmemory_mb=64)["config_sum"] != first["config_sum"]


def test_the_sum_is_what_it_was_before_there_were_rotations(run: Run, folder: Path) -> None:
    first = run()
    text = (folder / "redis" / "redis.conf").read_text(encoding="utf-8")
    assert set(kept(folder)) == {"password", "admin_password"}
    assert first["config_sum"] == sums(kept(folder)["admin_password"] + text)[:32]


def test_a_rotation_after_a_stopped_one_drops_nobody_and_then_both(run: Run, folder: Path) -> None:
    for password in ("one", "two", "three"):
        run(password=password)
    assert opens_in_file(folder) == [sums("three"), sums("one"), sums("two")]
    assert run(password="one")["rotating"]
    assert opens_in_file(folder) == [sums("one"), sums("two"), sums("three")]
    run(password="one", retire=True)
    assert opens_in_file(folder) == [sums("one")]
    assert "previous" not in kept(folder)


def test_rotate_makes_a_password_and_keeps_a_given_one(run: Run) -> None:
    first = run()["credentials"]
    second = run(rotate=True)
    assert second["rotating"]
    assert second["credentials"]["password"] != first["password"]
    assert second["credentials"]["admin_password"] == first["admin_password"]
    assert run()["credentials"] == second["credentials"]
    assert run(rotate=True, password="given")["credentials"]["password"] == "given"


def test_check_mode_predicts_a_rotation(run: Run, folder: Path) -> None:
    run()
    before = kept(folder)
    result = run(check=True, rotate=True)
    assert (result["changed"], result["rotating"]) == (True, True)
    assert result["credentials"]["password"] != before["password"]
    assert kept(folder) == before
    assert len(opens_in_file(folder)) == 1


def test_without_users_there_is_one_password(run: Run, folder: Path) -> None:
    first = run(password="one", acl=False)
    second = run(password="two", acl=False)
    assert second["config_sum"] != first["config_sum"]
    assert not second["rotating"]
    assert set(kept(folder)) == {"password", "admin_password"}


def test_a_rotation_shows_no_sum(run: Run, folder: Path) -> None:
    shown = [run(password="one"), run(password="two"), run(password="three"), run(password="three", retire=True)]
    text = json.dumps([{name: value for name, value in each.items() if name != "credentials"} for each in shown])
    for password in ("one", "two", "three"):
        assert sums(password) not in text


def test_the_running_server_is_told(run: Run, server: Callable[..., Any]) -> None:
    admin = run(password="one")["credentials"]["admin_password"]
    users, port = server(admin, "one")
    assert not run(password="one", port=port, running=True)["changed"]
    assert users.told == []
    dry = run(check=True, password="two", port=port, running=True)
    assert (dry["changed"], users.told) == (True, [])
    run(password="two", port=port, running=True)
    assert users.told == ["#" + sums("two")]
    assert not run(password="two", port=port, running=True)["changed"]
    assert run(password="two", port=port, running=True, retire=True)["changed"]
    assert users.opens == [sums("two")]
    assert users.told[1:] == ["!" + sums("one")]


def test_one_on_a_socket_is_told_there(run: Run, server: Callable[..., Any], folder: Path) -> None:
    way = over_socket(folder)
    admin = run(password="one", **way)["credentials"]["admin_password"]
    # On the previous port there is another Redis, which must not be changed.
    other, port = server(admin, "one")
    users, _none = server(admin, "one", path=Path(way["socket"]))
    assert run(password="two", port=port, **way)["changed"]
    assert (users.told, other.told) == ([], []), "Nobody is told unless one runs."
    assert run(password="two", port=port, running=True, **way)["changed"]
    assert (users.told, other.told) == (["#" + sums("two")], [])
    assert run(password="two", port=port, running=True, retire=True, **way)["changed"]
    assert users.opens == [sums("two")]


@pytest.mark.parametrize("acl", [True, False])
def test_a_socket_that_is_lost_makes_the_server_start_again(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, acl: bool
) -> None:
    way = over_socket(folder, acl=acl)
    run(**way)
    monkeypatch.setattr(config_files, "SOCKET_PAUSE", 0)
    assert run(running=True, **way)["stale"]
    # One that a server left behind when it was killed.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(way["socket"])
    assert run(running=True, **way)["stale"]
    assert not run(**way)["stale"]
    Path(way["socket"]).unlink()
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(way["socket"])
        served.listen()
        served.settimeout(5)
        if not acl:
            assert not run(running=True, **way)["stale"]


def test_one_that_is_just_starting_is_waited_for(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = over_socket(folder, acl=False)
    run(**way)
    with socket.socket(socket.AF_UNIX) as served:

        def start(_seconds: float) -> None:
            served.bind(way["socket"])
            served.listen()

        monkeypatch.setattr(config_files.time, "sleep", start)
        assert not run(running=True, **way)["stale"]


def test_the_file_of_another_way_stays_until_its_container_has_gone(run: Run, folder: Path) -> None:
    def files() -> list[str]:
        return sorted(path.name for path in (folder / "redis").iterdir())

    run()
    found = run(transport="host", port=6390)
    assert found["config_file"] == "redis-host-6390.conf"
    assert files() == ["redis-host-6390.conf", "redis.conf"]
    run(check=True, transport="host", port=6390, running=True, acl=False)
    assert files() == ["redis-host-6390.conf", "redis.conf"]
    run(transport="host", port=6390, running=True)
    assert files() == ["redis-host-6390.conf"]


@pytest.mark.parametrize("transport", ["published", "host"])
def test_nobody_is_told_unless_one_runs(run: Run, server: Callable[..., Any], transport: str) -> None:
    admin = run(password="one", transport=transport)["credentials"]["admin_password"]
    users, port = server(admin, "one")
    run(password="two", port=port, transport=transport)
    assert users.told == []
    run(password="two", port=port, transport=transport, running=True)
    assert users.told == ["#" + sums("two")]


def test_a_server_that_has_not_heard_is_told_by_the_next_run(run: Run, server: Callable[..., Any]) -> None:
    run(password="one")
    admin = run(password="two")["credentials"]["admin_password"]
    users, port = server(admin, "one", "somebody's")
    assert run(password="two", port=port, running=True)["changed"]
    assert set(users.opens) == {sums("one"), sums("two")}


def test_a_server_that_does_not_let_the_admin_in_has_to_start_again(run: Run, server: Callable[..., Any]) -> None:
    run()
    users, port = server("another's")
    result = run(port=port, running=True)
    assert (result["stale"], result["changed"], users.told) == (True, False, [])
    users, port = server(result["credentials"]["admin_password"])
    users.there = False
    assert run(port=port, running=True)["stale"]
    assert users.told == []


@pytest.mark.parametrize(
    ("answer", "stale"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", True),
        ("NOPERM this user has no permissions to run the 'acl' command", True),
        ("ERR max number of clients reached", False),
        ("LOADING Redis is loading the dataset in memory", False),
        (client.CLOSED, False),
    ],
)
def test_only_a_login_that_is_refused_is_a_reason_to_restart(answer: str, stale: bool) -> None:
    assert redis_settings.shut_out(client.RedisError(answer)) is stale


def test_one_that_is_not_there_is_for_others_to_start(run: Run, folder: Path) -> None:
    run(password="one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = run(password="two", port=port, running=True)
    assert (result["stale"], result["changed"]) == (False, True)
    last = run(password="two", port=port, running=True, retire=True)
    assert last["failed"]
    assert "run again" in last["msg"]
    assert kept(folder)["previous"] == [sums("one")]


def rights_in_file(folder: Path) -> str:
    """The portal's rights in the configuration."""
    text = (folder / "redis" / "redis.conf").read_text(encoding="utf-8")
    [line] = [row for row in text.splitlines() if row.startswith("user tethys ")]
    return " ".join(word for word in line.split()[3:] if word[0] != "#")


class Killed(BaseException):
    """The end of a run that nobody sees coming."""


@pytest.mark.parametrize("retire", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("calls", [1, 2, 3])
def test_killed_anywhere_and_run_again(
    run: Run,
    folder: Path,
    server: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    calls: int,
    after: bool,
    retire: bool,
) -> None:
    """A rotation and another class of the layer in one run."""
    admin = run(password="one")["credentials"]["admin_password"]
    users, port = server(admin, "one")
    after_it = {"password": "two", "backend": PUBSUB, "port": port, "running": True}
    if retire:
        run(**after_it)
    left = [calls]

    def until(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and not after:
                raise Killed
            found = real(*arguments)
            if left[0] == 0:
                raise Killed
            return found

        return call

    with monkeypatch.context() as patched:
        for name in ("put", "tell"):
            patched.setattr(config_files, name, until(getattr(config_files, name)))
        with pytest.raises(Killed):
            run(**after_it, retire=retire)
    # What the portal may have until then opens, also after a restart.
    for opens in (opens_in_file(folder), users.opens):
        assert sums("two" if retire else "one") in opens
    # A server that was not asked yet has the rights that it started with.
    for granted in (rights_in_file(folder), users.rights or rights("asgi", ["core"])):
        assert (OF_PUBSUB if retire else OF_CORE) in granted
    run(**after_it)
    run(**after_it, retire=True)
    assert users.opens == opens_in_file(folder) == [sums("two")]
    alone = rights("asgi", ["pubsub"])
    assert (rights_in_file(folder), users.rights) == (alone, f"resetchannels {alone}")
    assert set(kept(folder)) == {"password", "admin_password", "first", "first_class"}
    assert not run(**after_it)["changed"]


# --- another class of the layer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(CORE, PUBSUB), (PUBSUB, CORE)])
def test_both_classes_have_their_rights_until_the_old_ones_are_retired(
    run: Run, folder: Path, server: Callable[..., Any], before: str, after: str
) -> None:
    first = run(password="one", backend=before)
    users, port = server(first["credentials"]["admin_password"], "one")
    running = {"password": "one", "backend": after, "port": port, "running": True}
    assert not first["rotating"]
    dry = run(check=True, **running)
    assert (dry["changed"], dry["rotating"], users.rights) == (True, True, "")
    second = run(**running)
    former = {CORE: "the rights of the core class", PUBSUB: "the rights of the pub/sub class"}[before]
    assert (second["changed"], second["leaving"]) == (True, [former])
    both = rights("asgi", ["core", "pubsub"])
    assert (rights_in_file(folder), users.rights) == (both, f"resetchannels {both}")
    again = run(**running)
    assert (again["changed"], again["leaving"]) == (False, [former])
    last = run(**running, retire=True)
    assert (last["changed"], last["rotating"], last["leaving"]) == (True, False, [])
    alone = rights("asgi", ["core" if after == CORE else "pubsub"])
    assert (rights_in_file(folder), users.rights) == (alone, f"resetchannels {alone}")
    assert not run(**running)["changed"]
    # The container is not replaced for any of it.
    assert {each["config_sum"] for each in (dry, second, again, last)} == {first["config_sum"]}
    back = run(**{**running, "backend": before})
    assert (back["leaving"] != [], back["config_sum"]) == (True, first["config_sum"])
    assert "first_class" not in kept(folder)


def test_another_way_may_come_with_another_class(run: Run, folder: Path) -> None:
    """A server that stands alone comes under Sentinel, or gets a socket: its file has another name then."""
    run(password="one")
    second = run(password="one", backend=PUBSUB, transport="host", port=6390)
    text = (folder / "redis" / "redis-host-6390.conf").read_text(encoding="utf-8")
    assert second["leaving"] == ["the rights of the core class"]
    assert rights("asgi", ["core", "pubsub"]) in text
    running = {"password": "one", "backend": PUBSUB, "transport": "host", "port": 6390}
    assert run(**running)["leaving"] == ["the rights of the core class"]
    assert run(**running, retire=True)["leaving"] == []
    # The file of the way before, which is there until its server has gone, brings nothing back.
    assert (folder / "redis" / "redis.conf").exists()
    again = run(**running)
    assert (again["changed"], again["leaving"]) == (False, [])


def test_a_rotation_may_come_with_another_class(run: Run, folder: Path, server: Callable[..., Any]) -> None:
    first = run(password="one")
    users, port = server(first["credentials"]["admin_password"], "one")
    running = {"password": "two", "backend": PUBSUB, "port": port, "running": True}
    second = run(**running)
    assert second["leaving"] == ["the old password", "the rights of the core class"]
    assert second["config_sum"] == first["config_sum"]
    run(**running, retire=True)
    assert (users.opens, users.rights) == ([sums("two")], f"resetchannels {rights('asgi', ['pubsub'])}")


def test_a_server_that_lost_its_rights_gets_them_again(run: Run, server: Callable[..., Any]) -> None:
    """A run that was killed between the file and the server, or somebody's own ACL SETUSER."""
    users, port = server(run(password="one")["credentials"]["admin_password"], "one")
    assert not run(password="one", port=port, running=True)["changed"]
    assert users.rights == f"resetchannels {rights('asgi', ['core'])}"


def test_one_that_does_not_run_is_replaced_for_another_class(run: Run, folder: Path) -> None:
    first = run(password="one")
    second = run(password="one", backend=PUBSUB)
    assert second["config_sum"] != first["config_sum"]
    # What still runs with the class before, such as a portal of a shared Redis, is let in.
    assert rights_in_file(folder) == rights("asgi", ["core", "pubsub"])
    assert run(password="one", backend=PUBSUB, retire=True)["config_sum"] == second["config_sum"]


def test_redis_6_0_is_sent_nothing_about_channels(run: Run, folder: Path, server: Callable[..., Any]) -> None:
    users, port = server(run(password="one")["credentials"]["admin_password"], "one")
    users.version = "6.0.16"
    # By its image's tag, or, where that has no version, as it says itself.
    for by_tag in ({"channel_rights": False}, {}):
        run(password="one", **by_tag, backend=PUBSUB, port=port, running=True)
    assert "+publish" in users.rights
    assert "channels" not in users.rights + rights_in_file(folder)
    assert "&" not in users.rights + rights_in_file(folder)


def test_redis_6_0_is_replaced_by_a_later_one(run: Run, folder: Path, server: Callable[..., Any]) -> None:
    """The file is for the server to come, and the one that runs is sent what it knows."""
    users, port = server(run(password="one")["credentials"]["admin_password"], "one")
    users.version = "6.0.16"
    run(password="one", channel_rights=True, backend=PUBSUB, port=port, running=True)
    assert "&asgi*" in rights_in_file(folder)
    assert "+publish" in users.rights
    assert "&" not in users.rights
    assert "resetchannels" not in users.rights


def test_another_run_is_waited_for_and_not_for_ever(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(password="one")
    monkeypatch.setattr(redis_settings, "alone", functools.partial(alone, seconds=0))
    with alone(folder):
        assert run(password="two")["msg"].startswith("Another run is changing this server")
    assert kept(folder)["password"] == "one"

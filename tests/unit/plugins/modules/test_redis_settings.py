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
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import services
from ansible_collections.tethys.channels.plugins.module_utils.one_run import alone
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


def test_users_of_the_core_layer() -> None:
    default, portal, admin = redis_settings.users(CREDENTIALS, "asgi", CORE, True)
    assert default == "user default off"
    assert portal.startswith(f"user tethys on #{sums('p')} resetkeys -@all ")
    assert " ~asgi* " in portal
    granted = {word for word in portal.split() if word.startswith("+")}
    assert {"+bzpopmin", "+eval", "+evalsha", "+zadd", "+ping", "+hello", "+auth"} <= granted
    # None of these is the portal's, and Redis 7.0 does not start with the last one.
    assert not {"+get", "+set", "+keys", "+scan", "+info", "+flushall", "+config", "+client|setinfo"} & granted
    # 6.0 knows no rights on channels.
    assert "&" not in portal + admin
    assert "resetchannels" not in portal + admin


def test_users_of_the_pubsub_layer() -> None:
    _default, portal, _admin = redis_settings.users(CREDENTIALS, "other", PUBSUB, True)
    assert " resetchannels &other* +publish +subscribe +unsubscribe" in portal
    assert "~" not in portal


def test_the_admin_can_look_and_not_read() -> None:
    admin = redis_settings.users(CREDENTIALS, "asgi", CORE, True)[2]
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
    (line,) = redis_settings.users({"password": password}, "asgi", CORE, False)
    keyword, _space, word = line.partition(" ")
    assert keyword == "requirepass"
    assert len(line.splitlines()) == 1
    assert redis_word(word) == password.encode()


def test_configuration() -> None:
    lines = redis_settings.configuration(192)
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
    lines = redis_settings.configuration(192, **transport)
    for line in [*said, "maxmemory 192mb"]:
        assert lines.count(line) == 1
    for opening in not_said:
        assert [line for line in lines if line.startswith(opening)] == []


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
        given = {"directory": str(folder), "uid": UID, "maxmemory_mb": 192, **arguments}
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
    assert found["msg"].startswith(f"{name} would be empty, and Redis would not start: ")
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


# --- a new password beside the one it follows -----------------------------------------------------------------------


class Users:
    """What a running server answers its admin about the portal's user, and what it is told."""

    def __init__(self, *opens: str) -> None:
        self.opens = [sums(password) for password in opens]
        self.told: list[str] = []
        self.there = True

    def answer(self, command: str, words: list[str]) -> bytes:
        assert (command, words[2]) == ("ACL", "tethys")
        if words[1] == "GETUSER":
            rows = b"".join(b"$64\r\n%s\r\n" % each.encode() for each in self.opens)
            flags = b"$5\r\nflags\r\n*1\r\n$2\r\non\r\n"
            about = b"*6\r\n%s$9\r\npasswords\r\n*%d\r\n%s$4\r\nkeys\r\n$6\r\n~asgi*\r\n"
            return about % (flags, len(self.opens), rows) if self.there else b"*-1\r\n"
        assert words[1] == "SETUSER"
        for word in words[3:]:
            self.told.append(word)
            if word[0] == "#":
                self.opens.append(word[1:])
            else:
                assert word[0] == "!"
                self.opens.remove(word[1:])
        return b"+OK\r\n"


@pytest.fixture
def server(redis: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Users, int | None]]:
    """Starts a server with users that the admin of these credentials may ask and tell."""

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
    # A container is not made anew for any of it, and one that was made before there were rotations is not either.
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
    # On the port of before there is another, who is not ours to tell.
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
    monkeypatch.setattr(redis_settings, "SOCKET_PAUSE", 0)
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

        monkeypatch.setattr(redis_settings.time, "sleep", start)
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
        (services.CLOSED, False),
    ],
)
def test_only_a_login_that_is_refused_is_a_reason_to_restart(answer: str, stale: bool) -> None:
    assert redis_settings.shut_out(services.RedisError(answer)) is stale


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
    admin = run(password="one")["credentials"]["admin_password"]
    users, port = server(admin, "one")
    if retire:
        run(password="two", port=port, running=True)
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
            patched.setattr(redis_settings, name, until(getattr(redis_settings, name)))
        with pytest.raises(Killed):
            run(password="two", port=port, running=True, retire=retire)
    # What the portal may have until then opens, also after a restart.
    for opens in (opens_in_file(folder), users.opens):
        assert sums("two" if retire else "one") in opens
    run(password="two", port=port, running=True)
    run(password="two", port=port, running=True, retire=True)
    assert users.opens == opens_in_file(folder) == [sums("two")]
    assert set(kept(folder)) == {"password", "admin_password", "first"}
    assert not run(password="two", port=port, running=True)["changed"]


def test_another_run_is_waited_for_and_not_for_ever(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(password="one")
    monkeypatch.setattr(redis_settings, "alone", functools.partial(alone, seconds=0))
    with alone(folder):
        assert run(password="two")["msg"].startswith("Another run is changing this server")
    assert kept(folder)["password"] == "one"

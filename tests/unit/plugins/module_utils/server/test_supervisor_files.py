# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Supervisor's configuration as we read it, beside what Supervisor's own parser makes of the same files."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import supervisor_files
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import SupervisorFiles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

VARIABLES = {"SOCKET_DIR": "/run/portal", "PORTAL_USER": "daemon", "COUNT": "3"}


def own(config: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what supervisord makes of a configuration."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    options = ServerOptions()
    options.configfile, options.here = str(config), str(config.parent)
    section = options.read_config(str(config))
    return {
        "socket": section.server_configs[0]["file"],
        "username": section.server_configs[0]["username"],
        "includes": [text.split('"')[1] for text in options.parse_infos],
        "groups": {
            group.name: {
                "user": group.process_configs[0].uid,
                "numprocs": len(group.process_configs),
                "port": getattr(getattr(group, "socket_config", None), "port", None),
            }
            for group in section.process_group_configs
        },
    }


def ours(config: Path) -> dict[str, Any]:
    """Return the same as this collection reads it."""
    files = SupervisorFiles(str(config), lambda: VARIABLES)
    groups = {}
    for file in files.files():
        for title, options in file.sections.items():
            kind, _colon, name = title.partition(":")
            if kind in ("program", "fcgi-program"):
                user, port = options.get("user"), options.get("socket", "").rpartition(":")[2]
                groups[name] = {
                    "user": pwd.getpwnam(user).pw_uid if user else None,
                    "numprocs": int(options.get("numprocs", 1)),
                    "port": int(port) if port else None,
                }
    return {
        "socket": files.get("unix_http_server", "file", ""),
        "username": files.get("unix_http_server", "username", "") or None,
        "includes": files.program_files(),
        "groups": groups,
    }


def write(folder: Path, main: str, **files: str) -> Path:
    (folder / "conf.d").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "conf.d" / f"{name}.conf").write_text(text)
    config = folder / "supervisord.conf"
    config.write_text(main)
    return config


MAIN = "[supervisord]\nnodaemon=true\n[unix_http_server]\n{}\n[include]\nfiles = conf.d/*.conf   # the portal's\n"
PROGRAM = "[fcgi-program:asgi]\ncommand=/bin/sleep 60\nprocess_name=a%(process_num)d\nsocket=tcp://127.0.0.1:8000\n{}\n"


@pytest.mark.parametrize(
    "line",
    [
        "file=/run/s.sock",
        "file=/run/s.sock   ; the socket",
        "file=/run/s.sock   # the socket",
        "file=/run/s.sock;not a comment",
        "file=/run/s.sock#not a comment",
        "file=%(here)s/s.sock",
        "file = %(ENV_SOCKET_DIR)s/s.sock # of the environment",
        "file: /run/s%%1.sock",
        "# file=/run/other.sock\n; file=/run/third.sock\nfile=/run/s.sock",
        "file=/run/s.sock\nusername=a # b\npassword=c",
    ],
)
def test_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    config = write(tmp_path, MAIN.format(line))
    found = ours(config)
    assert found == own(config, monkeypatch)
    assert "#" not in found["socket"].replace("#not", "")


@pytest.mark.parametrize(
    "lines",
    [
        "user=root   # until the web server's user may read the home",
        "user=root   ; for now\nnumprocs=2 # both",
        "user=%(ENV_PORTAL_USER)s\nnumprocs=%(ENV_COUNT)s",
        "socket=tcp://127.0.0.1:80%(ENV_COUNT)s0",
        "directory=%(here)s",
        "environment=HERE=\"%(here)s\",A='b' # c",
        "user=root\nuser=daemon",
    ],
)
def test_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str) -> None:
    config = write(tmp_path, MAIN.format("file=/run/s.sock"), asgi=PROGRAM.format(lines))
    assert ours(config) == own(config, monkeypatch)


def test_a_variable_that_supervisord_gives_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = MAIN.replace("nodaemon=true", "nodaemon=true\nenvironment = WHO=\"daemon\",DIR='%(here)s/x',COUNT=2")
    program = PROGRAM.format("user=%(ENV_WHO)s\nnumprocs=%(ENV_COUNT)s")
    config = write(tmp_path, main.format("file=%(ENV_DIR)s/s.sock"), asgi=program)
    found = ours(config)
    assert found == own(config, monkeypatch)
    assert found["socket"] == f"{tmp_path}/x/s.sock"
    assert (found["groups"]["asgi"]["user"], found["groups"]["asgi"]["numprocs"]) == (pwd.getpwnam("daemon").pw_uid, 2)


@pytest.mark.parametrize(("roots", "writers"), [(True, []), (True, [{}]), (False, [])])
def test_the_environment_is_that_of_roots_supervisord(
    monkeypatch: pytest.MonkeyPatch, roots: bool, writers: list[Any]
) -> None:
    started = {7: roots, 8: False}
    monkeypatch.setattr(supervisor_files.proc, "supervisords", lambda: [8, 7])
    monkeypatch.setattr(supervisor_files.proc, "is_roots", started.get)
    monkeypatch.setattr(supervisor_files.proc, "writers_of_program", lambda _pid: writers)
    monkeypatch.setattr(supervisor_files.proc, "environment", lambda pid: {"PID": str(pid)})
    monkeypatch.setattr(supervisor_files, "config_of", lambda _pid: None)
    found = supervisor_files.environment_of_supervisord("/etc/supervisord.conf")
    assert found == ({"PID": "7"} if roots and not writers else {})


@pytest.mark.parametrize(
    ("configs", "pid"),
    [
        ({8: "/a.conf", 7: "/b.conf"}, 7),
        ({7: "/b.conf", 8: "/a.conf"}, 7),
        ({8: None, 7: "/b.conf"}, 7),
        # Its command does not show its configuration.
        ({8: "/a.conf", 7: None}, 7),
        # The only one, by another path.
        ({7: "/link.conf"}, 7),
        ({8: "/a.conf", 7: "/c.conf"}, None),
    ],
)
def test_the_environment_is_that_of_the_supervisord_with_the_configuration(
    monkeypatch: pytest.MonkeyPatch, configs: dict[int, str | None], pid: int | None
) -> None:
    monkeypatch.setattr(supervisor_files.proc, "supervisords", lambda: list(configs))
    monkeypatch.setattr(supervisor_files.proc, "is_roots", lambda _pid: True)
    monkeypatch.setattr(supervisor_files.proc, "writers_of_program", lambda _pid: [])
    monkeypatch.setattr(supervisor_files.proc, "environment", lambda found: {"PID": str(found)})
    monkeypatch.setattr(supervisor_files, "config_of", configs.get)
    assert supervisor_files.environment_of_supervisord("/b.conf") == ({} if pid is None else {"PID": str(pid)})


def test_the_environment_is_that_of_the_supervisord_with_a_link_to_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.conf").symlink_to("real.conf")
    configs = {7: f"{tmp_path}/a.conf", 8: f"{tmp_path}/real.conf"}
    monkeypatch.setattr(supervisor_files.proc, "supervisords", lambda: list(configs))
    monkeypatch.setattr(supervisor_files.proc, "is_roots", lambda _pid: True)
    monkeypatch.setattr(supervisor_files.proc, "writers_of_program", lambda _pid: [])
    monkeypatch.setattr(supervisor_files.proc, "environment", lambda found: {"PID": str(found)})
    monkeypatch.setattr(supervisor_files, "config_of", configs.get)
    assert supervisor_files.environment_of_supervisord(f"{tmp_path}/link.conf") == {"PID": "8"}


def test_here_is_the_folder_of_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write(
        tmp_path,
        "[supervisord]\n[include]\nfiles = %(here)s/conf.d/*.conf conf.d/none*.conf\n",
        more="[unix_http_server]\nfile=%(here)s/s.sock\n",
        asgi=PROGRAM.format("directory=%(here)s"),
    )
    found = ours(config)
    assert found == own(config, monkeypatch)
    assert found["socket"] == f"{tmp_path}/conf.d/s.sock"
    (file,) = (file for file in SupervisorFiles(str(config)).files() if "fcgi-program:asgi" in file.sections)
    assert file.sections["fcgi-program:asgi"]["directory"] == f"{tmp_path}/conf.d"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_does_not_say_where_supervisord_is(tmp_path: Path) -> None:
    config = write(
        tmp_path,
        "[supervisord]\n[include]\nfiles = conf.d/*.conf\n",
        asgi="[unix_http_server]\nfile=/tmp/trap\n[fcgi-program:asgi]\nuser=daemon\n",
    )
    assert SupervisorFiles(str(config)).get("unix_http_server", "file", "none") == "/tmp/trap"
    os.chown(tmp_path / "conf.d" / "asgi.conf", 12345, 12345)
    tmp_path.chmod(0o755)
    files = SupervisorFiles(str(config))
    assert files.get("unix_http_server", "file", "none") == "none"
    assert [file.sections.get("fcgi-program:asgi") for file in files.files()] == [None, {"user": "daemon"}]


PARTS = ["a", "/b", " ", "#", ";", " # ", " ; ", "%%", "%(here)s", "%(ENV_COUNT)s", "%(program_name)s", "="]
VALUE = st.lists(st.sampled_from(PARTS)).map("".join)


@given(st.lists(VALUE, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_is_supervisors(tmp_path: Path, values: list[str]) -> None:
    lines = "".join(f"directory = {value}\n" for value in values)
    config = write(tmp_path, MAIN.format("file=/run/s.sock"), asgi=PROGRAM.format(lines))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        options = ServerOptions()
        options.configfile, options.here = str(config), str(config.parent)
        (group,) = options.read_config(str(config)).process_group_configs
    (file,) = (file for file in SupervisorFiles(str(config), lambda: VARIABLES).files() if "asgi" in file.path)
    assert file.sections["fcgi-program:asgi"]["directory"] == group.process_configs[0].directory


@pytest.mark.parametrize("value", ["it's%secret", "100%", "%(no such)s", "%(ENV_NONE)s", "%d", "%(here", "%"])
def test_a_value_that_supervisord_cannot_expand_stays(value: str) -> None:
    assert supervisor_files.expanded(value, {"here": "/x"}) == value


@pytest.mark.parametrize("text", ["", "A", "A=", 'A="b', "=b", "A=b C=d", 'A="b,c",D=e', "A='x=y',B=1-2.3:/4"])
def test_pairs_of_an_environment(text: str) -> None:
    from supervisor.datatypes import dict_of_key_value_pairs

    try:
        expected = dict_of_key_value_pairs(text)
    except ValueError:
        return
    assert supervisor_files.pairs(text) == expected


def test_what_cannot_be_read_has_no_sections(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert supervisor_files.read(str(tmp_path / "fifo")) is None
    assert supervisor_files.read(str(tmp_path / "none")) is None
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", 200 << 30)
    assert supervisor_files.read(str(tmp_path / "large")) is None


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Its owner may take the right to read away from itself: supervisord, as root, still reads the file."""
    config = tmp_path / "supervisord.conf"
    config.write_text("[include]\nfiles = conf.d/*.conf\n", encoding="utf-8")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text("[program:x]\n", encoding="utf-8")
    (tmp_path / "conf.d" / "b.conf").write_text("[program:x]\n#" + "x" * supervisor_files.MOST_BYTES, encoding="utf-8")
    (tmp_path / "conf.d" / "c.conf").symlink_to(tmp_path / "gone")
    assert SupervisorFiles(str(config), dict).unread() == [str(tmp_path / "conf.d" / "b.conf")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("", True),
        ("; only a comment\n", True),
        ("[program:x]\nenvironment=" + "A" * 5000 + "\n", True),
        # configparser takes quadratic time for it: an hour for 1 MiB.
        ("[program:x]\nx" + " " * 60_000 + "y\n", False),
        ("[program:x]\n" + "#" * 70_000, False),
        (f"[program:{'x' * 30_000}]\na={'%(program_name)s' * 2000}\n", False),
    ],
    ids=["empty", "comment", "long", "blanks", "large", "name"],
)
def test_a_file_of_another_user_is_read_within_bounds(tmp_path: Path, text: str, is_read: bool) -> None:
    file = tmp_path / "x.conf"
    file.write_text(text, encoding="utf-8")
    os.chown(file, 12345, 12345)
    tmp_path.chmod(0o755)
    started = time.monotonic()
    assert (supervisor_files.read(str(file)) is not None) == is_read
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "value",
    ["%(x)4000000000s", "%(x)-100s", "%(" * 30_000, "%(x)s" * 5 + "%(x)999999s", "%(x)s %(long)s" * 4000],
)
def test_a_value_takes_no_more_memory_than_it_is_worth(value: str) -> None:
    started = time.monotonic()
    assert supervisor_files.expanded(value, {"x": "name", "long": "x" * 2000}) == value
    assert time.monotonic() - started < 1
    assert supervisor_files.expanded("%(x)s-%(n)02d", {"x": "name", "n": 3}) == "name-03"

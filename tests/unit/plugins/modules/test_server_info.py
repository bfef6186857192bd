# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What server_info sees of a server: this one's own sockets, and made-up engines and program files."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable
from unittest.mock import Mock

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import engines, proof_record, services
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    containers,
    listeners,
    operating_system,
    proc,
    programs,
    supervisor_files,
    survey,
)
from ansible_collections.tethys.channels.plugins.modules import server_info

Start = Callable[..., Any]


# --- the system -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            'PRETTY_NAME="Debian 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n# ID=other\n',
            {"id": "debian", "id_like": "", "name": "Debian GNU/Linux", "version_id": "12"},
        ),
        (
            "ID='rocky'\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID='9.4'",
            {"id": "rocky", "id_like": "rhel centos fedora", "name": "", "version_id": "9.4"},
        ),
        ("", {"id": "", "id_like": "", "name": "", "version_id": ""}),
        (None, {"id": "", "id_like": "", "name": "", "version_id": ""}),
    ],
)
def test_os_release(monkeypatch: pytest.MonkeyPatch, text: str | None, found: dict[str, str]) -> None:
    def read(self: Path, encoding: str) -> str:
        assert str(self) == "/etc/os-release"
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read)
    assert operating_system.os_release() == found


# --- repositories and SELinux ---------------------------------------------------------------------------------------


def test_the_repositories_that_are_in_use(tmp_path: Path) -> None:
    (tmp_path / "rocky.repo").write_text("[baseos]\nname=Rocky %(none)\n[crb]\nenabled=0\n")
    (tmp_path / "epel.repo").write_text("[epel]\nenabled=1\n[epel-debuginfo]\nenabled = False\n")
    (tmp_path / "broken.repo").write_text("no section\n")
    (tmp_path / "notes.txt").write_text("[other]\n")
    assert sorted(operating_system.repositories(str(tmp_path))) == ["baseos", "epel"]
    assert operating_system.repositories(str(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, {"mode": "disabled", "web_connects": None}),
        ({"enforce": "0"}, {"mode": "permissive", "web_connects": None}),
        ({"enforce": "1", "booleans/httpd_can_network_connect": "1 1"}, {"mode": "enforcing", "web_connects": True}),
        ({"enforce": "1", "booleans/httpd_can_network_connect": "0 1"}, {"mode": "enforcing", "web_connects": False}),
        ({"enforce": ""}, {"mode": "disabled", "web_connects": None}),
    ],
)
def test_selinux(tmp_path: Path, files: dict[str, str], found: dict[str, Any]) -> None:
    (tmp_path / "booleans").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert operating_system.selinux(str(tmp_path)) == found


# --- listeners ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "address", "kind"),
    [
        (socket.AF_INET, "127.0.0.1", "loopback"),
        (socket.AF_INET, "0.0.0.0", "everything"),  # noqa: S104 - a test
        (socket.AF_INET, "127.0.0.2", "other"),
        (socket.AF_INET6, "::1", "loopback"),
        (socket.AF_INET6, "::", "everything"),
        (socket.AF_INET6, "::ffff:127.0.0.1", "loopback"),
    ],
)
def test_a_listener_is_this_process(family: socket.AddressFamily, address: str, kind: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        port = listening.getsockname()[1]
        assert listeners.listeners({port}) == [], "What is bound and does not listen is nobody's yet."
        listening.listen()
        (row,) = listeners.listeners({port, 1})
        assert (row["port"], row["address"], row["pid"]) == (port, kind, os.getpid())
        assert row["user"] == pwd.getpwuid(os.geteuid()).pw_name
        assert Path(sys.executable).name in row["command"]
        assert len(row["command"]) <= 200
    assert listeners.listeners({port}) == []


@pytest.mark.parametrize(
    ("family", "bound", "address", "kind"),
    [
        (socket.AF_INET, "127.0.0.2", "127.0.0.2", "redis"),
        (socket.AF_INET, "127.0.0.3", "127.0.0.2", "other"),
        (socket.AF_INET6, "::ffff:127.0.0.2", "127.0.0.2", "redis"),
        (socket.AF_INET6, "::1", "0:0::1", "redis"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.2", "everything"),  # noqa: S104 - a test
    ],
)
def test_a_listener_on_the_address_of_redis(family: socket.AddressFamily, bound: str, address: str, kind: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        try:
            listening.bind((bound, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listening.listen()
        (row,) = listeners.listeners({listening.getsockname()[1]}, address)
        assert row["address"] == kind


def test_everybody_who_holds_a_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        come, go = os.pipe()
        child = os.fork()
        if not child:
            os.close(go)
            os.read(come, 1)
            os._exit(0)
        try:
            rows = listeners.listeners({port})
        finally:
            os.close(go)
            os.close(come)
            os.waitpid(child, 0)
        assert sorted(row["pid"] for row in rows) == sorted((os.getpid(), child))


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        (row,) = listeners.listeners({listening.getsockname()[1]})
        assert row["user"] == str(os.geteuid())


@pytest.mark.parametrize(
    ("name", "is_roots", "program"),
    [("supervisord", True, "asgi"), ("supervisord", False, None), ("bash", True, None)],
)
def test_a_listener_is_of_supervisors_where_supervisord_started_it(
    monkeypatch: pytest.MonkeyPatch, name: str, is_roots: bool, program: str | None
) -> None:
    """Any user can listen on the portal's port with the name of the portal's program in the environment."""
    monkeypatch.setattr(proc, "environment", lambda pid, proc: {"SUPERVISOR_GROUP_NAME": "asgi"})
    monkeypatch.setattr(proc, "name_of", lambda pid, proc: name if pid == os.getppid() else "python")
    monkeypatch.setattr(proc, "is_roots", lambda pid, proc: is_roots)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        (row,) = listeners.listeners({listening.getsockname()[1]})
    assert row["program"] == program


# --- Docker ---------------------------------------------------------------------------------------------------------


class Api:
    """Docker's socket that answers from a table."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def get(self, url: str) -> Any:
        found = self.answers[url]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], engines.DockerEngine]:
    """Docker with these answers."""

    def make(answers: dict[str, Any]) -> engines.DockerEngine:
        monkeypatch.setattr(engines, "Docker", lambda: Api(answers))
        return engines.DockerEngine()

    return make


def container(number: int, name: str | None, state: str = "running", port: int | None = None, **more: Any) -> Any:
    ports = [{"PrivatePort": 6379, "Type": "tcp"}] + ([{"PrivatePort": 6379, "PublicPort": port}] if port else [])
    return {
        "Id": f"{number:064x}",
        "Names": [f"/{name}"] if name else [],
        "Image": "redis:5",
        "State": state,
        "Ports": ports,
        **more,
    }


def test_docker_that_answers(monkeypatch: pytest.MonkeyPatch, docker: Start) -> None:
    monkeypatch.setattr(engines.shutil, "which", lambda _name: None)
    state = containers.engine_state(docker({"/version": {"Version": "20.10"}, "/info": {}}))
    assert state == {"installed": True, "running": True, "version": "20.10", "problem": None, "kind": "docker"}


def test_podman_in_dockers_place_is_no_docker(monkeypatch: pytest.MonkeyPatch, docker: Start) -> None:
    monkeypatch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}")
    answer = {"Version": "4.3", "Components": [{"Name": "Podman Engine"}, {}]}
    state = containers.engine_state(docker({"/version": answer}))
    assert (state["installed"], state["running"], state["kind"]) == (False, False, "podman")


@pytest.mark.parametrize("installed", [False, True])
def test_docker_that_does_not(monkeypatch: pytest.MonkeyPatch, docker: Start, installed: bool) -> None:
    monkeypatch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}" if installed else None)
    state = containers.engine_state(docker({"/version": FileNotFoundError(2, "No such file or directory")}))
    assert (state["installed"], state["running"]) == (installed, False)
    assert "No such file" in state["problem"]


LIST = "/containers/json?all=1"


@pytest.mark.parametrize(
    ("rows", "ours", "other"),
    [
        ([], None, None),
        ([container(1, "ours", port=6379), container(2, "web", port=80)], "ours", None),
        ([container(1, "ours", "exited"), container(2, "theirs", port=6379)], "ours", "theirs"),
        ([container(2, "theirs", "exited", port=6379)], None, None),
        ([container(2, None, port=6379, Labels=None)], None, ""),
        ([container(2, "x", Ports=None)], None, None),
    ],
)
def test_containers(docker: Start, rows: list[Any], ours: str | None, other: str | None) -> None:
    found = containers.containers(docker({LIST: rows}), "ours", 6379)
    assert [row and row["name"] for row in found] == [ours, other]
    for row in found:
        if row:
            assert set(row) == {"id", "name", "image", "running", "labels", "ports"}
            assert row["ports"] in ([], [6379])
            assert (len(row["id"]), row["labels"]) == (12, {})


@pytest.mark.parametrize(
    ("published", "address", "in_the_way"),
    [
        ("127.0.0.1", "192.0.2.2", False),
        ("192.0.2.3", "192.0.2.2", False),
        ("192.0.2.2", "192.0.2.2", True),
        ("0.0.0.0", "192.0.2.2", True),  # noqa: S104 - a test
        ("::", "192.0.2.2", True),
        ("127.0.0.1", None, True),
    ],
)
def test_a_container_that_publishes_elsewhere(
    docker: Start, published: str, address: str | None, in_the_way: bool
) -> None:
    ports = [{"IP": published, "PrivatePort": 6379, "PublicPort": 6379, "Type": "tcp"}]
    rows = [container(2, "theirs", Ports=ports)]
    assert bool(containers.containers(docker({LIST: rows}), "ours", 6379, address)[1]) is in_the_way


OURS = {"name": "ours", "labels": {"tethys.channels.config": "sum"}, "running": True}


@pytest.mark.parametrize(
    ("engine", "found", "unit", "left"),
    [
        ("docker", OURS, False, {**OURS, "engine": "docker"}),
        ("podman", OURS, True, {**OURS, "engine": "podman"}),
        ("docker", None, False, None),
        # Another container, with our name.
        ("docker", {**OURS, "labels": {}}, False, None),
        ("podman", {**OURS, "labels": {}}, False, None),
        # Stopped, it is gone but for its unit, which is Podman's alone.
        ("podman", None, True, {"engine": "podman", "name": "ours", "running": False}),
        ("docker", None, True, None),
    ],
)
def test_our_own_in_the_other_engine(engine: str, found: Any, unit: bool, left: Any) -> None:
    row = containers.left_over(engine, found, "ours", unit)
    assert (row and {**row, **(left or {})}) == row
    assert bool(row) is bool(left)


def test_what_a_redis_holds(redis: Start) -> None:
    _fake, endpoint = redis(keys=["asgi:1", "session:1"], version="5.0.6")
    found = containers.describe_redis(endpoint["port"])
    assert found == {"version": "5.0.6", "foreign_key": "session:1", "problem": None}


def test_a_redis_that_cannot_be_asked(redis: Start) -> None:
    _fake, endpoint = redis(password="theirs")
    found = containers.describe_redis(endpoint["port"])
    assert (found["version"], found["foreign_key"]) == (None, None)
    assert found["problem"].startswith("NOAUTH")


# --- programs under Supervisor --------------------------------------------------------------------------------------

MANUAL = """\
; Generated by tethys gen
[fcgi-program:asgi]
socket=tcp://127.0.0.1:8000
command=bash -c "source x && daphne -u /run/tethys_asgi%(process_num)d.sock --fd 0"  ; the server
numprocs=2
"""
OURS = (
    "; Ansible managed\n; The role tethys.channels.asgi_service writes this file\n[fcgi-program:asgi]\nuser=www-data\n"
)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A Supervisor that reads these files."""

    def start(main: str = "", **files: str | bytes) -> Any:
        config = tmp_path / "supervisord.conf"
        config.write_text(main + "\n[include]\nfiles=conf.d/*.conf\n", encoding="utf-8")
        (tmp_path / "conf.d").mkdir()
        for name, text in files.items():
            raw = text.encode() if isinstance(text, str) else text
            (tmp_path / "conf.d" / f"{name}.conf").write_bytes(raw)
        monkeypatch.setattr(services, "SUPERVISOR_CONFIGS", (str(config),))
        return services.Supervisor()

    return start


def listed(here: Any) -> list[dict[str, Any]]:
    """The portal's programs, by their names alone."""
    return programs.programs(here).portals


def test_the_manuals_program(supervisor: Start, tmp_path: Path) -> None:
    found = listed(supervisor(asgi=MANUAL, nginx="[program:nginx]\ncommand=nginx\n"))
    assert found == [
        {
            "path": str(tmp_path / "conf.d" / "asgi.conf"),
            "link": None,
            "others": [],
            "groups": ["asgi"],
            "user": "root",
            "layout": "shared_socket",
            "numprocs": "2",
            "socket": "tcp://127.0.0.1:8000",
            "address": "127.0.0.1",
            "address_here": True,
            "port": 8000,
            "unix_socket": None,
            "logs": "/",
            "unbuffered": False,
            "environment": [],
            "environment_lost": [],
            "arguments": [],
            "arguments_lost": [],
            "settings": [],
            "managed": False,
            "sha256": hashlib.sha256(MANUAL.encode()).hexdigest(),
        }
    ]


@pytest.mark.parametrize("kind", ["fifo", "zero", "sparse"])
def test_a_program_file_that_is_no_ordinary_file_is_passed_over(supervisor: Start, tmp_path: Path, kind: str) -> None:
    here = supervisor(good=MANUAL)
    target = tmp_path / "home.conf"
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "sparse":
        with target.open("wb") as file:
            file.truncate(200 * 1024**3)
    else:
        target = Path("/dev/zero")
    (tmp_path / "conf.d" / "asgi.conf").symlink_to(target)
    assert [found["path"] for found in listed(here)] == [str(tmp_path / "conf.d" / "good.conf")]


def test_a_program_file_shows_no_control_characters(supervisor: Start) -> None:
    text = OURS.replace("www-data", "www\x1b[31m\x9b") + "[program:x\x1b]0;y\x07]\n"
    (found,) = listed(supervisor(asgi=text))
    assert found["user"] == "www[31m"
    assert found["others"] == ["program:x]0;y"]


def test_a_link_into_the_home(supervisor: Start, tmp_path: Path) -> None:
    (tmp_path / "home.conf").write_text(MANUAL, encoding="utf-8")
    here = supervisor()
    (tmp_path / "conf.d" / "asgi.conf").symlink_to(tmp_path / "home.conf")
    (tmp_path / "conf.d" / "gone.conf").symlink_to(tmp_path / "nowhere.conf")
    (found,) = listed(here)
    assert (found["path"], found["link"]) == (str(tmp_path / "conf.d" / "asgi.conf"), str(tmp_path / "home.conf"))


def test_the_collections_own_program(supervisor: Start) -> None:
    (found,) = listed(supervisor(asgi=OURS))
    assert (found["managed"], found["user"], found["numprocs"]) == (True, "www-data", "1")


def test_where_a_program_logs(supervisor: Start) -> None:
    more = 'stdout_logfile=/var/log/tethys/%(program_name)s.log\nenvironment=A="b",PYTHONUNBUFFERED="1"\n'
    (found,) = listed(supervisor(asgi=OURS + more))
    assert (found["logs"], found["unbuffered"]) == ("/var/log/tethys", True)


@pytest.mark.parametrize("line", ["user=root   # for now", "user=root ; for now", "user = %(ENV_PORTAL_USER)s # it"])
def test_the_programs_user_as_supervisor_reads_it(
    supervisor: Start, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(supervisor_files, "environment_of_supervisord", lambda _config: {"PORTAL_USER": "root"})
    (found,) = listed(supervisor(asgi=f"[fcgi-program:asgi]\n{line}\n"))
    assert found["user"] == "root"


def test_a_program_for_each_process(supervisor: Start) -> None:
    each = "".join(
        f"[fcgi-program:tethys_asgi{number}]\nuser=www-data\nsocket=tcp://127.0.0.1:{8000 + number}\nnumprocs=1\n"
        for number in range(12)
    )
    (found,) = listed(supervisor(asgi=each + "[program:tethys_asgi_old]\n[program:tethys_asgi01]\n"))
    assert (found["layout"], found["numprocs"], found["socket"]) == (
        "socket_per_process",
        "12",
        "tcp://127.0.0.1:8000",
    )
    assert found["others"] == ["program:tethys_asgi_old", "program:tethys_asgi01"]


def test_blanks_around_a_name_hide_nothing(supervisor: Start) -> None:
    (found,) = listed(supervisor(asgi="[program: tethys_asgi7 ]\ncommand=/home/u/x\n"))
    assert (found["layout"], found["user"]) == ("socket_per_process", "root")


def test_a_file_with_other_programs(supervisor: Start) -> None:
    (found,) = listed(supervisor(all=MANUAL + "[program:nginx]\n[program:celery]\n"))
    assert found["others"] == ["program:nginx", "program:celery"]


def test_two_files_with_the_program(supervisor: Start, tmp_path: Path) -> None:
    found = listed(supervisor(a=MANUAL, b="[program:asgi]\n"))
    assert [Path(row["path"]).name for row in found] == ["a.conf", "b.conf"]


def test_the_program_in_supervisors_own_file(supervisor: Start, tmp_path: Path) -> None:
    (found,) = listed(supervisor("[supervisord]\n" + MANUAL))
    assert found["path"] == str(tmp_path / "supervisord.conf")
    assert found["others"] == ["supervisord", "include"]


def test_files_that_cannot_be_read_as_configuration(supervisor: Start) -> None:
    latin = "; für alle\n".encode("latin-1") + MANUAL.encode()
    found = listed(supervisor(broken="nonsense\n", asgi=latin))
    assert [Path(row["path"]).name for row in found] == ["asgi.conf"]


def test_no_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "SUPERVISOR_CONFIGS", ())
    assert listed(services.Supervisor()) == []


# --- whose program it is ----------------------------------------------------------------------------------------------

HOME, PREFIX = "/var/lib/tethys", "/opt/conda/envs/tethys"
# As `tethys gen asgi_service` writes it.
GENERATED = f"""\
[fcgi-program:asgi]
environment=
    TETHYS_HOME={HOME}
socket=tcp://127.0.0.1:8080
command=bash -c "{PREFIX}/bin/daphne -u /run/tethys_asgi%(process_num)d.sock --fd 0 tethys_portal.asgi:application"
numprocs=1
process_name=tethys_asgi%(process_num)d
"""
# As the manual of Channels has it.
LIBRARY = """\
[fcgi-program:asgi]
socket=tcp://localhost:8001
command=/home/library/venv/bin/daphne -u /run/daphne%(process_num)d.sock --fd 0 --proxy-headers chat.asgi:application
numprocs=2
user=library
"""


def names(found: programs.Programs) -> tuple[list[str], list[tuple[str, str]]]:
    return (
        [Path(row["path"]).stem for row in found.portals],
        [(Path(row["path"]).stem, row["home"]) for row in found.others],
    )


@pytest.mark.parametrize(
    ("files", "portals", "others"),
    [
        ({"a": GENERATED}, ["a"], []),
        ({"a": LIBRARY}, [], [("a", "")]),
        ({"a": GENERATED.replace(HOME, "/srv/prod")}, [], [("a", "/srv/prod")]),
        ({"a": GENERATED.replace("asgi]", "portal]")}, ["a"], []),
        ({"a": GENERATED.replace("asgi]", "portal]"), "b": LIBRARY}, ["a"], [("b", "")]),
        # One of another name besides is somebody's own.
        ({"a": GENERATED.replace("asgi]", "admin]"), "b": GENERATED}, ["b"], []),
        ({"a": GENERATED.replace("asgi]", "portal]").replace(HOME, "/srv/prod")}, [], []),
        # If the command does not show what it runs, the name decides, since Supervisor may have another user's program.
        ({"a": "[program:tethys_asgi7]\ncommand=/home/u/x\n"}, ["a"], []),
        # An earlier version gave the portal no such name.
        ({"a": GENERATED, "b": "[program:tethys_asgi]\ncommand=/home/u/x\n"}, ["a"], [("b", "")]),
        ({"b": "[program:tethys_asgi]\ncommand=/home/u/x\n"}, [], [("b", "")]),
        ({"a": GENERATED.replace("asgi]", "tethys_asgi]"), "b": LIBRARY}, ["a"], [("b", "")]),
        ({"a": GENERATED, "b": GENERATED.replace("asgi]", "tethys_asgi]")}, ["a", "b"], []),
        ({"a": "[eventlistener:asgi]\ncommand=/x\n"}, ["a"], []),
    ],
    ids=str,
)
def test_whose_program_it_is(supervisor: Start, files: dict[str, str], portals: Any, others: Any) -> None:
    assert names(programs.programs(supervisor(**files), HOME, PREFIX)) == (portals, others)


STAGING = GENERATED.replace(HOME, "/srv/staging").replace("asgi]", "tethys_staging_asgi]")
NO_HOME = GENERATED.replace(f"    TETHYS_HOME={HOME}\n", "    LANG=C\n")


@pytest.mark.parametrize(
    ("portal", "home", "files", "portals", "others"),
    [
        ("staging", "/srv/staging", {"a": GENERATED, "b": STAGING}, ["b"], []),
        ("", HOME, {"a": GENERATED, "b": STAGING}, ["a"], []),
        # The environment is the same, and the program that names no TETHYS_HOME is the first portal's.
        ("staging", "/srv/staging", {"a": NO_HOME}, [], []),
        ("", HOME, {"a": NO_HOME, "b": STAGING}, ["a"], []),
        # The manual's, which gets the name.
        ("staging", "/srv/staging", {"a": GENERATED.replace(HOME, "/srv/staging")}, ["a"], []),
        ("staging", "/srv/other", {"a": GENERATED, "b": STAGING}, [], [("b", "/srv/staging")]),
        ("other", "/srv/other", {"a": GENERATED, "b": STAGING}, [], []),
    ],
    ids=str,
)
def test_whose_program_it_is_among_several_portals(
    supervisor: Start, portal: str, home: str, files: dict[str, str], portals: Any, others: Any
) -> None:
    found = programs.programs(supervisor(**files), home, PREFIX, portal)
    assert names(found) == (portals, others)
    rows = [
        {"group": group, "name": "tethys_asgi0", "statename": "RUNNING", "pid": pid}
        for pid, group in enumerate(("asgi", "tethys_staging_asgi"))
    ]
    groups = {"": 0, "staging": 1}
    listed = [row["pid"] for row in programs.processes(Rpc(rows), programs.NO_PROGRAMS, portal)]
    assert listed == [groups[portal]] if portal in groups else listed == []


def test_the_programs_of_other_portals(supervisor: Start) -> None:
    # Of the others only what runs Tethys is a portal.
    found = programs.programs(supervisor(a=GENERATED, b=STAGING, c=LIBRARY), HOME, PREFIX)
    [row] = found.neighbors
    assert {**row, "path": Path(row["path"]).stem} == {
        "path": "b",
        "group": "tethys_staging_asgi",
        "home": "/srv/staging",
        "managed": False,
        "port": 8080,
        "sockets": "/run",
        "logs": "",
    }


@pytest.mark.parametrize(
    ("command", "environment", "is_found"),
    [
        (f"{PREFIX}/bin/python manage.py runworker jobs", "", True),
        (f"bash -c 'TETHYS_HOME={HOME} exec python manage.py runworker jobs'", "", True),
        ("python manage.py runworker jobs", f'TETHYS_HOME="{HOME}"', True),
        # Another portal's, and what does not show whose it is.
        (f"{PREFIX}/bin/python manage.py runworker jobs", 'TETHYS_HOME="/srv/staging"', False),
        ("/opt/other/bin/python manage.py runworker jobs", "", False),
        ("python manage.py runworker jobs", "", False),
        (f"{PREFIX}/bin/celery worker", "", False),
    ],
)
def test_the_programs_that_receive_from_channels(
    supervisor: Start, command: str, environment: str, is_found: bool
) -> None:
    """Also those that do not run, by which a portal keeps the class that they need."""
    own = f"[program:jobs]\ncommand={command}\nenvironment={environment}\nautostart=false\n"
    started = supervisor(a=GENERATED, b=own)
    assert programs.programs(started, HOME, PREFIX).receivers == (["jobs"] if is_found else [])
    # Without a portal, as on a server of Redis.
    assert programs.programs(started).receivers == []


MANUALS = GENERATED.replace(HOME, "/srv/staging")


@pytest.mark.parametrize("as_link", [True, False])
@pytest.mark.parametrize(
    ("files", "original", "taken"),
    [
        ({"a": GENERATED, "b": STAGING}, MANUALS, [("a", "asgi", HOME)]),
        ({"a": "[program:asgi]\ncommand=sleep 1\n"}, MANUALS, [("a", "asgi", "")]),
        ({"b": STAGING}, MANUALS, []),
        # A removal that was killed has put it back.
        ({"b": MANUALS}, MANUALS, []),
        ({"a": GENERATED}, "[", []),
    ],
    ids=str,
)
def test_the_names_that_others_have_taken_since(
    supervisor: Start, tmp_path: Path, as_link: bool, files: dict[str, str], original: str, taken: Any
) -> None:
    path = tmp_path / "program.original"
    target = tmp_path / "manuals" if as_link else path
    target.write_text(original)
    if as_link:
        path.symlink_to(target)
    started = supervisor(**files)
    found = programs.programs(started, "/srv/staging", PREFIX, "staging")
    rows = programs.taken_names(started, found, path)
    assert [(Path(row["path"]).stem, row["group"], row["home"]) for row in rows] == taken


def test_a_program_of_another_name_is_not_judged_by_its_environment(supervisor: Start) -> None:
    unclear = STAGING.replace("/srv/staging", '"/srv/st~1"')
    found = programs.programs(supervisor(b=unclear), HOME, PREFIX)
    assert (found.portals, [row["group"] for row in found.neighbors]) == ([], ["tethys_staging_asgi"])


def test_a_portal_that_is_run_under_two_names_is_found(supervisor: Start) -> None:
    ours = f"; {programs.OUR_HEADER}\n{GENERATED.replace('asgi]', 'tethys_staging_asgi]')}"
    found = programs.programs(supervisor(a=GENERATED, b=ours), HOME, PREFIX)
    assert [Path(row["path"]).stem for row in found.portals] == ["a", "b"]


@pytest.mark.parametrize(
    ("address", "is_here"),
    [("127.0.0.5", True), ("0.0.0.0", True), ("localhost", True), ("198.51.100.7", False)],  # noqa: S104
)
def test_whether_a_programs_address_is_this_servers(supervisor: Start, address: str, is_here: bool) -> None:
    (found,) = listed(supervisor(a=GENERATED.replace("127.0.0.1", address)))
    assert (found["address"], found["address_here"]) == (address, is_here)


def test_where_the_portals_program_listens(supervisor: Start) -> None:
    (found,) = programs.programs(supervisor(a=GENERATED.replace("asgi]", "portal]")), HOME, PREFIX).portals
    assert (found["groups"], found["address"], found["port"], found["unix_socket"]) == (
        ["portal"],
        "127.0.0.1",
        8080,
        None,
    )


def test_the_ports_of_which_listeners_are_told(supervisor: Start) -> None:
    found = programs.programs(supervisor(a=GENERATED), HOME, PREFIX)
    target = {"address": "127.0.0.1:9000", "port": 9000, "here": True}
    away = {"address": "192.0.2.1:9100", "port": 9100, "here": False}
    plain = {"address": "unix:/x", "port": None, "here": True}
    front = {"server": "nginx", "path": "/s", "line": 1, "each": True, "ours": False, "targets": [target, away, plain]}
    assert survey.ports_of(found, {"portal": front, "addresses": []}, 2) == {8080, 8081, 9000, 9001}  # type: ignore[typeddict-item]
    assert survey.ports_of(programs.NO_PROGRAMS, None, 2) == set()


def test_the_processes_of_another_name_and_of_another_site(supervisor: Start) -> None:
    found = programs.programs(supervisor(a=GENERATED.replace("asgi]", "portal]"), b=LIBRARY), HOME, PREFIX)
    rows = [
        {"group": group, "name": f"{group}0", "statename": "RUNNING", "pid": 7} for group in ("asgi", "portal", "b")
    ]
    assert [row["name"] for row in programs.processes(Rpc(rows), found)] == ["portal0"]


class Rpc:
    """Supervisor's answer about its processes."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def rpc(self) -> Rpc:
        return self

    def getAllProcessInfo(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_groups_processes() -> None:
    rows = [{"group": group, "name": f"{group}0", "statename": "RUNNING", "pid": 7, "x": 1} for group in ("asgi", "b")]
    assert programs.processes(Rpc(rows)) == [{"name": "asgi0", "state": "RUNNING", "pid": 7}]


@pytest.mark.parametrize("error", [OSError("gone"), xmlrpc.client.Fault(1, "SHUTDOWN_STATE")])
def test_a_supervisor_that_ends_meanwhile(error: Exception) -> None:
    assert programs.processes(Rpc(error)) == []


@pytest.mark.parametrize(
    ("files", "ours", "anothers"),
    [
        ([], None, None),
        ([GENERATED], 0, None),
        ([GENERATED.replace(HOME, "/srv/other")], None, 0),
        ([GENERATED.replace(HOME, "/srv/other"), GENERATED], 1, 0),
        # What it runs is not shown.
        ([MANUAL], 0, None),
    ],
)
def test_whose_the_supervisors_of_others_are(
    supervisor: Start, tmp_path: Path, files: list[str], ours: int | None, anothers: int | None
) -> None:
    here = supervisor()
    paths = [tmp_path / f"others{number}.conf" for number in range(len(files))]
    for path, text in zip(paths, files):
        path.write_text(text)
    here.configs_of_others = tuple(map(str, paths))
    state = survey.supervisor_state(here, None, {"home": HOME, "prefix": PREFIX, "portal_name": ""}, tmp_path)
    assert state["config_of_others"] == (None if ours is None else str(paths[ours]))
    assert state["config_of_another_portal"] == (None if anothers is None else str(paths[anothers]))


# --- the module -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("with_portal", [False, True])
def test_the_whole_look(
    run_module: Callable[..., dict[str, Any]],
    supervisor: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    check: bool,
    with_portal: bool,
) -> None:
    portal = {"prefix": str(tmp_path), "home": str(tmp_path / "none")} if with_portal else None
    supervisor(asgi=MANUAL)
    monkeypatch.setattr(services, "DOCKER_SOCKET", str(tmp_path / "docker.sock"))
    monkeypatch.setattr(engines, "Docker", lambda: services.Docker(str(tmp_path / "docker.sock")))
    state = tmp_path / "state"
    state.mkdir()
    (state / "credentials.json").touch()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        result = run_module(
            server_info.main,
            check,
            ports=[port],
            container_name="ours",
            container_image="redis:8.2",
            redis_port=port,
            state_dir=str(state),
            portal=portal,
            redis_address="127.0.0.1",
            controller_time=time.time() - 100,
        )
    server = result["server"]
    assert server["redis_address_here"] is True
    assert 99 < server["clock_ahead"] < 110
    assert (result["portal"] or {}).get("home_problem") == (portal and f"There is no folder {tmp_path}/none.")
    assert result["changed"] is False
    assert server["root"] is (os.geteuid() == 0)
    assert server["python"] == "{}.{}".format(*sys.version_info)
    assert (server["repositories"], server["selinux"]["mode"]) == ([], "disabled")
    assert server["docker"]["running"] is False
    assert (server["container"], server["redis_port_container"], server["image_present"]) == (None, None, False)
    assert (server["supervisor"]["running"], server["supervisor"]["config"]) == (
        False,
        str(tmp_path / "supervisord.conf"),
    )
    assert [row["numprocs"] for row in server["programs"]] == ["2"]
    assert [row["pid"] for row in server["listeners"]] == [os.getpid()]
    assert server["state"] == ["credentials.json"]
    assert server["sentinel_container"] is None


def test_whose_portal_the_state_is_kept_for(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (tmp_path / "link").symlink_to(one)
    assert proof_record.state_of_other(tmp_path, str(one)) is None
    notes = tmp_path / "portal_config.original.json"
    notes.write_text(json.dumps({"realpath": f"{one}/portal_config.yml"}))
    assert [proof_record.state_of_other(tmp_path, str(home)) for home in (one, tmp_path / "link", "")] == [None] * 3
    assert proof_record.state_of_other(tmp_path, str(other)) == f"{one}/portal_config.yml"
    notes.write_text("[")
    assert proof_record.state_of_other(tmp_path, str(other)) is None
    # What a first run leaves that is killed before it changes portal_config.yml.
    credentials = {"password": "p", "portal_config": f"{other}/portal_config.yml"}
    (tmp_path / "credentials.json").write_text(json.dumps(credentials))
    assert proof_record.state_of_other(tmp_path, str(other)) is None
    assert proof_record.state_of_other(tmp_path, str(one)) == f"{other}/portal_config.yml"
    # A portal that has moved since: the one path that the administrator corrects is enough.
    notes.write_text(json.dumps({"realpath": f"{one}/portal_config.yml"}))
    assert proof_record.state_of_other(tmp_path, str(one)) is None


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], None),
        ([container(1, "sentinel2"), container(2, None), container(3, "ours")], None),
        ([container(1, "ours"), container(2, "sentinel"), container(3, "web")], {"id": f"{2:064x}"[:12]}),
        # Stopped, and whosever it is.
        ([container(2, "sentinel", "exited", Labels={"a": "b"})], {"running": False, "labels": {"a": "b"}}),
        ([container(2, "sentinel", Ports=None, Labels=None)], {"running": True, "labels": {}, "ports": []}),
        ([container(2, "sentinel", port=26379)], {"ports": [26379], "image": "redis:5", "name": "sentinel"}),
    ],
)
def test_a_container_by_its_name(docker: Start, rows: list[Any], found: dict[str, Any] | None) -> None:
    row = containers.named(docker({LIST: rows}), "sentinel")
    assert (row is None) is (found is None)
    assert {**(row or {}), **(found or {})} == (row or {})
    assert row is None or set(row) == {"id", "name", "image", "running", "labels", "ports"}


@pytest.mark.parametrize(
    ("name", "answers", "found"),
    [
        ("sentinel", True, "sentinel"),
        ("no-sentinel", True, None),
        (None, True, None),
        ("", True, None),
        ("sentinel", False, None),
    ],
)
def test_the_container_of_sentinel(
    run_module: Callable[..., dict[str, Any]],
    supervisor: Start,
    docker: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str | None,
    answers: bool,
    found: str | None,
) -> None:
    supervisor()
    monkeypatch.setattr(Api, "image", Mock(return_value=None), raising=False)
    version = {"Version": "20.10"} if answers else FileNotFoundError(2, "No such file or directory")
    rows = [container(1, "ours"), container(2, "sentinel", "exited", Labels={"x": "y"}), container(3, None)]
    docker({"/version": version, "/info": {}, LIST: rows})
    arguments: dict[str, Any] = {"sentinel_name": name} if name is not None else {}
    server = run_module(
        server_info.main,
        ports=[],
        container_name="ours",
        container_image="redis:8.2",
        redis_port=6379,
        state_dir=str(tmp_path),
        **arguments,
    )["server"]
    assert (server["container"] or {}).get("name") == ("ours" if answers else None)
    row = server["sentinel_container"]
    assert (row or {}).get("name") == found
    if row:
        # In the same form as the other.
        assert set(row) == set(server["container"])
        assert (row["running"], row["labels"]) == (False, {"x": "y"})


# --- before the portal's Python starts ------------------------------------------------------------------------------


def test_what_is_not_needed_to_start_the_portals_python_is_loaded_while_it_starts() -> None:
    own = "ansible_collections.tethys.channels.plugins"
    program = f"import sys; import {own}.modules.server_info; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix(f"{own}.") for name in done.stdout.split() if name.startswith(f"{own}.")}
    assert {"module_utils.portal_state", "module_utils.portal_env"} <= loaded
    loaded_late = ("portal_yaml", "nginx_", "proof_record", "files.owned_file", "portal_source")
    assert [name for name in loaded if name.startswith(tuple(f"module_utils.{each}" for each in loaded_late))] == []
    of_server = {name.rpartition(".")[2] for name in loaded if name.startswith("module_utils.server.")}
    assert not of_server & {"survey", "front", "front_door", "programs", "root_files", "workers"}
    # Each takes the server about 3 ms of CPU time in each run.
    assert len(loaded) <= 32, sorted(loaded)

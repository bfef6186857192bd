# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The watch: which process counts as one that hangs, when it is killed, and when it is left alone."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import lock

SCRIPT = Path(__file__).parents[3] / "roles" / "asgi_service" / "files" / "asgi_watch.py"
NAMES = ("asgi:tethys_asgi0", "asgi:tethys_asgi1")


@pytest.fixture(scope="module")
def watch() -> Any:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("asgi_watch", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="watch-"))
    yield path
    shutil.rmtree(path)


class Server:
    """A socket that takes connections, and answers them unless it hangs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hangs = False
        self.seen: list[bytes] = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Answer until the socket is closed."""
        kept = []
        while True:
            try:
                client, _address = self.listener.accept()
            except OSError:
                return
            self.seen.append(client.recv(1000))
            if not self.hangs:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            kept.append(client)


class Supervisor:
    """Plays Supervisor's interface."""

    def __init__(self) -> None:
        self.rows = {name: {"statename": "RUNNING", "start": 0, "now": 1000, "pid": 7} for name in NAMES}
        self.killed: list[tuple[str, str]] = []

    def getProcessInfo(self, name: str) -> dict[str, Any]:
        """Return a process's state."""
        if name not in self.rows:
            raise xmlrpc.client.Fault(10, "BAD_NAME")
        return self.rows[name]

    def signalProcess(self, name: str, signal: str) -> bool:
        """Keep what was sent."""
        self.killed.append((name, signal))
        return True


@pytest.fixture
def servers(folder: Path) -> Iterator[list[Server]]:
    """A socket for each process."""
    found = [Server(folder / f"{number}.sock") for number in range(len(NAMES))]
    yield found
    for server in found:
        server.listener.close()


@pytest.fixture
def watching(watch: Any, folder: Path, servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A watch over both, which waits less for an answer."""
    monkeypatch.setattr(watch, "TIMEOUT", 0.3)
    sockets = {name: str(server.path) for name, server in zip(NAMES, servers)}
    return watch.Watch({"processes": sockets, "state": str(folder)}, Supervisor())


def looks(watching: Any, number: int) -> list[tuple[str, str]]:
    """What was killed after so many looks."""
    for _each in range(number):
        watching.look()
    killed: list[tuple[str, str]] = watching.rpc.killed
    return killed


def test_processes_that_answer_are_left_alone(watching: Any, servers: list[Server]) -> None:
    assert looks(watching, 4) == []
    assert [len(server.seen) for server in servers] == [4, 4]


def test_one_that_hangs_is_killed_at_the_third_time(watching: Any, servers: list[Server], folder: Path) -> None:
    servers[1].hangs = True
    assert looks(watching, 2) == []
    assert looks(watching, 1) == [(NAMES[1], "KILL")]
    [act] = json.loads((folder / "watch_acts.json").read_text(encoding="utf-8"))
    assert act["process"] == NAMES[1]
    assert abs(act["time"] - time.time()) < 60


def test_misses_must_follow_each_other(watching: Any, servers: list[Server]) -> None:
    for hangs in (True, True, False, True, True, False):
        servers[0].hangs = hangs
        assert looks(watching, 1) == []


def test_of_two_that_hang_one_is_killed(watching: Any, servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    for server in servers:
        server.hangs = True
    assert len(looks(watching, 5)) == 1
    monkeypatch.setattr(type(watching), "may_kill", lambda _self, _name: True)
    assert {name for name, _signal in looks(watching, 1)} == set(NAMES)


def test_the_same_one_is_left_alone_for_longer(watch: Any, watching: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watching.killed = {NAMES[0]: time.monotonic() - watch.REST - 1}
    assert watching.may_kill(NAMES[1])
    assert not watching.may_kill(NAMES[0])
    watching.killed = {NAMES[0]: time.monotonic() - watch.REST_OF_ONE - 1}
    assert watching.may_kill(NAMES[0])


def test_none_is_killed_during_a_run(watching: Any, servers: list[Server], folder: Path) -> None:
    servers[0].hangs = True
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert looks(watching, 4) == []
    os.close(descriptor)
    assert looks(watching, 1) == [(NAMES[0], "KILL")]


@pytest.mark.parametrize("row", [{"statename": "STOPPED"}, {"statename": "STARTING"}, {"now": 60}])
def test_one_that_is_not_running_for_long_is_not_asked(
    watching: Any, servers: list[Server], row: dict[str, Any]
) -> None:
    servers[0].hangs = True
    watching.rpc.rows[NAMES[0]].update(row)
    assert looks(watching, 4) == []
    assert servers[0].seen == []


def test_a_full_queue_of_connections_is_no_answer(watching: Any, servers: list[Server]) -> None:
    full = servers[0]
    full.listener.close()
    full.path.unlink()
    stopped = socket.socket(socket.AF_UNIX)
    stopped.bind(str(full.path))
    stopped.listen(0)
    clients = [socket.socket(socket.AF_UNIX) for _each in range(2)]
    for client in clients:
        client.setblocking(False)
        try:
            client.connect(str(full.path))
        except BlockingIOError:
            break
    assert looks(watching, 3) == [(NAMES[0], "KILL")]
    for each in (*clients, stopped):
        each.close()


@pytest.mark.parametrize("there", ["nothing", "file", "link"])
def test_what_is_no_socket_is_not_a_miss(watching: Any, servers: list[Server], folder: Path, there: str) -> None:
    servers[0].path.unlink()
    other = Server(folder / "another.sock")
    other.hangs = True
    if there == "file":
        servers[0].path.write_text("", encoding="utf-8")
    elif there == "link":
        servers[0].path.symlink_to(other.path)
    assert looks(watching, 4) == []
    assert other.seen == []
    other.listener.close()


def test_a_process_that_is_gone_is_passed_over(watching: Any, servers: list[Server]) -> None:
    del watching.rpc.rows[NAMES[0]]
    servers[1].hangs = True
    assert looks(watching, 3) == [(NAMES[1], "KILL")]


def test_acts_are_bounded(watch: Any, watching: Any, folder: Path) -> None:
    for number in range(watch.KEPT_ACTS + 5):
        watching.kill(NAMES[0], number)
    acts = json.loads((folder / "watch_acts.json").read_text(encoding="utf-8"))
    assert [act["pid"] for act in acts] == list(range(5, watch.KEPT_ACTS + 5))


@pytest.mark.parametrize("login", ["", "username = admin ; Bob's\npassword = secret\n"])
def test_supervisors_socket_and_login_are_those_of_its_configuration(watch: Any, folder: Path, login: str) -> None:
    server = Server(folder / "supervisor.sock")
    configuration = folder / "supervisord.conf"
    configuration.write_text(f"[unix_http_server]\nfile=%(here)s/supervisor.sock ; here\n{login}", encoding="utf-8")
    rpc = xmlrpc.client.ServerProxy("http://supervisor", watch.UnixTransport(str(configuration)))
    with pytest.raises((xmlrpc.client.ProtocolError, OSError)):  # it answers "400 Bad Request"
        rpc.supervisor.getState()
    [request] = server.seen
    assert (b"Authorization: Basic YWRtaW46c2VjcmV0" in request) is bool(login)
    server.listener.close()


HASHED = "{SHA}" + hashlib.sha1(b"secret").hexdigest()  # noqa: S324 - as Supervisor has it


@pytest.mark.parametrize(("given", "sent"), [("secret", "secret"), ("another", HASHED)])
def test_a_hashed_password_is_that_of_supervisors_own_client(watch: Any, folder: Path, given: str, sent: str) -> None:
    server = Server(folder / "supervisor.sock")
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        f"[unix_http_server]\nfile=%(here)s/supervisor.sock\nusername=admin\npassword={HASHED}\n"
        f"[supervisorctl]\nusername=admin\npassword={given}\n",
        encoding="utf-8",
    )
    with pytest.raises((xmlrpc.client.ProtocolError, OSError)):
        watch.connected([str(folder / "none.conf"), str(configuration)]).getState()
    [request] = server.seen
    assert f"Authorization: Basic {base64.b64encode(f'admin:{sent}'.encode()).decode()}".encode() in request
    server.listener.close()


def test_python_3_6_can_send_the_login(watch: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = xmlrpc.client.Transport.__init__

    # As Python before 3.8 has it, which is the system's on RHEL 8.
    def older(self: xmlrpc.client.Transport, use_datetime: bool = False, use_builtin_types: bool = False) -> None:
        made(self, use_datetime, use_builtin_types)

    monkeypatch.setattr(xmlrpc.client.Transport, "__init__", older)
    server = Server(folder / "supervisor.sock")
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        "[unix_http_server]\nfile=%(here)s/supervisor.sock\nusername=admin\npassword=secret\n", encoding="utf-8"
    )
    with pytest.raises((xmlrpc.client.ProtocolError, OSError)):
        watch.connected([str(configuration)]).getState()
    [request] = server.seen
    assert b"Authorization: Basic YWRtaW46c2VjcmV0" in request
    server.listener.close()


class Enough(Exception):
    """Ends the loop of the program."""


def test_what_keeps_the_watch_from_working_for_long_is_noted_until_it_works(
    watch: Any, folder: Path, servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(folder / "supervisord.conf")]
    config = {"processes": dict(zip(NAMES, (str(each.path) for each in servers))), "state": str(folder)}
    (folder / "watch.json").write_text(json.dumps({**config, "supervisor": files}), encoding="utf-8")
    noted: list[str | None] = []
    held = []
    path = folder / "watch_problem"

    def sleep(_seconds: float) -> None:
        noted.append(path.read_text(encoding="utf-8") if path.exists() else None)
        held.append(lock.is_held(folder / "watch.json"))
        if len(noted) == 3:
            # Another login, such as after an administrator has changed it: it is read again.
            Path(files[0]).write_text("[supervisord]\n", encoding="utf-8")
        elif len(noted) == 4:
            monkeypatch.setattr(watch, "connected", lambda _paths: Supervisor())
        elif len(noted) == 5:
            raise Enough

    # From before a restart of the server, after which Supervisor may answer later than the watch asks.
    path.write_text("401 Unauthorized", encoding="utf-8")
    monkeypatch.setattr(watch.time, "sleep", sleep)
    monkeypatch.setattr(watch.sys, "argv", ["asgi_watch.py", str(folder / "watch.json")])
    with pytest.raises(Enough):
        watch.main()
    # A run sees by this that the watch runs.
    assert (set(held), lock.is_held(folder / "watch.json"), lock.is_held(folder / "none")) == ({True}, False, None)
    none = f"there is no {files[0]}"
    assert noted == [None, None, none, f"{files[0]} has no [unix_http_server]", None]

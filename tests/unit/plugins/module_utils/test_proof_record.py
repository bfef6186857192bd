# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a verified run: every later change of the server is noticed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import proof_record
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container


def listen(path: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as plain:
        plain.bind(str(path))


class Server:
    """A fake server, and the record of a verified run on it."""

    def __init__(self, base: Path) -> None:
        self.state_dir = base / "state"
        (self.state_dir / "redis").mkdir(parents=True)
        (self.state_dir / "redis" / "redis.conf").write_text("port 0\n")
        self.config = base / "portal_config.yml"
        self.config.write_text("settings: {}\n")
        self.logs = base / "logs"
        self.logs.mkdir()
        self.linked = base / "linked"
        self.linked.mkdir()
        (base / "link").symlink_to(self.linked)
        listen(self.logs / "redis.sock")
        # How the group of everything is called.
        self.names = ["group"]
        self.packages = base / "site-packages"
        (self.packages / "redis-7.4.1.dist-info").mkdir(parents=True)
        self.container: Any = {"Id": "a", "State": {"Pid": 7}}
        self.image = "sha256:1"
        self.users = ["user default off", "user tethys on #1 ~asgi*"]
        self.errors_of_engine: list[Exception] = []
        self.errors_of_redis: list[Exception] = []
        self.rows = [{"group": "asgi", "name": "tethys_asgi0", "statename": "RUNNING", "pid": os.getpid()}]
        self.errors_of_supervisor: list[Exception] = []

    @property
    def of(self) -> dict[str, Any]:
        return {
            "files": [str(self.config), str(self.logs), str(self.logs / "absent"), str(self.linked.parent / "link")],
            "reads": [str(self.config)],
            "site_packages": str(self.packages),
            "endpoint": {"path": "/run/redis.sock"},
            "other_groups": [],
            "container": "redis",
            "image": "redis:8.2",
            "engine": "docker",
        }

    def started(self) -> None:
        """All processes read what is there now."""
        keys = [proof_record.proc.process_key(row["pid"]) for row in self.rows if row["group"] == "asgi"]
        now = proof_record.Sources(self.of["reads"], self.of["site_packages"]).sum
        (self.state_dir / "processes.json").write_text(json.dumps(dict.fromkeys(keys, now)))

    def keep(self) -> None:
        proof_record.keep(self.state_dir, "inputs", "plan", self.of)

    def proved(self, inputs: str = "inputs") -> str | None:
        return proof_record.proved_plan(self.state_dir, inputs)

    def whole(self, name: str, image: str) -> Any:
        assert (name, image) == ("redis", "redis:8.2")
        for error in self.errors_of_engine:
            raise error
        return [self.container, self.image]

    def command(self, *words: str) -> Any:
        assert words == ("ACL", "LIST")
        for error in self.errors_of_redis:
            raise error
        return self.users

    def rpc(self) -> Server:
        return self

    def getAllProcessInfo(self) -> Any:  # Supervisor's name
        for error in self.errors_of_supervisor:
            raise error
        return self.rows


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server(tmp_path)
    monkeypatch.setitem(proof_record.ENGINES, "docker", lambda: found)  # type: ignore[arg-type]
    monkeypatch.setattr(proof_record, "group_name", lambda _number: found.names[-1])
    monkeypatch.setattr(proof_record, "Supervisor", lambda: found)

    @contextmanager
    def login(endpoint: dict[str, Any], container: Container) -> Iterator[Server]:
        assert container == ("docker", "redis")
        assert endpoint == {"path": "/run/redis.sock", "username": "tethys_admin", "password": "swordfish"}
        yield found

    monkeypatch.setattr(proof_record, "login", login)
    (found.state_dir / "credentials.json").write_text(json.dumps({"admin_password": "swordfish"}))
    found.started()
    found.keep()
    return found


def test_nothing_has_changed(server: Server) -> None:
    assert server.proved() == "plan"
    # Times do not matter, and neither do the portal's logs.
    os.utime(server.config, (1, 1))
    (server.logs / "tethys_asgi0.log").write_text("GET /")
    server.rows.append({"group": "other", "name": "other", "statename": "FATAL", "pid": 0})
    server.rows[0]["statename"] = "STARTING"
    server.rows.reverse()
    assert server.proved() == "plan"
    assert (server.state_dir / proof_record.NAME).stat().st_mode & 0o777 == 0o600


def test_a_second_record_of_the_same_is_not_written(server: Server) -> None:
    path = server.state_dir / proof_record.NAME
    before = path.stat()
    server.keep()
    assert path.stat().st_ino == before.st_ino


CHANGES: dict[str, Callable[[Server], Any]] = {
    "another text": lambda server: server.config.write_text("settings: {A: 1}\n"),
    "no file": lambda server: server.config.unlink(),
    "another mode": lambda server: server.config.chmod(0o640),
    "another owner": lambda server: os.chown(server.config, 12, -1),
    "another group": lambda server: os.chown(server.config, -1, 12),
    "a link to the same text": lambda server: (
        server.config.rename(server.logs / "it") and server.config.symlink_to(server.logs / "it")
    ),
    "a folder's mode": lambda server: server.logs.chmod(0o700),
    "a folder's owner": lambda server: os.chown(server.logs, 12, -1),
    "the mode of the folder that a link leads to": lambda server: server.linked.chmod(0o711),
    "a socket that is gone": lambda server: (server.logs / "redis.sock").unlink(),
    "a socket more": lambda server: listen(server.logs / "other.sock"),
    "another name for its group": lambda server: server.names.append("renamed"),
    "another user of Redis": lambda server: server.users.append("user other on nopass"),
    "a password more in Redis": lambda server: server.users.__setitem__(1, "user tethys on #1 #2 ~asgi*"),
    "a Redis that lets nobody in": lambda server: server.errors_of_redis.append(proof_record.RedisError("WRONGPASS")),
    "a Redis that does not answer": lambda server: server.errors_of_redis.append(ConnectionRefusedError()),
    "no folder": lambda server: shutil.rmtree(server.logs),
    "a file where there was none": lambda server: (server.logs / "absent").touch(),
    "another configuration": lambda server: (server.state_dir / "redis" / "redis.conf").write_text("port 1\n"),
    "something more to remember": lambda server: (server.state_dir / "program.original").touch(),
    "the mode of what is remembered": lambda server: server.state_dir.chmod(0o711),
    "another package": lambda server: (server.packages / "hiredis-3.2.dist-info").mkdir(),
    "another version": lambda server: (server.packages / "redis-7.4.1.dist-info").rename(
        server.packages / "redis-8.0.dist-info"
    ),
    "no container": lambda server: setattr(server, "container", None),
    "another container": lambda server: server.container.update(Id="b"),
    "another image under its name": lambda server: setattr(server, "image", "sha256:2"),
    "a process that is down": lambda server: server.rows[0].update(pid=0),
    "a process that is another": lambda server: server.rows[0].update(pid=os.getppid()),
    "a process more": lambda server: server.rows.append({**server.rows[0], "name": "tethys_asgi1"}),
    "no process": lambda server: server.rows.clear(),
    "a Supervisor that does not answer": lambda server: server.errors_of_supervisor.append(ConnectionRefusedError()),
    "a Supervisor that complains": lambda server: server.errors_of_supervisor.append(xmlrpc.client.Fault(1, "no")),
    "an engine that does not answer": lambda server: server.errors_of_engine.append(ConnectionRefusedError()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_noticed(server: Server, what: str) -> None:
    if ("owner" in what or "group" in what) and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    CHANGES[what](server)
    assert server.proved() is None


def test_a_process_that_started_anew_under_the_same_number(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_record.proc, "process_key", lambda pid: f"{pid}:{time.time()}")
    assert server.proved() is None


def test_a_process_that_is_stopped(server: Server) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            server.rows[0]["pid"] = process.pid
            server.started()
            server.keep()
            assert server.proved() == "plan"
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            assert server.proved() is None
            process.send_signal(signal.SIGCONT)
            os.waitpid(process.pid, os.WCONTINUED)
            assert server.proved() == "plan"
        finally:
            process.kill()


def test_something_else_was_asked_for(server: Server) -> None:
    assert server.proved("others") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": "inputs"}', '{"inputs": "inputs", "seen": "", "of": []}'])
def test_a_record_of_another_kind_tells_nothing(server: Server, text: str) -> None:
    (server.state_dir / proof_record.NAME).write_text(text)
    assert server.proved() is None


def test_no_record(server: Server) -> None:
    (server.state_dir / proof_record.NAME).unlink()
    assert server.proved() is None


def test_what_cannot_be_asked_is_not_written_down(server: Server) -> None:
    server.errors_of_supervisor.append(ConnectionRefusedError())
    server.keep()
    assert not (server.state_dir / proof_record.NAME).exists()


def test_what_was_edited_while_the_processes_started_is_not_taken_for_what_they_run_with(server: Server) -> None:
    server.config.write_text("settings: {A: 1}\n")
    server.keep()
    assert server.proved() is None
    server.started()
    server.keep()
    assert server.proved() == "plan"


def test_a_process_of_which_nobody_knows_what_it_runs_with(server: Server) -> None:
    (server.state_dir / "processes.json").unlink()
    server.keep()
    assert server.proved() is None


def test_no_stranger_is_sent_the_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.container = None
    monkeypatch.setattr(proof_record, "login", lambda _endpoint, _container: pytest.fail("somebody was asked"))
    assert server.proved() is None


def test_what_a_killed_run_left_does_not_count(server: Server) -> None:
    left = server.state_dir / f".{proof_record.NAME}.999999999.tethys_channels"
    left.touch()
    server.keep()
    assert not left.exists()
    assert server.proved() == "plan"


def test_a_portal_without_a_container_of_ours(server: Server) -> None:
    of = {**server.of, "container": None, "image": None, "endpoint": None}
    proof_record.keep(server.state_dir, "inputs", "plan", of)
    server.container = None
    assert server.proved() == "plan"


def test_no_secret_is_in_it(server: Server) -> None:
    assert "swordfish" not in (server.state_dir / proof_record.NAME).read_text()

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of several modules and of what they share have in common."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.tethys.channels.plugins.module_utils import portal_user
from ansible_collections.tethys.channels.plugins.module_utils.engines import Place
from ansible_collections.tethys.channels.plugins.module_utils.redis import peer
from ansible_collections.tethys.channels.plugins.module_utils.server import supervisord


class Ended(Exception):
    """A module's exit_json or fail_json."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result)
        self.result = result


@pytest.fixture(scope="session", autouse=True)
def passable_temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let other users pass through pytest's own folders, one of which pytest-xdist adds for each worker."""
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents):
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)


@pytest.fixture(scope="session", autouse=True)
def portals_of_root() -> Iterator[None]:
    """Let tests start a portal's Python as root, which may be the only user that reaches the Python of the tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(portal_user, "ROOT", -1)
        yield


@pytest.fixture
def run_module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs a module's main in this process as Ansible runs it, and returns what it would print."""

    def end(self: Any, result: dict[str, Any]) -> None:
        raise Ended(basic.remove_values(result, self.no_log_values))

    # In place of the one that a module would leave selected in this process.
    monkeypatch.setattr(supervisord, "_selected", [])
    monkeypatch.setattr(basic.AnsibleModule, "exit_json", lambda self, **result: end(self, result))
    monkeypatch.setattr(
        basic.AnsibleModule, "fail_json", lambda self, msg, **result: end(self, {**result, "failed": True, "msg": msg})
    )

    def run(main: Callable[[], None], check: bool = False, **arguments: Any) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(Ended) as ended:
            main()
        return ended.value.result

    return run


@pytest.fixture(autouse=True)
def in_the_container(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """Has this process, in which the made-up servers run, be that of the Redis container; what is put first is."""
    places = [Place(os.getpid(), [])]

    class Engine:
        def place(self, _name: str) -> Place:
            return places[0]

    monkeypatch.setattr(peer, "ENGINES", dict.fromkeys(peer.ENGINES, Engine))
    return places


class Server:
    """A server for one kind of conversation: answers each connection by a function that gets its socket."""

    def __init__(self, listening: socket.socket, talk: Callable[[socket.socket], None]) -> None:
        self.socket = listening
        self.talk = talk
        self.connections = 0
        listening.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                connection, _address = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(5)
                try:
                    self.talk(connection)
                except OSError:
                    continue


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on a port of the loopback or, with a path, on a unix socket."""
    started: list[socket.socket] = []

    def start(talk: Callable[[socket.socket], None], path: Path | None = None) -> Server:
        listening = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_STREAM)
        started.append(listening)
        listening.bind(str(path) if path else ("127.0.0.1", 0))
        return Server(listening, talk)

    yield start
    for listening in started:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


@pytest.fixture
def says() -> Callable[[bytes], Callable[[socket.socket], None]]:
    """Makes a server that answers any request with this, and closes the connection."""

    def make(data: bytes) -> Callable[[socket.socket], None]:
        def talk(connection: socket.socket) -> None:
            connection.recv(1000)
            connection.sendall(data)

        return talk

    return make


class FakeRedis:
    """Answers as Redis does: a password, INFO, SCAN in pages, and refusals by the command's name."""

    def __init__(
        self,
        keys: list[str] | None = None,
        password: str = "",
        user: str = "",
        version: str = "7.0.15",
        refused: tuple[str, ...] = (),
    ) -> None:
        self.keys = keys or []
        self.login = [word for word in (user, password) if word]
        self.version = version
        self.refused = refused
        self.seen: list[list[str]] = []

    def __call__(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        allowed = not self.login
        while True:
            first = reader.readline()
            if not first.startswith(b"*"):
                return
            words = []
            for _each in range(int(first[1:])):
                size = int(reader.readline()[1:])
                words.append(reader.read(size + 2)[:-2].decode())
            self.seen.append(words)
            command = words[0].upper()
            if command == "AUTH":
                allowed = words[1:] == self.login
                answer = b"+OK\r\n" if allowed else b"-WRONGPASS invalid username-password pair\r\n"
            elif not allowed:
                answer = b"-NOAUTH Authentication required.\r\n"
            elif command in self.refused:
                answer = b"-NOPERM this user has no permissions to run the '%s' command\r\n" % command.lower().encode()
            else:
                answer = self.answer(command, words)
            connection.sendall(answer)

    def answer(self, command: str, words: list[str]) -> bytes:
        if command == "INFO":
            text = f"# Server\r\nredis_version:{self.version}\r\nredis_mode:standalone\r\n".encode()
            return b"$%d\r\n%s\r\n" % (len(text), text)
        if command == "SCAN":
            start, count = int(words[1]), int(words[3])
            page = [key.encode() for key in self.keys[start : start + count]]
            after = b"%d" % (start + count if start + count < len(self.keys) else 0)
            rows = b"".join(b"$%d\r\n%s\r\n" % (len(key), key) for key in page)
            return b"*2\r\n$%d\r\n%s\r\n*%d\r\n%s" % (len(after), after, len(page), rows)
        if command == "PING":
            return b"+PONG\r\n"
        if command in ("SUBSCRIBE", "UNSUBSCRIBE"):
            row = [command.lower(), *words[1:]]
            texts = "".join(f"${len(each)}\r\n{each}\r\n" for each in row)
            return f"*3\r\n{texts}:{int(command == 'SUBSCRIBE')}\r\n".encode()
        if command in ("ZCOUNT", "EVAL", "PUBLISH"):
            return b":1\r\n"
        return b"$-1\r\n" if command == "GET" else b"-ERR unknown command\r\n"


@pytest.fixture
def redis(serve: Callable[..., Server]) -> Callable[..., tuple[FakeRedis, dict[str, Any]]]:
    """Starts a Redis that only talks like one, and returns it with its endpoint."""

    def start(path: Path | None = None, **arguments: Any) -> tuple[FakeRedis, dict[str, Any]]:
        fake = FakeRedis(**arguments)
        server = serve(fake, path)
        return fake, {"path": str(path)} if path else {"host": "127.0.0.1", "port": server.port}

    return start

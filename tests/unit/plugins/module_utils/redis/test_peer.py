# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is sent a login: the container, in whose place processes of this machine answer on real sockets."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.engines import Place
from ansible_collections.tethys.channels.plugins.module_utils.redis import peer
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import RedisError
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container, Stranger, login
from ansible_collections.tethys.channels.plugins.module_utils.server import proc

Start = Callable[..., Any]
OURS = Container("docker", "redis")
LOGIN = {"username": "tethys_admin", "password": "swordfish"}
NOBODY = 65534
# Listens at the given address, reports that, and prints what the first connection sends. It hides as well as a process
# can: what is in its folder in /proc is root's.
STRANGER = """
import ctypes, os, socket, sys
os.setuid(int(sys.argv[2]))
listening = socket.socket(socket.AF_UNIX if sys.argv[1] else socket.AF_INET)
listening.bind(sys.argv[1] or ("127.0.0.1", 0))
listening.listen()
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
print(0 if sys.argv[1] else listening.getsockname()[1], flush=True)
connection, _address = listening.accept()
connection.settimeout(5)
print(repr(connection.recv(1000)), flush=True)
connection.sendall(b"-NOAUTH Authentication required.\\r\\n")
"""


class Listener:
    """A process outside of every container."""

    def __init__(self, path: str = "", user: int | None = None) -> None:
        self.path = path
        words = [sys.executable, "-I", "-c", STRANGER, path, str(os.getuid() if user is None else user)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.out = self.process.stdout
        self.port = int(self.out.readline())

    @property
    def endpoint(self) -> dict[str, Any]:
        place = {"path": self.path} if self.path else {"host": "127.0.0.1", "port": self.port}
        return {**place, **LOGIN}

    def received(self) -> str:
        """What was sent to it, once the other end has closed."""
        return self.out.readline().strip()


@pytest.fixture
def listener() -> Iterator[Callable[..., Listener]]:
    started: list[Listener] = []

    def start(*arguments: Any, **named: Any) -> Listener:
        started.append(Listener(*arguments, **named))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("unix", [False, True])
def test_the_container_is_sent_the_login(redis: Start, tmp_path: Path, unix: bool) -> None:
    fake, endpoint = redis(path=tmp_path / "redis.sock" if unix else None, user="tethys_admin", password="swordfish")
    with login({**endpoint, **LOGIN}, OURS) as client:
        assert client.command("PING") == "PONG"
    assert fake.seen == [["AUTH", "tethys_admin", "swordfish"], ["PING"]]


@pytest.fixture
def elsewhere(in_the_container: list[Place]) -> Iterator[None]:
    """The container is another process, which does not listen."""
    with subprocess.Popen(["sleep", "60"]) as process:
        in_the_container[0] = Place(process.pid, [])
        yield
        process.kill()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("unix", [False, True])
def test_a_stranger_is_sent_nothing(listener: Callable[..., Listener], tmp_path: Path, unix: bool) -> None:
    other = listener(str(tmp_path / "redis.sock") if unix else "")
    seen = rf'process {other.process.pid} \("python.*", user .*\) answers instead of container redis'
    with pytest.raises(Stranger, match=seen):
        login(other.endpoint, OURS)
    assert other.received() == "b''"


def test_a_process_of_the_container_need_not_be_its_first(listener: Callable[..., Listener]) -> None:
    # This process started that one.
    other = listener()
    with pytest.raises(RedisError, match="NOAUTH"):
        login(other.endpoint, OURS)
    assert "swordfish" in other.received()


def test_a_container_that_does_not_run(listener: Callable[..., Listener], in_the_container: list[Place]) -> None:
    in_the_container[0] = Place(0, [])
    other = listener()
    for ask in (login, peer.answers):
        with pytest.raises(Stranger, match=r"^container redis does not run$"):
            ask(other.endpoint, OURS)
    other.process.kill()
    assert other.received() == ""


def test_a_container_with_an_address_is_reached_there(
    redis: Start, listener: Callable[..., Listener], in_the_container: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, endpoint = redis(user="tethys_admin", password="swordfish")
    in_the_container[0] = Place(os.getpid(), [endpoint["host"]])
    monkeypatch.setattr(peer, "INSIDE_PORT", endpoint["port"])
    published = listener()
    with login(published.endpoint, OURS):
        pass
    assert fake.seen == [["AUTH", "tethys_admin", "swordfish"]]
    published.process.kill()
    assert published.received() == ""


def test_another_container_has_the_address_by_now(
    listener: Callable[..., Listener], in_the_container: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = listener()
    in_the_container[0] = Place(os.getpid(), ["127.0.0.1"])
    monkeypatch.setattr(peer, "INSIDE_PORT", other.port)
    # In the network of our container there is no such connection.
    monkeypatch.setattr(proc, "other_end", lambda *_ends: None)
    with pytest.raises(Stranger, match=rf"^what answers at 127.0.0.1:{other.port} is not container redis$"):
        login(other.endpoint, OURS)
    assert other.received() == "b''"


def test_nobody_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "ACCEPT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = {"host": "127.0.0.1", "port": silent.getsockname()[1], **LOGIN}
        with pytest.raises(Stranger, match=r"^container redis did not accept a connection within 0.1 s$"):
            login(endpoint, OURS)
        connection, _address = silent.accept()
        with connection:
            assert connection.recv(10) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can start a process of another user.")
@pytest.mark.parametrize("user", [None, NOBODY])
def test_who_listens_on_the_published_port(
    listener: Callable[..., Listener], in_the_container: list[Place], user: int | None
) -> None:
    in_the_container[0] = Place(os.getpid(), ["192.0.2.1"])
    other = listener(user=user)
    if user is None:
        peer.answers(other.endpoint, OURS)
    else:
        seen = r'^process \d+ \("python.*", user nobody\) answers instead of container redis$'
        with pytest.raises(Stranger, match=seen):
            peer.answers(other.endpoint, OURS)
    assert other.received() == ("b''" if user else repr(b"*1\r\n$4\r\nPING\r\n"))


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can start a process of another user.")
def test_whoever_holds_the_published_port_can_answer(
    listener: Callable[..., Listener], in_the_container: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_container[0] = Place(os.getpid(), ["192.0.2.1"])
    other = listener()
    with subprocess.Popen(["sleep", "60"], preexec_fn=lambda: os.setuid(NOBODY)) as second:
        # As where a user's process gives its socket to one of root's.
        monkeypatch.setattr(proc, "holders", lambda _inode: [other.process.pid, second.pid])
        with pytest.raises(Stranger, match=rf"^process {second.pid} .* answers instead of container redis$"):
            peer.answers(other.endpoint, OURS)
        second.kill()
    assert other.received() == "b''"


def test_an_engine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def place(self, _name: str) -> Place:
            raise ValueError("not JSON")

    monkeypatch.setattr(peer, "ENGINES", {"docker": Engine})
    with pytest.raises(OSError, match=r"^docker does not answer about container redis$"):
        login({"path": "/nowhere", **LOGIN}, OURS)


def test_a_certificate_tells_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "ENGINES", {})
    monkeypatch.setattr(peer, "Redis", lambda *given: given)
    endpoint = {"host": "192.0.2.1", "port": 6379, "tls": True, **LOGIN}
    assert login(endpoint, OURS) == (endpoint, 5.0)
    peer.answers(endpoint, OURS)


# Modules that open another connection: over TLS to servers of the collection's (sentinels), to the hosts that the
# administrator names (layer_health's figures, redis_ping), and without a login (server_info's containers).
CONNECT = {
    f"module_utils/{name}.py" for name in ("redis/peer", "redis/sentinels", "redis/figures", "server/containers")
}
CONNECT |= {"modules/redis_ping.py"}


def test_nobody_else_opens_a_connection() -> None:
    plugins = Path(str(peer.__file__)).parents[2]
    texts = {str(path.relative_to(plugins)): path.read_text(encoding="utf-8") for path in plugins.rglob("*.py")}
    clients = {name: text for name, text in texts.items() if "redis.client" in text}
    assert {name for name, text in clients.items() if re.search(r"(?<![\w.])Redis\(", text)} == CONNECT
    # The controller has no client, and so nothing of that name that connects.
    assert not [name for name in clients if name.startswith("plugin_utils/")]

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's engine and Supervisor as the modules speak to them, over real sockets with made-up servers behind."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import engines, services
from ansible_collections.tethys.channels.plugins.module_utils.services import Docker, Supervisor

Start = Callable[..., Any]


# --- Docker's engine ------------------------------------------------------------------------------------------------


def speaks_http(answers: dict[str, tuple[int, Any]], seen: list[str]) -> Callable[[socket.socket], None]:
    """A server that answers requests for these paths in JSON."""

    def talk(connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(1000)
        path = request.split()[1].decode()
        seen.append(path)
        status, body = answers.get(path, (404, {"message": "no such thing"}))
        text = json.dumps(body).encode()
        connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text))

    return talk


def test_docker(serve: Start, tmp_path: Path) -> None:
    seen: list[str] = []
    answers = {
        "/version": (200, {"Version": "20.10.24"}),
        "/broken": (500, {}),
        "/images/docker.io/library/redis:8.2/json": (200, {"Id": "sha256:1"}),
    }
    serve(speaks_http(answers, seen), tmp_path / "docker.sock")
    docker = Docker(str(tmp_path / "docker.sock"))
    assert docker.get("/version") == {"Version": "20.10.24"}
    assert docker.image("docker.io/library/redis:8.2") == {"Id": "sha256:1"}
    assert docker.image("a b") is None
    assert seen[-1] == "/images/a%20b/json"
    with pytest.raises(OSError, match="answered 500 to /broken"):
        docker.get("/broken")


def test_an_engine_that_refuses_old_versions_of_its_api(
    serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker 29 takes 1.44 at least. A request that names no version is one of the engine's newest."""
    seen: list[str] = []
    about = {"Version": "29.0.1", "ApiVersion": "1.52", "MinAPIVersion": "1.44", "Components": [{"Name": "Engine"}]}
    answers: dict[str, tuple[int, Any]] = {
        "/version": (200, about),
        "/info": (200, {"DockerRootDir": "/var/lib/docker"}),
        "/containers/json?all=1": (200, []),
    }
    serve(speaks_http(answers, seen), tmp_path / "docker.sock")
    monkeypatch.setattr(engines, "Docker", lambda: Docker(str(tmp_path / "docker.sock")))
    engine = engines.DockerEngine()
    assert (engine.kind(), engine.version(), engine.containers()) == ("docker", "29.0.1", [])
    assert engine.holds("redis:8.2") is None
    assert not [path for path in seen if path.startswith("/v1")]


def test_no_docker(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Docker(str(tmp_path / "none.sock")).get("/version")


# --- Supervisor -----------------------------------------------------------------------------------------------------


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Supervisor]:
    """A Supervisor with this configuration file."""

    def start(text: str | None) -> Supervisor:
        config = tmp_path / "supervisord.conf"
        if text is not None:
            config.write_text(text.replace("FOLDER", str(tmp_path)), encoding="utf-8")
        monkeypatch.setattr(services, "SUPERVISOR_CONFIGS", (str(tmp_path / "none.conf"), str(config)))
        return Supervisor(timeout=2)

    return start


CONFIG = """\
; the distribution's file
[unix_http_server]
file=FOLDER/supervisor.sock   ; (the path to the socket file)
chmod=0700
username = admin
password = it's%secret

[include]
files = conf.d/*.conf FOLDER/more/*.ini
"""


def test_supervisor_configuration(supervisor: Start, tmp_path: Path) -> None:
    found = supervisor(CONFIG)
    assert found.config == str(tmp_path / "supervisord.conf")
    assert found.socket_path == str(tmp_path / "supervisor.sock")
    assert found.include_globs == [str(tmp_path / "conf.d/*.conf"), str(tmp_path / "more/*.ini")]


@pytest.mark.parametrize("line", ["file=FOLDER/s.sock # the socket", "file=%(here)s/s.sock", "file=FOLDER/s.sock"])
def test_the_socket_as_supervisor_reads_it(supervisor: Start, tmp_path: Path, line: str) -> None:
    assert supervisor(f"[unix_http_server]\n{line}\n").socket_path == str(tmp_path / "s.sock")


def test_supervisor_reads_its_programs_sorted_and_once(supervisor: Start, tmp_path: Path) -> None:
    for name in ("conf.d/b.conf", "conf.d/a.conf", "conf.d/c.txt", "more/x.ini"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    found = supervisor("[include]\nfiles = more/*.ini conf.d/*.conf\n    %(here)s/*/[cx].*\n").program_files()
    assert found == [str(tmp_path / name) for name in ("more/x.ini", "conf.d/a.conf", "conf.d/b.conf", "conf.d/c.txt")]


@pytest.mark.parametrize("text", [None, "", "[supervisord]\n", "nonsense\n[include\n", "[include]\nfiles=\n"])
def test_supervisor_without_a_configuration_to_speak_of(supervisor: Start, text: str | None) -> None:
    found = supervisor(text)
    assert found.socket_path == "/var/run/supervisor.sock"
    assert (found.include_globs, found.program_files()) == ([], [])


def speaks_xml_rpc(answers: dict[str, Any], headers: list[str]) -> Callable[[socket.socket], None]:
    """A server that answers XML-RPC calls by the method's name."""

    def talk(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        while True:
            size = 0
            while True:
                line = reader.readline().strip().decode()
                if not line:
                    break
                headers.append(line)
                if line.lower().startswith("content-length:"):
                    size = int(line.partition(":")[2])
            if not size:
                return
            _parameters, method = xmlrpc.client.loads(reader.read(size))
            answer = answers[str(method)]
            told = answer if isinstance(answer, xmlrpc.client.Fault) else (answer,)
            body = xmlrpc.client.dumps(told, methodresponse=True).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    return talk


def test_supervisor_answers(supervisor: Start, serve: Start, tmp_path: Path) -> None:
    headers: list[str] = []
    answers = {"supervisor.getPID": 17, "supervisor.getSupervisorVersion": "4.2.5"}
    serve(speaks_xml_rpc(answers, headers), tmp_path / "supervisor.sock")
    assert supervisor(CONFIG).state() == {"pid": 17, "version": "4.2.5"}
    assert "Authorization: Basic " + base64.b64encode(b"admin:it's%secret").decode() in headers


def test_supervisor_needs_no_login_where_it_has_none(supervisor: Start, serve: Start, tmp_path: Path) -> None:
    headers: list[str] = []
    serve(speaks_xml_rpc({"supervisor.getPID": 17, "supervisor.getSupervisorVersion": ""}, headers), tmp_path / "s")
    assert supervisor("[unix_http_server]\nfile=FOLDER/s\n").state() is not None
    assert not [line for line in headers if line.startswith("Authorization")]


SHA = "{SHA}" + hashlib.sha1(b"it's").hexdigest()  # noqa: S324 - as Supervisor has it


@pytest.mark.parametrize(
    ("kept", "of_client", "password"),
    [("it's", "", "it's"), (SHA, "it's", "it's"), (SHA, "wrong", None), (SHA, "", None), ("", "x", "")],
)
def test_a_password_of_which_only_the_digest_is_kept(
    supervisor: Start, kept: str, of_client: str, password: str | None
) -> None:
    text = f"[unix_http_server]\nusername=a\npassword={kept}\n[supervisorctl]\npassword={of_client}\n"
    assert supervisor(text).password() == password


@pytest.mark.parametrize(
    "answer", [None, b"", b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n"]
)
def test_supervisor_does_not_answer(
    supervisor: Start, serve: Start, says: Start, tmp_path: Path, answer: bytes | None
) -> None:
    if answer is not None:
        serve(says(answer), tmp_path / "supervisor.sock")
    assert supervisor(CONFIG).state() is None


def test_supervisor_without_a_file(supervisor: Start) -> None:
    assert supervisor(None).state() is None


# Listens as that user, and prints what the first connection sends.
LISTENER = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.setuid(int(sys.argv[2]))
listening.listen()
print("ready", flush=True)
connection, _address = listening.accept()
connection.settimeout(5)
print(repr(connection.recv(1000)), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can start a process of another user.")
@pytest.mark.parametrize("user", [0, 65534])
def test_another_user_is_not_sent_the_login(supervisor: Start, tmp_path: Path, user: int) -> None:
    words = [sys.executable, "-I", "-c", LISTENER, str(tmp_path / "supervisor.sock"), str(user)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        found = supervisor(CONFIG)
        assert found.state() is None
        received = process.stdout.readline().strip()
        process.kill()
    stranger = f"process {process.pid} of user nobody listens there instead"
    assert (found.stranger, received == "b''") == ((stranger, True) if user else ("", False))


def test_supervisors_answer_has_one_deadline(supervisor: Start, serve: Start, tmp_path: Path) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _second in range(200):
            connection.sendall(b" ")
            time.sleep(0.1)

    serve(drip, tmp_path / "supervisor.sock")
    begin = time.monotonic()
    assert supervisor(CONFIG).state() is None
    assert time.monotonic() - begin < 15


def says_body(body: bytes, header: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), header, body)


@pytest.mark.parametrize(
    "answer",
    [
        says_body(
            gzip.compress(xmlrpc.client.dumps((17,), methodresponse=True).encode()), b"Content-Encoding: gzip\r\n"
        ),
        says_body(xmlrpc.client.dumps(("x" * 100_000,), methodresponse=True).encode()),
        says_body(b"<methodResponse>"),
        says_body(b"<methodResponse><params><param><value><int>x</int></value></param></params></methodResponse>"),
        says_body(b"<methodResponse><fault><value><int>1</int></value></fault></methodResponse>"),
        says_body(b""),
    ],
)
def test_what_is_not_supervisors_answer(
    supervisor: Start, serve: Start, says: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(services, "MOST_SUPERVISOR_BYTES", 50_000, raising=False)
    serve(says(answer), tmp_path / "supervisor.sock")
    with pytest.raises((OSError, xmlrpc.client.Error)):
        supervisor(CONFIG).rpc().getPID()


ROW = {"group": "asgi", "name": "tethys_asgi0", "statename": "RUNNING", "pid": 17}


@pytest.mark.parametrize(
    ("method", "arguments", "answer"),
    [
        ("getPID", (), "17"),
        ("getSupervisorVersion", (), 4),
        ("getAllProcessInfo", (), 4),
        ("getAllProcessInfo", (), [4]),
        ("getAllProcessInfo", (), [{**ROW, "name": "../../docker"}]),
        ("getAllProcessInfo", (), [{**ROW, "pid": "17"}]),
        ("getAllProcessInfo", (), [{**ROW, "pid": -1}]),
        ("getAllProcessInfo", (), [{"group": "asgi"}]),
        ("getProcessInfo", ("asgi:tethys_asgi0",), [ROW]),
        ("reloadConfig", (), [[["asgi"], []]]),
        ("reloadConfig", (), []),
        ("reloadConfig", (), [[[1], [], []]]),
    ],
)
def test_supervisors_answers_have_their_types(
    supervisor: Start, serve: Start, tmp_path: Path, method: str, arguments: tuple[str, ...], answer: Any
) -> None:
    serve(speaks_xml_rpc({f"supervisor.{method}": answer}, []), tmp_path / "supervisor.sock")
    with pytest.raises(xmlrpc.client.ResponseError):
        getattr(supervisor(CONFIG).rpc(), method)(*arguments)


def test_what_supervisor_tells(supervisor: Start, serve: Start, tmp_path: Path) -> None:
    other = {"group": "of/others", "name": "a/b", "statename": "STOPPED", "pid": 0, "description": "Not\nstarted"}
    answers = {
        "supervisor.getAllProcessInfo": [{**ROW, "spawnerr": "", "exitstatus": 0}, {**other, "stop": 1}],
        "supervisor.reloadConfig": [[["asgi"], [], ["nginx"]]],
        "supervisor.stopProcessGroup": [{"status": 80}],
        "supervisor.addProcessGroup": xmlrpc.client.Fault(90, "ALREADY_ADDED: \u202easgi"),
    }
    serve(speaks_xml_rpc(answers, []), tmp_path / "supervisor.sock")
    rpc = supervisor(CONFIG).rpc()
    assert rpc.getAllProcessInfo() == [{**ROW, "spawnerr": ""}, {**other, "description": "Not started"}]
    assert rpc.reloadConfig() == [[["asgi"], [], ["nginx"]]]
    rpc.stopProcessGroup("asgi", True)
    with pytest.raises(xmlrpc.client.Fault, match="ALREADY_ADDED: asgi"):
        rpc.addProcessGroup("asgi")

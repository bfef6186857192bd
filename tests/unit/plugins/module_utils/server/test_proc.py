# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes and sockets as /proc has them: of this machine, and of folders made here."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import proc

# Waits for connections with epoll, as an ASGI server does, and keeps them.
SERVER = """
import select, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(False)
poll = select.epoll()
poll.register(listener.fileno(), select.EPOLLIN)
kept = []
print("ready", flush=True)
while True:
    poll.poll()
    try:
        kept.append(listener.accept()[0])
    except BlockingIOError:
        pass
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield listening


@pytest.fixture
def servers(listener: socket.socket) -> Iterator[list[int]]:
    """Two processes that share the listening socket, which this one holds too, as Supervisor does."""
    fd = listener.fileno()
    started = [
        subprocess.Popen([sys.executable, "-c", SERVER, str(fd)], pass_fds=(fd,), stdout=subprocess.PIPE)
        for _each in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    yield sorted(process.pid for process in started)
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_only_processes_that_wait_for_connections_count(listener: socket.socket, servers: list[int]) -> None:
    # A program that inherited the socket and never uses it, such as one started by an app.
    with subprocess.Popen(["sleep", "30"], stdin=listener.fileno()) as bystander:
        found = proc.accepting("127.0.0.1", [port_of(listener)])
        bystander.kill()
    assert [process.pid for process in found] == servers
    assert {process.port for process in found} == {port_of(listener)}
    assert {process.user for process in found} == {pwd.getpwuid(os.geteuid()).pw_name}
    assert all(proc.still_there(process) for process in found)
    assert all(process.age_seconds < 60 and abs(process.started_at - time.time()) < 60 for process in found)


def test_each_connection_is_found_in_the_process_that_holds_it(listener: socket.socket, servers: list[int]) -> None:
    port = port_of(listener)
    clients = [socket.create_connection(("127.0.0.1", port)) for _each in range(12)]
    ends = [(port, client.getsockname()[1]) for client in clients]
    for _again in range(50):
        held = proc.who_holds(ends, servers)
        if len(held) == len(ends):
            break
        time.sleep(0.1)
    counted = proc.accepted(servers)
    for client in clients:
        client.close()
    assert set(held) == set(ends)
    assert set(held.values()) <= set(servers)
    assert counted == {pid: list(held.values()).count(pid) for pid in servers}


def test_a_connection_that_a_process_opened_is_not_one_that_it_accepted(listener: socket.socket) -> None:
    with socket.create_connection(("127.0.0.1", port_of(listener))), socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        with socket.create_connection(("127.0.0.1", other.getsockname()[1])):
            before = proc.accepted([os.getpid()])
            accepted, _address = other.accept()
            assert proc.accepted([os.getpid()])[os.getpid()] == before[os.getpid()] + 1
            accepted.close()


def test_nobody_serves_a_port_that_is_only_held(listener: socket.socket) -> None:
    assert proc.listening("127.0.0.1", [port_of(listener)])
    assert not proc.listening("127.0.0.2", [port_of(listener)])
    # This process is the only holder: without a waiting one, the holders are taken.
    assert [p.pid for p in proc.accepting("127.0.0.1", [port_of(listener)])] == [os.getpid()]


def test_a_process_that_has_gone_is_noticed(listener: socket.socket, servers: list[int]) -> None:
    found = proc.accepting("127.0.0.1", [port_of(listener)])
    os.kill(servers[0], 9)
    for _again in range(50):
        if not all(proc.still_there(process) for process in found):
            break
        time.sleep(0.1)
    assert [proc.still_there(process) for process in found] == [False, True]


@pytest.mark.parametrize(
    ("address", "host", "yes"),
    [
        ("0100007F", "127.0.0.1", True),
        ("00000000", "127.0.0.1", True),
        ("00000000000000000000000000000000", "127.0.0.1", True),
        ("0000000000000000FFFF00000100007F", "127.0.0.1", True),
        ("0200007F", "127.0.0.1", False),
        ("0A00000A", "10.0.0.10", True),
    ],
)
def test_answers_on(address: str, host: str, yes: bool) -> None:
    assert proc.answers_on(address, host) is yes


def test_the_kernels_name_of_listening() -> None:
    assert proc.LISTEN == "0A"


def test_an_address_of_ipv6_as_the_kernel_writes_it() -> None:
    # As /proc/net/tcp6 has it on a machine with this address.
    assert proc.in_table("2001:db8::1") == ("B80D0120000000000000000001000000",)
    assert proc.in_table("fe80::1%eth0") == ("000080FE000000000000000001000000",)


def test_a_process_by_its_name() -> None:
    name = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert os.getpid() in proc.named(name)
    assert proc.named("no such name") == []


@pytest.mark.parametrize(
    ("name", "words", "is_one"),
    [
        ("supervisord", "/usr/bin/python3 /usr/bin/supervisord -n", True),
        ("python3.11", "/opt/conda/bin/python3.11 /opt/conda/bin/supervisord -c /etc/s.conf", True),
        ("python", "python -u -W ignore bin/supervisord", True),
        ("python3", "python3 -m supervisor.supervisord -n", True),
        ("python3", "python3 -m http.server supervisord", False),
        ("python3", "python3 /opt/worker.py supervisord", False),
        ("python3", "python3 -m", False),
        ("python3", "python3", False),
        ("bash", "bash /usr/bin/supervisord", False),
    ],
)
def test_a_supervisord_by_its_command(tmp_path: Path, name: str, words: str, is_one: bool) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_text(f"{name}\n")
    (tmp_path / "7" / "stat").write_text(f"7 ({name}) S 1 " + "0 " * 40)
    (tmp_path / "7" / "cmdline").write_text(words.replace(" ", "\0") + "\0")
    assert proc.is_supervisord(7, str(tmp_path)) is is_one


def test_a_supervisord_that_python_was_started_with(tmp_path: Path) -> None:
    script = tmp_path / "supervisord"
    script.write_text("import time\nprint(1, flush=True)\ntime.sleep(30)\n")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        try:
            assert started.pid in proc.supervisords()
        finally:
            started.kill()


def test_a_process_of_a_container_is_not_of_this_server(tmp_path: Path) -> None:
    for pid, namespace in (("self", "pid:[1]"), ("7", "pid:[1]"), ("8", "pid:[2]")):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "pid").symlink_to(namespace)
        (tmp_path / pid / "root").symlink_to("/")
        (tmp_path / pid / "comm").write_text("supervisord\n")
    assert proc.named("supervisord", str(tmp_path)) == [7]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Only root can start a process of another user.")
NOBODY = 65534
# Runs a program as that user.
AS_USER = (
    "import os, sys; os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
)


def runs(program: Path, user: int = 0) -> subprocess.Popen[bytes]:
    """A process that runs this program by now."""
    process = subprocess.Popen([sys.executable, "-I", "-c", AS_USER, str(user), str(program), "60"])
    end = time.monotonic() + 10
    while proc.program(process.pid) != str(program):
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


@pytest.fixture
def sleep() -> Iterator[Path]:
    """A copy of /bin/sleep that every user can run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        if os.statvfs(folder).f_flag & os.ST_NOSUID:
            pytest.skip("No set-user-ID program runs from here.")
        yield Path(shutil.copy(os.path.realpath("/bin/sleep"), f"{Path(folder).resolve()}/sleep"))


@needs_root
@pytest.mark.parametrize(("mode", "user", "roots"), [(0o755, 0, True), (0o755, NOBODY, False), (0o4755, NOBODY, False)])
@pytest.mark.parametrize("deleted", [False, True])
def test_whether_root_started_a_process(sleep: Path, mode: int, user: int, roots: bool, deleted: bool) -> None:
    sleep.chmod(mode)
    with runs(sleep, user) as process:
        if mode & stat.S_ISUID:
            assert proc.user_id(process.pid) == 0
        if deleted:
            sleep.unlink()
        assert proc.is_roots(process.pid) is roots
        assert proc.program(process.pid) == str(sleep)
        process.kill()
    assert not proc.is_roots(process.pid)


@pytest.mark.parametrize("users", ["0 0 0", "1000 0 0", "0 0 1000"])
@pytest.mark.parametrize("mode", [0o755, 0o4755, 0o2755])
def test_root_is_each_user_of_roots_process(tmp_path: Path, users: str, mode: int) -> None:
    folder, program = tmp_path / "7", tmp_path / "program"
    folder.mkdir()
    (folder / "status").write_text(f"Name:\tx\nUid:\t{users} 0\n")
    assert not proc.is_roots(7, str(tmp_path))
    program.touch()
    program.chmod(mode)
    (folder / "exe").symlink_to(program)
    # sudo is root to the last at its prompt, whoever started it.
    assert proc.is_roots(7, str(tmp_path)) is (users == "0 0 0" and mode == 0o755)


@needs_root
def test_who_can_change_the_program_of_a_process(sleep: Path) -> None:
    with runs(sleep) as process:
        assert proc.writers_of_program(process.pid) == []
        os.chown(sleep, NOBODY, NOBODY)
        assert [writer["path"] for writer in proc.writers_of_program(process.pid)] == [str(sleep)]
        process.kill()
    assert proc.writers_of_program(process.pid) == []


def test_a_process_that_has_gone_has_no_data(tmp_path: Path) -> None:
    root = str(tmp_path)
    (tmp_path / "7").mkdir()
    assert (proc.parent(7, root), proc.started(7, root), proc.title(7, root), proc.name_of(7, root)) == (
        0,
        None,
        "",
        "",
    )
    assert (proc.is_stopped(7, root), proc.environment(7, root), proc.working_folder(7, root)) == (False, {"": ""}, "/")
    assert proc.describe(7, 0, root) is None
    assert proc.user_id(8, root) is None
    assert not proc.is_of_this_server(7, root)
    assert list(proc.connections(root)) == []
    (tmp_path / "7" / "stat").write_text("7 (cut")
    assert proc.started(7, root) is None


@pytest.mark.parametrize("name", ["cmdline", "environ", "comm", "stat", "cgroup"])
def test_no_more_is_read_than_the_bound(tmp_path: Path, name: str) -> None:
    (tmp_path / "7").mkdir()
    file = tmp_path / "7" / name
    file.touch()
    os.truncate(file, 200 << 30)
    assert len(proc.text(7, name, str(tmp_path))) <= 2 << 20


def test_the_name_of_a_process_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_bytes(b"7 (a) T 9 \xff) S 3 " + b"0 " * 17 + b"44 0\n")
    assert (proc.parent(7, str(tmp_path)), proc.started(7, str(tmp_path))) == (3, 44)
    assert not proc.is_stopped(7, str(tmp_path))

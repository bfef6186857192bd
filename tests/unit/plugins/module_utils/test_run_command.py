# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import run_command as tested
from ansible_collections.tethys.channels.plugins.module_utils.run_command import run_command
from ansible_collections.tethys.channels.plugins.module_utils.server import cgroup, proc
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import account, become

PATH = {"PATH": "/usr/bin:/bin"}
# Each leaves a process that writes its number into the file that it is given, and sleeps.
DESCENDANTS = {
    "a child": "sleep 300 & echo $! > $0",
    "with a session of its own": "setsid sh -c 'echo $$ > $0; exec sleep 300' $0 & sleep 0.3",
    "whose parent has ended": "(setsid sh -c 'echo $$ > $0; exec sleep 300' $0 &) ; sleep 0.3",
    "that ignores signals": "(trap '' HUP TERM INT; setsid sh -c 'echo $$ > $0; exec sleep 300' $0 &) ; sleep 0.3",
    "that goes on making others": (
        "setsid sh -c 'echo $$ > $0; while :; do (setsid sleep 300 &); sleep 0.01; done' $0 & sleep 0.3"
    ),
}


def sh(script: str, *words: str, seconds: float = 20, **more: object) -> tested.Completed:
    return run_command(["sh", "-c", script, *words], seconds=seconds, env=PATH, **more)  # type: ignore[arg-type]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_returns_code_and_outputs() -> None:
    assert sh("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_a_signal_is_a_negative_code() -> None:
    assert sh("kill -TERM $$").code == -signal.SIGTERM


@pytest.mark.parametrize("given", ["ü" * 200_000, b"x" * 300_000, ""])
def test_stdin_is_what_is_given_or_empty(given: str | bytes) -> None:
    assert sh("cat", stdin=given).out == (given.decode() if isinstance(given, bytes) else given)


def test_an_ended_program_keeps_its_number_until_the_end() -> None:
    with tested.Running(["sh", "-c", "exit 3"], env=PATH) as running:
        assert running.exit_code(time.monotonic() + 20) == 3
        assert Path(f"/proc/{running.process.pid}").exists()
    assert not Path(f"/proc/{running.process.pid}").exists()


def test_a_program_need_not_read_its_input() -> None:
    assert sh("exec <&-; echo done", stdin="x" * 1_000_000) == (0, "done\n", "")


def test_the_environment_is_the_given_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    assert "s3cret" not in run_command(["env"], seconds=20, env={**PATH, "A": "1"}).out


def test_starts_in_a_session_of_its_own_in_the_root_folder() -> None:
    code = "import os; print(os.getsid(0) == os.getpid(), os.getcwd())"
    assert run_command([sys.executable, "-c", code], seconds=20, env={}).out == "True /\n"


def test_has_no_terminal() -> None:
    assert sh("exec < /dev/tty").code != 0


@pytest.mark.parametrize("command", [["/no/such/program"], ["/etc/passwd"], ["a\0b"]])
def test_what_cannot_be_started_is_one_sentence(command: list[str]) -> None:
    with pytest.raises(tested.NotStarted, match=r"cannot be started: .+") as raised:
        run_command(command, seconds=20, env={})
    assert not str(raised.value).endswith(".")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("command", "code"), [("/no/such/program", 127), ("/etc/passwd", 126), ("/root", 126)])
def test_what_another_user_cannot_start_ends_with_a_code(command: str, code: int) -> None:
    nobody = account("nobody")
    assert nobody
    done = run_command([command, "a b", "$(c)"], seconds=20, env=PATH, become=become(nobody))
    assert (done.code, done.out) == (code, "")
    assert command in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_program_gets_its_words_as_they_are() -> None:
    nobody = account("nobody")
    assert nobody
    words = ["a b", "$(c)", "", "-e", "'"]
    done = run_command(["printf", "%s\\n", *words], seconds=20, env=PATH, become=become(nobody))
    assert done.out.split("\n")[:-1] == words


@pytest.mark.parametrize(
    "script",
    [
        "sleep 300",
        "exec >&- 2>&-; sleep 300",
        "while :; do printf x; sleep 0.1; done",
        "trap '' TERM HUP INT; while :; do sleep 1; done",
    ],
)
def test_the_deadline_holds(script: str) -> None:
    started = time.monotonic()
    with pytest.raises(tested.TimedOut, match=r"^sh did not end within 0.5 s$"):
        sh(script, seconds=0.5)
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("script", ["cat /dev/zero", "cat /dev/zero >&2", "cat /dev/zero & exec cat /dev/zero >&2"])
def test_the_output_is_bounded(script: str) -> None:
    with pytest.raises(tested.TooMuchOutput, match=r"^sh wrote more than 100000 bytes$"):
        sh(script, most_bytes=100_000)


def test_output_of_exactly_the_limit_is_returned() -> None:
    assert len(sh("head -c 100000 /dev/zero", most_bytes=100_000).out) == 100_000


@pytest.mark.parametrize("script", DESCENDANTS.values(), ids=DESCENDANTS.keys())
def test_everything_that_descends_from_it_is_ended(tmp_path: Path, script: str) -> None:
    note = tmp_path / "pid"
    others = set(proc.children("self"))
    started = time.monotonic()
    sh(script, str(note))
    assert time.monotonic() - started < 5
    assert not lives(int(note.read_text()))
    assert set(proc.children("self")) == others
    assert not tested._collects_orphans()


@pytest.mark.parametrize("script", DESCENDANTS.values(), ids=DESCENDANTS.keys())
def test_and_at_the_deadline(tmp_path: Path, script: str) -> None:
    note = tmp_path / "pid"
    with pytest.raises(tested.TimedOut):
        sh(f"{script}; sleep 300", str(note), seconds=1)
    assert not lives(int(note.read_text()))


# It gives up after 20 s in any case.
HARE = """
import ctypes, os, time
libc = ctypes.CDLL(None)
fork, leave = libc.fork, libc._exit
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 20
    for each in range(3):
        os.fork()
    while time.monotonic() < end:
        if fork():
            leave(0)
else:
    time.sleep(0.5)
"""


def can_make_a_cgroup() -> bool:
    made = cgroup.new_cgroup()
    if made:
        made.end(time.monotonic() + 2)
    return made is not None


@pytest.mark.skipif(not can_make_a_cgroup(), reason="no control group can be made here")
@pytest.mark.parametrize("way", ["kill", "freeze", "freezer"])
@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_process_that_forks_and_exits_all_the_time_is_ended(
    monkeypatch: pytest.MonkeyPatch, way: str, user: str | None
) -> None:
    if way == "freezer":
        monkeypatch.setattr(cgroup, "HIERARCHIES", cgroup.HIERARCHIES[-1:])
        if not can_make_a_cgroup():
            pytest.skip("there is no freezer of version 1")
    if way != "kill":
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda self: self.name != "cgroup.kill" and exists(self))
    python = next(path for path in ("/usr/bin/python3", sys.executable) if Path(path).exists())
    who = account(user)
    mine = f"tethys_channels_{os.getpid()}_"
    started = time.monotonic()
    run_command([python, "-c", HARE], seconds=20, env=PATH, become=become(who) if who else None)
    assert time.monotonic() - started < 5
    # Unlike glob, walk passes over the groups of other tests that end meanwhile.
    assert not [name for _top, names, _files in os.walk("/sys/fs/cgroup") for name in names if name.startswith(mine)]
    for _again in range(20):
        assert not [pid for pid in Path("/proc").glob("[0-9]*") if HARE[:30].encode() in contents(pid / "cmdline")]


@pytest.mark.skipif(not can_make_a_cgroup(), reason="no control group can be made here")
def test_root_starts_it_in_a_control_group_of_its_own() -> None:
    assert f"/tethys_channels_{os.getpid()}_" in sh("cat /proc/self/cgroup").out


def test_without_a_cgroup_orphans_are_ended_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "new_cgroup", lambda: None)
    for number, script in enumerate(DESCENDANTS.values()):
        note = tmp_path / str(number)
        sh(script, str(note))
        assert not lives(int(note.read_text()))
    assert not tested._collects_orphans()


@pytest.mark.parametrize("own", ["", "0::/../elsewhere\n6:freezer:/../x\n", "nonsense"])
def test_a_cgroup_that_cannot_be_made_is_none(monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_more: own)
    assert cgroup.new_cgroup() is None


def contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_everything_is_ended_that_has_become_another_user(tmp_path: Path) -> None:
    nobody = account("nobody")
    assert nobody
    note = tmp_path / "pid"
    note.write_text("")
    note.chmod(0o666)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.owner() == "root" and folder.name.startswith(("pytest", "test")):
            folder.chmod(0o755)
    script = DESCENDANTS["whose parent has ended"]
    assert sh(f"{script}; id -un; id -G", str(note), become=become(nobody)).out.splitlines()[0] == "nobody"
    assert not lives(int(note.read_text()))


def test_children_that_were_there_before_live_on() -> None:
    other = os.fork()
    if other == 0:
        time.sleep(60)
        os._exit(0)
    try:
        sh("true")
        assert lives(other)
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)


def test_without_the_kernels_help_the_process_group_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "_collects_orphans", lambda wanted=None: False)
    monkeypatch.setattr(tested, "new_cgroup", lambda: None)
    note = tmp_path / "pid"
    sh(DESCENDANTS["a child"], str(note))
    time.sleep(0.1)
    assert not lives(int(note.read_text()))

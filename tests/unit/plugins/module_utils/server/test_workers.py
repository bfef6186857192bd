# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which real processes count as a portal's workers."""

from __future__ import annotations

import getpass
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.workers import workers_of

# Starts a child, as Celery does, and reports that it runs: its command line is there a moment after Popen has returned.
CHILD = "print(flush=True); input()"
PARENT = (
    f"import subprocess, sys; p = subprocess.Popen([*sys.argv[1:], '-c', '{CHILD}'], stdout=-1);"
    f" p.stdout.readline(); {CHILD}"
)

# A process that has started none of them.
STRANGER = 0


@contextmanager
def running(*words: str, home: Path | None = None) -> Iterator[int]:
    """A process that has a child; both end with the block."""
    environment = {**os.environ, **({"TETHYS_HOME": str(home)} if home else {})}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.terminate()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    return tmp_path / "env"


def test_processes_of_the_portal_that_serve_no_requests(tmp_path: Path, prefix: Path) -> None:
    home, python = tmp_path / "home", str(prefix / "bin" / "python")
    assert workers_of(str(home), str(prefix)) == []
    with ExitStack() as stack:
        by_home = stack.enter_context(running(sys.executable, "-c", PARENT, sys.executable, home=home))
        by_python = stack.enter_context(running(python, "-c", PARENT, python))
        # The portal's own, a shell of the administrator, another portal's, and a program that only names the home.
        stack.enter_context(running("/bin/sh", "-c", "echo; read -r line", home=home))
        stack.enter_context(running(python, "-c", PARENT, python, "tethys_portal.asgi:application"))
        stack.enter_context(running(sys.executable, "-c", PARENT, sys.executable, home=tmp_path / "other"))
        stack.enter_context(running(python, "-c", PARENT, python, home=tmp_path / "other"))
        stack.enter_context(running(sys.executable, "-c", PARENT, sys.executable, str(home)))
        found = workers_of(str(home), str(prefix), me=STRANGER)
        (tmp_path / "link").symlink_to(home)
        assert workers_of(str(tmp_path / "link"), str(prefix), me=STRANGER) == found
        # What this process has started itself, such as a portal's Python that reads its settings, is no worker.
        assert workers_of(str(home), str(prefix)) == []
        # The children are the business of their parents.
        assert [worker["pid"] for worker in found] == sorted([by_home, by_python])
        assert {worker["user"] for worker in found} == {getpass.getuser()}
        # What follows the first option may be a password.
        assert {worker["command"] for worker in found} == {sys.executable, python}
        assert not any(worker["of_channels"] for worker in found)


def test_one_that_receives_from_channels_is_known_whatever_started_it(tmp_path: Path, prefix: Path) -> None:
    """The word may follow an option, and the process may be the child of another program of the environment."""
    python, home = str(prefix / "bin" / "python"), str(tmp_path / "home")
    with ExitStack() as stack:
        other = stack.enter_context(running(python, "-c", PARENT, python))
        parent = stack.enter_context(running(python, "-c", PARENT, python, "-X", "runworker"))
        found = workers_of(home, str(prefix), me=STRANGER)
        assert [worker["of_channels"] for worker in found] == [True, True, False]
        assert (parent in [worker["pid"] for worker in found[:2]], found[2]["pid"]) == (True, other)


STRANGERS = 54321


def test_a_process_of_any_other_user_neither_decides_the_class_nor_hides_those_of_the_portal(
    tmp_path: Path, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any user can start a Python with the portal's TETHYS_HOME, and many of them."""
    python, home = str(prefix / "bin" / "python"), tmp_path / "home"
    plain = ("-c", "print(flush=True); input()")
    with ExitStack() as stack:
        many = [stack.enter_context(running(sys.executable, *plain, "runworker", home=home)) for _each in range(11)]
        celery = stack.enter_context(running(python, *plain))
        receiver = stack.enter_context(running(python, *plain, "runworker"))
        monkeypatch.setattr(proc, "user_id", lambda pid, _root: STRANGERS if pid in many else os.getuid())
        found = workers_of(str(home), str(prefix), me=STRANGER)
        assert [(worker["pid"], worker["of_channels"]) for worker in found[:3]] == [
            (receiver, True),
            (celery, False),
            (many[0], False),
        ]
        # Who runs the portal owns neither its home nor its environment, as a rule.
        monkeypatch.setattr(proc, "user_id", lambda pid, _root: pwd.getpwnam("nobody").pw_uid)
        assert not any(worker["of_channels"] for worker in workers_of(str(home), str(prefix), me=STRANGER))
        assert all(worker["of_channels"] for worker in workers_of(str(home), str(prefix), "nobody", me=STRANGER))

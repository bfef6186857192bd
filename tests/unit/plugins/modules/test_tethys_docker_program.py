# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The number of processes in the program file: what changes, what is kept, what comes back."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.modules import tethys_docker_program

PROGRAM = """[fcgi-program:asgi]
# Each process needs to have a separate socket file, so we use process_num
command=bash -c "daphne -u /run/tethys_asgi%(process_num)d.sock --fd 0"

# Number of processes to startup, roughly the number of CPUs you have
numprocs=3

process_name=tethys_asgi%(process_num)d
"""


@pytest.fixture
def run(tmp_path: Path, run_module: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    path = tmp_path / "asgi_supervisord.conf"
    path.write_text(PROGRAM)
    path.chmod(0o664)
    given = {"path": str(path), "notes": str(tmp_path / "kept" / "before.json")}
    return lambda **more: run_module(tethys_docker_program.main, **{**given, **more})


def test_only_the_number_changes(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    found = run(processes=2)
    assert (found["changed"], found["before"], found["processes"]) == (True, 3, 2)
    path = tmp_path / "asgi_supervisord.conf"
    assert path.read_text() == PROGRAM.replace("numprocs=3", "numprocs=2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert run(processes=2)["changed"] is False


def test_every_other_byte_stays(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    """Another program before the portal's, line ends of another system, and a character that is not UTF-8."""
    path = tmp_path / "asgi_supervisord.conf"
    worker = b"# caf\xe9\r\n[program:worker]\r\ncommand=x\r\nnumprocs=8\r\n"
    raw = worker + PROGRAM.replace("\n", "\r\n").encode()
    path.write_bytes(raw)
    assert run(processes=2)["before"] == 3
    assert path.read_bytes() == raw.replace(b"numprocs=3", b"numprocs=2")
    run(state="restored")
    assert path.read_bytes() == raw


def test_a_first_run_keeps_what_was_there_even_if_nothing_else_changes(
    tmp_path: Path, run: Callable[..., dict[str, Any]]
) -> None:
    assert run(processes=3)["changed"] is True
    assert json.loads((tmp_path / "kept" / "before.json").read_text()) == {"fresh": False, "processes": 3}
    assert run(processes=3)["changed"] is False


@pytest.mark.parametrize(("fresh", "back"), [(False, 3), (True, 1)])
def test_what_was_there_comes_back_after_several_runs(
    tmp_path: Path, run: Callable[..., dict[str, Any]], fresh: bool, back: int
) -> None:
    assert run(processes=3, fresh=fresh)["fresh"] is fresh
    # What the portal is like later says nothing of what it was like before.
    assert run(processes=5, fresh=not fresh)["fresh"] is fresh
    found = run(state="restored")
    assert (found["changed"], found["before"], found["processes"]) == (True, 5, back)
    assert f"numprocs={back}\n" in (tmp_path / "asgi_supervisord.conf").read_text()
    assert not (tmp_path / "kept").exists()
    assert run(state="restored")["changed"] is False


def test_a_folder_in_which_something_else_is_stays(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    run(processes=2)
    (tmp_path / "kept" / "portal_config.original").write_text("x")
    run(state="restored")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["portal_config.original"]


def test_check_mode_writes_nothing(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    found = run(processes=2, check=True)
    assert found["changed"] is True
    assert found["diff"]["after"] == "numprocs=2\n"
    assert (tmp_path / "asgi_supervisord.conf").read_text() == PROGRAM
    assert not (tmp_path / "kept").exists()


def test_the_file_behind_a_link_is_written(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    link = tmp_path / "link.conf"
    link.symlink_to(tmp_path / "asgi_supervisord.conf")
    run(path=str(link), processes=2)
    assert link.is_symlink()
    assert "numprocs=2" in (tmp_path / "asgi_supervisord.conf").read_text()


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [("[x]\n", {"processes": 2}, "a line numprocs"), (PROGRAM, {}, "processes is missing")],
)
def test_what_cannot_be_done(
    tmp_path: Path, run: Callable[..., dict[str, Any]], text: str, more: dict[str, Any], words: str
) -> None:
    (tmp_path / "asgi_supervisord.conf").write_text(text)
    found = run(**more)
    assert found["failed"] is True
    assert words in found["msg"]
    assert (tmp_path / "asgi_supervisord.conf").read_text() == text


def test_a_file_that_is_not_there(tmp_path: Path, run: Callable[..., dict[str, Any]]) -> None:
    (tmp_path / "asgi_supervisord.conf").unlink()
    assert "cannot be read" in run(processes=2)["msg"]

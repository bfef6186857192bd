# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are there whole or not at all, for nobody else to read in between, and what a killed run left is cleared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_bytes(b"before\n")
    path.chmod(0o640)
    return path


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_new_file_is_for_this_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        atomic_file.write_new(str(tmp_path / "new"), b"secret")
    finally:
        os.umask(old)
    assert mode(tmp_path / "new") == 0o600


def test_what_is_there_is_not_written_over(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        atomic_file.write_new(str(path), b"after")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(FileExistsError):
        atomic_file.write_new(str(tmp_path / "link"), b"after")
    assert path.read_bytes() == b"before\n"


@pytest.mark.parametrize(("wanted", "found"), [({}, 0o600), ({"mode": 0o400}, 0o400)])
def test_the_mode_is_right_before_the_file_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any], found: int
) -> None:
    seen, real = [], os.rename

    def rename(new: str, *arguments: Any, **named: Any) -> None:
        seen.append(((path.parent / new).read_bytes(), mode(path.parent / new)))
        real(new, *arguments, **named)

    monkeypatch.setattr(os, "rename", rename)
    atomic_file.replace(str(path), b"after", **wanted)
    assert seen == [(b"after", found)]
    assert (path.read_bytes(), mode(path)) == (b"after", found)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner(path: Path) -> None:
    atomic_file.replace(str(path), b"after", uid=1234)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234)
    atomic_file.replace(str(path), b"again", uid=1234, gid=0)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 0)


@pytest.mark.parametrize("step", ["fsync", "fchmod", "rename"])
def test_a_step_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fails(*_arguments: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(OSError, match="No space"):
        atomic_file.replace(str(path), b"after", mode=0o600)
    assert path.read_bytes() == b"before\n"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_a_killed_run_left(path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    names = {
        number: path.with_name(f".settings.json.{number}.tethys_channels")
        for number in (int(dead.stdout), os.getpid(), os.getppid())
    }
    assert atomic_file.temporary(str(path)) == str(names[os.getpid()])
    others = [path.with_name(name) for name in (".settings.json.swp", ".settings.json.1x.tethys_channels")]
    for left in [*names.values(), *others]:
        left.touch()
    atomic_file.remove_leftovers(str(path))
    # The number of a process that runs: another run is writing.
    assert set(path.parent.iterdir()) == {path, *others, names[os.getppid()]}
    atomic_file.remove_leftovers(str(path.parent / "none" / "x"))


@pytest.mark.parametrize(
    ("raw", "notes"), [(b'{"a": 1}', {"a": 1}), (b"[1]", {}), (b'{"a', {}), (b"\xff", {}), (b"", {}), (None, {})]
)
def test_notes(path: Path, raw: bytes | None, notes: dict[str, Any]) -> None:
    path.unlink()
    if raw is not None:
        path.write_bytes(raw)
    assert atomic_file.read_notes(path) == notes

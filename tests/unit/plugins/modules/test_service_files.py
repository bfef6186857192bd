# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several files and folders in one task: what it writes, shows (also in a dry run), and reports if it cannot."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.modules import service_files

Run = Callable[..., "dict[str, Any]"]
MINE = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}


@pytest.fixture
def run(run_module: Callable[..., dict[str, Any]]) -> Run:
    def run(*files: dict[str, Any], check: bool = False) -> dict[str, Any]:
        return run_module(service_files.main, check, files=[{**MINE, **file} for file in files])

    return run


def folder(path: Path, mode: str = "0750") -> dict[str, Any]:
    return {"path": str(path), "mode": mode}


def file(path: Path, content: str = "new\n", mode: str = "0644") -> dict[str, Any]:
    return {"path": str(path), "content": content, "mode": mode}


def everything(path: Path) -> dict[str, Any]:
    """What is there, with its mode and text."""
    return {
        str(each.relative_to(path)): (each.stat().st_mode, each.is_file() and each.read_text())
        for each in sorted(path.rglob("*"))
    }


def test_what_is_not_as_expected_is_written_and_nothing_else(run: Run, tmp_path: Path) -> None:
    files = [folder(tmp_path / "run"), file(tmp_path / "run" / "one"), file(tmp_path / "two"), folder(tmp_path / "log")]
    first = run(*files)
    assert (first["changed"], first["written"]) == (True, [each["path"] for each in files])
    assert everything(tmp_path) == {
        "log": (0o40750, False),
        "run": (0o40750, False),
        "run/one": (0o100644, "new\n"),
        "two": (0o100644, "new\n"),
    }
    inode = (tmp_path / "two").stat().st_ino
    again = run(*files)
    assert (again["changed"], again["written"], again["diff"]) == (False, [], [])
    (tmp_path / "run" / "one").write_text("changed")
    (tmp_path / "log").chmod(0o777)
    third = run(*files)
    assert (third["changed"], third["written"]) == (True, [files[1]["path"], files[3]["path"]])
    assert (tmp_path / "two").stat().st_ino == inode, "A file that was right is not written again."
    assert run(*files)["changed"] is False


def test_check_mode_predicts_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    (tmp_path / "log").mkdir(mode=0o777)
    (tmp_path / "log").chmod(0o777)
    before = everything(tmp_path)
    files = [
        folder(tmp_path / "none"),
        file(tmp_path / "none" / "deeper" / "new"),
        file(tmp_path / "old"),
        folder(tmp_path / "log"),
    ]
    found = run(*files, check=True)
    assert (found["changed"], found["written"]) == (True, [each["path"] for each in files])
    assert found["diff"][1]["after"] == "new\n"
    assert everything(tmp_path) == before
    unknown = run({**file(tmp_path / "new"), "owner": "nobody-at-all"}, check=True)
    assert unknown["written"] == [str(tmp_path / "new")], "A user that is still to be made is no failure."


def test_the_difference(run: Run, tmp_path: Path) -> None:
    old, wrong, link, log = (tmp_path / name for name in ("old", "wrong", "link", "log"))
    old.write_text("old\n")
    wrong.write_text("new\n")
    wrong.chmod(0o600)
    (tmp_path / "real").write_text("linked\n")
    link.symlink_to(tmp_path / "real")
    log.mkdir()
    log.chmod(0o700)
    files = [file(old), file(tmp_path / "none"), file(wrong), file(link), folder(log), folder(tmp_path / "run")]
    shown = run(*files, check=True)["diff"]

    def text(path: Path, before: str) -> dict[str, str]:
        return {"before": before, "after": "new\n", "before_header": str(path), "after_header": str(path)}

    assert shown == [
        text(old, "old\n"),
        text(tmp_path / "none", ""),
        {"prepared": f"{wrong} has the mode 0600\n"},
        text(link, "linked\n"),
        {"prepared": f"{log} has the mode 0700\n"},
        {"prepared": f"{tmp_path / 'run'} does not exist\n"},
    ]
    assert run(*files)["diff"] == shown, "Check mode shows what is then done."


@pytest.mark.parametrize("content", ["text\n", None])
@pytest.mark.parametrize("kind", ["owner", "group"])
def test_somebody_unknown_is_named(run: Run, tmp_path: Path, kind: str, content: str | None) -> None:
    path = tmp_path / "new"
    found = run({"path": str(path), "content": content, "mode": "0755", kind: "nobody-at-all"})
    assert found["failed"]
    assert found["msg"].startswith(f"{path} cannot be written: its owner or group is unknown (")
    assert "'nobody-at-all'" in found["msg"]
    assert not path.exists()


@pytest.mark.parametrize("wanted", [file, folder])
def test_a_place_that_cannot_be_written(run: Run, tmp_path: Path, wanted: Callable[..., dict[str, Any]]) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "inside"
    found = run(wanted(path))
    assert found["failed"]
    assert found["msg"] == f"{path} cannot be written: Not a directory. Correct that and run again."


def test_a_full_disk(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_file, "create", full)
    found = run(file(tmp_path / "new"))
    assert found["failed"]
    assert found["msg"] == f"{tmp_path / 'new'} cannot be written: No space left on device. Correct that and run again."


def test_what_is_left_out(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    # The owner is root then, and any group is right.
    path = tmp_path / "log"
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    found = run_module(service_files.main, True, files=[{"path": str(path), "mode": "0755"}])
    assert found["changed"] is (os.geteuid() != 0)
    assert "required" in run_module(service_files.main, files=[{"path": str(path)}])["msg"]

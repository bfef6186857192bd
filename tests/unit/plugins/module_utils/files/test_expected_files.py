# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a file or folder is not as expected, and that it is afterwards, with nothing else touched."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file, expected_files
from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import put_right, why_differs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

OWNER, GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name


def wanted(path: Path, content: str | None = "text\n", mode: str = "0640", **changes: Any) -> dict[str, Any]:
    """A file (or, without content, a folder) of the present user's."""
    return {"path": str(path), "content": content, "owner": OWNER, "group": GROUP, "mode": mode, **changes}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


# --- why it is not as expected --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"content": "other"}, "has another text"),
        ({"content": None}, "is not a folder"),
        ({"mode": "0600"}, "has the mode 0644"),
        ({"mode": "644"}, None),
        ({"owner": str(os.geteuid()), "group": str(os.getegid())}, None),
        ({"content": "text\r"}, "has another text"),
        ({"owner": "nobody-at-all"}, "belongs to {me}"),
        ({"group": "nobody-at-all"}, "belongs to {me}"),
    ],
)
def test_a_file(tmp_path: Path, change: dict[str, Any], why: str | None) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    file.chmod(0o644)
    owner, group = file.owner(), file.group()
    expected = {"path": str(file), "content": "text", "owner": owner, "group": None, "mode": "0644", **change}
    assert why_differs(expected) == (why and why.format(me=f"{owner}:{group}"))


@pytest.mark.parametrize(
    ("change", "why"),
    [({}, None), ({"mode": "0700"}, "has the mode 0750"), ({"content": ""}, "is no file")],
)
def test_a_folder(tmp_path: Path, change: dict[str, Any], why: str | None) -> None:
    tmp_path.chmod(0o750)
    owner = tmp_path.owner()
    expected = {"path": str(tmp_path), "content": None, "owner": owner, "group": None, "mode": "0750", **change}
    assert why_differs(expected) == why


def test_a_link_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    expected = {"path": str(tmp_path / "link"), "content": "text", "owner": "root", "group": None, "mode": "0644"}
    assert why_differs(expected) == "is a link"


def test_a_folder_that_is_a_file_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert why_differs(wanted(tmp_path / "none" / "x")) == "does not exist"
    assert why_differs(wanted(tmp_path / "file" / "x")) == "cannot be read (Not a directory)"


def test_an_owner_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_number: int) -> Any:
        raise KeyError("no such number")

    (tmp_path / "file").write_text("text\n")
    (tmp_path / "file").chmod(0o640)
    found = (tmp_path / "file").stat()
    for module, lookup in ((pwd, "getpwuid"), (grp, "getgrgid")):
        monkeypatch.setattr(module, lookup, nobody)
    assert why_differs(wanted(tmp_path / "file", owner="no-name")) == f"belongs to {found.st_uid}:{found.st_gid}"
    assert why_differs(wanted(tmp_path / "file", owner=str(found.st_uid), group=str(found.st_gid))) is None


# --- putting it right -----------------------------------------------------------------------------------------------


def put(expected: dict[str, Any]) -> None:
    """Put it right, after which it is."""
    put_right(expected)
    assert why_differs(expected) is None
    put_right(expected)
    assert why_differs(expected) is None


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    put(wanted(tmp_path / "a" / "b", None, "0710"))
    assert mode(tmp_path / "a" / "b") == 0o710


def test_a_folder_is_put_right_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o777)
    (folder / "log").write_text("kept")
    (folder / "log").chmod(0o604)
    put(wanted(folder, None, "2750"))
    assert mode(folder) == 0o2750
    assert ((folder / "log").read_text(), mode(folder / "log")) == ("kept", 0o604)


@pytest.mark.parametrize("before", [None, "another text\n", "text\n"])
def test_a_file_is_written(tmp_path: Path, before: str | None) -> None:
    file = tmp_path / "file"
    if before is not None:
        file.write_text(before)
        file.chmod(0o666)
    umask = os.umask(0o077)
    try:
        put(wanted(file))
    finally:
        os.umask(umask)
    assert (file.read_text(), mode(file)) == ("text\n", 0o640)
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("theirs")
    real.chmod(0o604)
    link.symlink_to(real)
    put(wanted(link))
    assert not link.is_symlink()
    assert link.read_text() == "text\n"
    assert (real.read_text(), mode(real)) == ("theirs", 0o604)
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    put(wanted(link))
    assert not (tmp_path / "nowhere").exists()


def test_what_a_killed_run_left_is_taken_away(tmp_path: Path) -> None:
    left = Path(atomic_file.temporary(str(tmp_path / "file")))
    left.write_text("half")
    put(wanted(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize("content", ["text\n", None])
@pytest.mark.parametrize("change", [{"owner": "nobody-at-all"}, {"group": "nobody-at-all"}], ids=str)
def test_nothing_is_made_for_somebody_unknown(tmp_path: Path, change: dict[str, Any], content: str | None) -> None:
    with pytest.raises(KeyError, match="nobody-at-all"):
        put_right(wanted(tmp_path / "new", content, **change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["text\n", None])
def test_owner_and_group_by_name_and_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    given: list[tuple[int, int]] = []
    for name in ("chown", "fchown"):
        monkeypatch.setattr(os, name, lambda _what, uid, gid: given.append((uid, gid)))
    me = (os.geteuid(), os.getegid())
    by_number = {"owner": str(me[0]), "group": str(me[1])}
    for number, change in enumerate(({}, by_number, {"owner": "4321", "group": "8765"})):
        put_right(wanted(tmp_path / f"new{number}", content, **change))
    assert given == [me, me, (4321, 8765)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("content", ["text\n", None])
def test_a_wrong_owner_is_put_right(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "given"
    for uid, gid in ((12345, 0), (0, 12345)):
        put(wanted(path, content))
        os.chown(path, uid, gid)
        assert str(why_differs(wanted(path, content))).startswith("belongs to ")
        put(wanted(path, content))
    # Any group is right if none is configured.
    os.chown(path, os.geteuid(), 12345)
    assert why_differs(wanted(path, content, group=None)) is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        put_right(wanted(tmp_path / "file"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "before")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_as_expected_once_it_is_written(tmp_path: Path, content: str) -> None:
    expected = wanted(tmp_path / "file", content)
    put_right(expected)
    assert why_differs(expected) is None
    assert why_differs({**expected, "content": content + "x"}) == "has another text"


# --- what somebody else has put there --------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_what_is_planted_in_a_folder_of_logs_is_taken_away(tmp_path: Path) -> None:
    """Supervisor writes there as root: a link would lead it into any file, and a FIFO would stop it."""
    tmp_path.chmod(0o755)
    secret, logs = tmp_path / "secret", tmp_path / "logs"
    secret.write_text("root's")
    logs.mkdir()
    (logs / "tethys_asgi0.log").symlink_to(secret)
    os.mkfifo(logs / "tethys_asgi1.log")
    (logs / "tethys_asgi2.log").hardlink_to(secret)
    (logs / "tethys.log").touch()
    for name in ("tethys.log", "tethys_asgi0.log", "tethys_asgi1.log"):
        os.chown(logs / name, 65534, 65534, follow_symlinks=False)
    (logs / "current").symlink_to("tethys.log")
    (logs / "older").mkdir()
    expected = wanted(logs, None, mode="0750", owner="root", logs=True)
    os.chown(logs, 65534, 65534)
    put_right(expected)
    assert sorted(path.name for path in logs.iterdir()) == ["current", "older", "tethys.log"]
    assert why_differs(expected) is None
    assert secret.read_text() == "root's"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
@pytest.mark.parametrize(
    ("owner", "before", "kept"),
    [
        (0, 0o750, True),
        (0, 0o755, True),
        (0, 0o770, False),
        (0, 0o757, False),
        (0, 0o1700, False),  # a run was ended before it had removed all
        (65534, 0o750, False),
    ],
)
def test_a_second_name_is_kept_where_nobody_else_could_make_it(
    tmp_path: Path, owner: int, before: int, kept: bool
) -> None:
    """A backup by `cp -al /var/log` gives each log another name."""
    logs, backup = tmp_path / "logs", tmp_path / "backup"
    logs.mkdir()
    (logs / "tethys_asgi0.log").write_text("a line\n")
    backup.hardlink_to(logs / "tethys_asgi0.log")
    os.chown(logs, owner, 0)
    logs.chmod(before)
    expected = wanted(logs, None, mode="0750", owner="root", logs=True)
    why = why_differs(expected)
    assert why == (None if before == 0o750 else "has the mode 0755") if kept else why and "which is not a log" in why
    put_right(expected)
    assert why_differs(expected) is None
    assert (logs / "tethys_asgi0.log").exists() is kept
    assert backup.read_text() == "a line\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
def test_a_run_that_is_ended_while_it_removes_leaves_the_rest_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, logs = tmp_path / "secret", tmp_path / "logs"
    secret.write_text("root's")
    logs.mkdir()
    (logs / "tethys_asgi0.log").hardlink_to(secret)
    os.chown(logs, 65534, 65534)
    expected = wanted(logs, None, mode="0755", owner="root", logs=True)

    def interrupted(*_given: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "unlink", interrupted)
        put_right(expected)
    assert why_differs(expected) == "holds tethys_asgi0.log, which is not a log"
    put_right(expected)
    assert not list(logs.iterdir())
    assert mode(logs) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
@pytest.mark.parametrize("content", ["text\n", None])
def test_a_link_of_somebody_else_on_the_way_is_not_followed(tmp_path: Path, content: str | None) -> None:
    real, way = tmp_path / "real", tmp_path / "way"
    (real / "folder").mkdir(parents=True, mode=0o700)
    way.symlink_to(real)
    os.chown(way, 65534, 65534, follow_symlinks=False)
    for name in ("folder", "new/below"):
        with pytest.raises(OSError, match="is a symbolic link of user nobody"):
            put_right(wanted(way / name if content is None else way / "file", content, mode="0755"))
    assert [path.name for path in real.iterdir()] == ["folder"]
    assert mode(real / "folder") == 0o700


def test_a_folder_on_the_way_is_for_everybody(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        put_right(wanted(tmp_path / "way" / "folder", None, mode="0750"))
    finally:
        os.umask(mask)
    assert (mode(tmp_path / "way"), mode(tmp_path / "way" / "folder")) == (0o755, 0o750)


def test_variables_of_a_program_are_not_shown() -> None:
    text = (
        "[program:x]\nenvironment=\n    TETHYS_HOME=/h,A=\"s3cret,\n of two\",B='s3cret' ,C=s3cret\n\tD=s3cret\n"
        "command=x A=shown\n"
    )
    shown = expected_files.without_values(text)
    assert "TETHYS_HOME=/h" in shown
    assert "A=shown" in shown
    assert shown.count("********") == 4
    assert expected_files.without_values("environment=A=1\n") == "environment=A=1\n"


OURS = "; The role tethys.channels.asgi_service writes this file\n[fcgi-program:asgi]\n"


@pytest.mark.parametrize(
    "text",
    [
        '[program:asgi]\nenvironment: DB="s3cret"\n',
        '[program:asgi]\nEnvironment=A=1,\n DB="s3cret"\n',
        '[program:asgi]\n;environment=DB="s3cret"\n',
        "[program:asgi]\ncommand=env DB=s3cret daphne\n",
        "DB=s3cret\n",
    ],
)
def test_the_text_of_an_adopted_program_file_is_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "asgi.conf"
    path.write_text(text)
    _written, [shown] = expected_files.put_all_right([wanted(path, OURS)], dry=True)
    assert shown["before"] == f"# The text of {path} is not shown, since it may hold secrets.\n"
    assert shown["after"] == OURS


def test_the_text_of_our_own_program_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "asgi.conf"
    path.write_text(f"{OURS}numprocs=1\n")
    _written, [shown] = expected_files.put_all_right([wanted(path, OURS)], dry=True)
    assert shown["before"] == f"{OURS}numprocs=1\n"
    path.unlink()
    assert expected_files.put_all_right([wanted(path, OURS)], dry=True)[1][0]["before"] == ""

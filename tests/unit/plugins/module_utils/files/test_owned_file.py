# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root reads and writes files of other users, who plant links, FIFOs and other names meanwhile."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pwd
import re
import resource
import shlex
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files import owned_file as owned_file_module
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import Content, Refused, owned_file
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of several users")
OTHER = 65534
WEB = 33 if any(entry.pw_uid == 33 for entry in pwd.getpwall()) else OTHER
MOST = 100_000
TRIES = 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of root's, and a file there that only root can read."""
    tmp_path.chmod(0o755)
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    return tmp_path


@pytest.fixture
def home(root: Path) -> Path:
    """A folder of the portal's user, with a file of the same user."""
    folder = root / "home"
    folder.mkdir()
    give(folder)
    plant(folder / "file")
    return folder


def give(path: Path, uid: int = WEB) -> None:
    os.chown(path, uid, uid, follow_symlinks=False)


def plant(path: Path, text: str = "before", uid: int = WEB, mode: int = 0o640) -> None:
    path.write_text(text)
    give(path, uid)
    path.chmod(mode)


def rewrite(path: Path, raw: bytes = b"after") -> Content:
    """What a run does; the content that it read."""
    with owned_file(str(path), MOST) as file:
        before = file.read()
        file.create("backup~", before.raw, before)
        assert file.rewrite(raw, before)
    return before


def state(path: Path) -> tuple[int, int, int, bytes]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), path.read_bytes()


# --- who reads and who writes ----------------------------------------------------------------------------------------


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch, root: Path) -> Callable[[], set[int]]:
    """The users who created files."""
    log = root / "writers"
    log.touch()
    log.chmod(0o666)
    create = atomic_file.create

    def noted(*arguments: Any, **named: Any) -> None:
        with log.open("a") as file:
            file.write(f"{os.geteuid()}\n")
        create(*arguments, **named)

    monkeypatch.setattr(atomic_file, "create", noted)
    return lambda: set(map(int, log.read_text().split()))


def test_the_owner_of_file_and_folder_writes(home: Path, writer: Callable[[], set[int]]) -> None:
    assert rewrite(home / "file").raw == b"before"
    assert state(home / "file") == (WEB, WEB, 0o640, b"after")
    assert state(home / "backup~") == (WEB, WEB, 0o640, b"before")
    assert writer() == {WEB}


@pytest.mark.parametrize("uid", [0, OTHER])
def test_a_file_of_somebody_else_stays_one(home: Path, writer: Callable[[], set[int]], uid: int) -> None:
    os.chown(home / "file", uid, WEB)
    rewrite(home / "file")
    assert state(home / "file") == (uid, WEB, 0o640, b"after")
    assert state(home / "backup~") == (uid, WEB, 0o640, b"before")
    assert writer() == {0}


def test_a_group_that_the_owner_is_not_in_stays(home: Path, writer: Callable[[], set[int]]) -> None:
    os.chown(home / "file", WEB, 4)
    rewrite(home / "file")
    assert state(home / "file") == (WEB, 4, 0o640, b"after")
    assert writer() == {0}


def test_in_a_folder_of_roots_root_does(root: Path, writer: Callable[[], set[int]]) -> None:
    rewrite(root / "secret")
    assert state(root / "secret") == (0, 0, 0o600, b"after")
    plant(root / "theirs")
    (root / "backup~").unlink()
    rewrite(root / "theirs")
    assert state(root / "theirs") == (WEB, WEB, 0o640, b"after")
    assert writer() == {0}


def test_what_the_owner_of_the_folder_cannot_read_is_not_read(home: Path) -> None:
    os.chown(home / "file", 0, 0)
    with pytest.raises(PermissionError), owned_file(str(home / "file"), MOST) as file:
        file.read()


def test_another_user_who_has_to_be_able_reads_it(home: Path, writer: Callable[[], set[int]]) -> None:
    """As the portal's user reads a file in the folder of an administrator."""
    give(home, OTHER)
    os.chown(home / "file", 0, WEB)
    with owned_file(str(home / "file"), MOST, accounts.account_of(WEB)) as file:
        before = file.read()
        assert file.rewrite(b"after", before)
    assert state(home / "file") == (0, WEB, 0o640, b"after")
    assert writer() == {0}


def open_folder(root: Path, mode: int) -> Path:
    """A file in a folder of root's in which others can write."""
    folder = root / "open"
    folder.mkdir()
    os.chown(folder, 0, WEB)
    folder.chmod(mode)
    plant(folder / "file", uid=0)
    return folder / "file"


def refused(path: Path, reader: accounts.Account | None) -> str:
    with pytest.raises(Refused) as caught, owned_file(str(path), MOST, reader):
        pass
    return str(caught.value)


@pytest.mark.parametrize(("mode", "who"), [(0o775, "group"), (0o757, "every user can write")])
def test_a_folder_of_roots_that_others_can_write_is_refused(root: Path, mode: int, who: str) -> None:
    file, user = open_folder(root, mode), accounts.account_of(WEB)
    message = refused(file, user)
    assert f"open belongs to root, and {who}" in message
    commands = re.findall("`(.*?)`", message)
    assert commands[0] == f"chown -h {user.name} {file.parent}"
    assert "go-w" not in message
    for command in commands:
        subprocess.run(shlex.split(command), check=True)
    # That user, who may need it for SQLite, can write there, and the file is used.
    assert file.parent.stat().st_mode & 0o202 == 0o200
    file.chmod(0o644)
    with owned_file(str(file), MOST, user) as opened:
        assert opened.read().raw == b"before"


def test_no_command_gives_a_folder_away_that_was_not_asked_for(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal's user makes the file a link into a folder such as /var/spool/cron/crontabs."""
    file, user = open_folder(root, 0o775), accounts.account_of(WEB)
    (home / "link").symlink_to(file)
    assert f"{file.parent} belongs to root" in refused(home / "link", user)
    assert "`" not in refused(home / "link", user)
    for reader in (None, accounts.account_of(0)):
        assert refused(file, reader).endswith("give that folder to the portal's user, or take that right away")
    monkeypatch.setattr(owned_file_module, "is_of_the_system", lambda _path: True)
    assert refused(file, user).endswith(": take that right away")


# --- copies ----------------------------------------------------------------------------------------------------------


def test_rights_are_not_copied(root: Path, home: Path) -> None:
    for path in (root / "secret", home / "file"):
        path.chmod(0o6755)
        with contextlib.suppress(OSError):
            os.setxattr(path, "trusted.mine", b"1")
        os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0))
        rewrite(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert not {"trusted.mine", "security.capability"} & set(os.listxattr(path))
        (path.parent / "backup~").unlink()


def test_an_access_control_list_and_attributes_of_the_user_are_copied(home: Path) -> None:
    none = 0xFFFFFFFF
    entries = [(1, 6, none), (2, 4, OTHER), (4, 4, none), (16, 4, none), (32, 0, none)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(home / "file", "system.posix_acl_access", acl)
        os.setxattr(home / "file", "user.mine", b"1")
    except OSError as error:
        pytest.skip(f"the file system has none: {error.strerror}")
    rewrite(home / "file")
    assert os.getxattr(home / "file", "system.posix_acl_access") == acl
    assert os.getxattr(home / "file", "user.mine") == b"1"
    assert stat.S_IMODE((home / "file").stat().st_mode) == 0o640


# --- what is planted -------------------------------------------------------------------------------------------------


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one, contextlib.chdir(path.parent):
        one.bind(path.name)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 200 * 1024**3)


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (os.mkfifo, errno.EINVAL),
        (a_socket, errno.EINVAL),
        (device, errno.EINVAL),
        (os.mkdir, errno.EINVAL),
        (sparse, errno.EFBIG),
    ],
)
@pytest.mark.parametrize("whose", ["home", "root"])
def test_what_is_no_file_ends_at_once(
    request: pytest.FixtureRequest, make: Callable[[Path], None], error: int, whose: str
) -> None:
    path = request.getfixturevalue(whose) / "planted"
    make(path)
    if whose == "home":
        give(path)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with pytest.raises(OSError) as caught, owned_file(str(path), MOST) as file:
        file.read()
    assert (caught.value.errno, caught.value.filename) == (error, str(path))
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 * 1024


def test_a_hard_link_to_a_file_of_roots_is_refused(root: Path, home: Path) -> None:
    (root / "secret").chmod(0o644)
    (home / "planted").hardlink_to(root / "secret")
    with pytest.raises(Refused, match="hard link"), owned_file(str(home / "planted"), MOST) as file:
        file.read()


def test_a_link_of_theirs_to_a_file_of_roots_is_not_followed(root: Path, home: Path) -> None:
    """Not even to one that they can read, and through a folder either."""
    (root / "secret").chmod(0o644)
    (home / "planted").symlink_to(root / "secret")
    (home / "folder").symlink_to(root)
    for link in ("planted", "folder"):
        give(home / link)
    for path in (home / "planted", home / "folder" / "secret"):
        with pytest.raises(Refused, match="symbolic link of user"), owned_file(str(path), MOST) as file:
            file.read()
    assert state(root / "secret")[3] == b"root's"


def test_a_link_of_theirs_to_a_file_of_theirs_is_followed(root: Path, home: Path) -> None:
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    give(elsewhere)
    plant(elsewhere / "real")
    (home / "link").symlink_to("../elsewhere/real")
    give(home / "link")
    rewrite(home / "link")
    assert state(elsewhere / "real") == (WEB, WEB, 0o640, b"after")
    assert (home / "link").is_symlink()
    os.chown(elsewhere / "real", 0, WEB)
    (elsewhere / "backup~").unlink()
    with pytest.raises(Refused, match="all three have to be the same"):
        rewrite(home / "link")


def test_a_link_of_roots_is_followed(root: Path, home: Path) -> None:
    for target in (root / "secret", home / "file"):
        link = root / f"to {target.name}"
        link.symlink_to(target)
        rewrite(link)
        assert target.read_text() == "after"
        assert link.is_symlink()


def test_a_file_that_is_another_one_now_is_left_alone(home: Path) -> None:
    with owned_file(str(home / "file"), MOST) as file:
        before = file.read()
        plant(home / "file", "theirs")
        assert not file.rewrite(b"after", before)
    assert state(home / "file")[3] == b"theirs"
    assert [path.name for path in home.iterdir()] == ["file"]


# --- while they go on trying -----------------------------------------------------------------------------------------


def swap(folder: str, name: str, plants: list[str], stop: Any) -> None:
    """As the portal's user, put one thing after the other in the place of a file, as fast as possible."""
    os.setgroups([])
    os.setresgid(WEB, WEB, WEB)
    os.setresuid(WEB, WEB, WEB)
    os.chdir(folder)
    number = 0
    while not stop.is_set():
        plant = plants[number % len(plants)]
        number += 1
        with contextlib.suppress(OSError):
            if plant == "fifo":
                os.mkfifo("next")
            elif plant == "file":
                with Path("next").open("w") as file:
                    file.write("chosen")
                    os.fchmod(file.fileno(), 0o4755)
            elif plant.startswith("hard:"):
                os.link(plant[5:], "next")
            else:
                Path("next").symlink_to(plant)
            Path("next").rename(name)
        with contextlib.suppress(OSError):
            # In the place of what the writer is about to make, too.
            made = Path(f".{name}.{os.getppid()}.tethys_channels")
            made.symlink_to("/nowhere") if number % 2 else made.unlink()
        time.sleep(0.001 * (number % 7))


@pytest.fixture
def swapping() -> Iterator[Callable[[Path, list[str]], Callable[[], None]]]:
    """Begin to swap a name for these plants; what that returns ends it."""
    context = multiprocessing.get_context("fork")
    stop, started = context.Event(), []

    def end() -> None:
        stop.set()
        for process in started:
            process.join(10)
            process.kill()

    def begin(path: Path, plants: list[str]) -> Callable[[], None]:
        process = context.Process(target=swap, args=(str(path.parent), path.name, plants, stop), daemon=True)
        process.start()
        started.append(process)
        return end

    yield begin
    end()


def test_no_foreign_file_changes_while_names_are_swapped(
    root: Path, home: Path, swapping: Callable[[Path, list[str]], Callable[[], None]]
) -> None:
    (root / "secret").chmod(0o644)
    (root / "other").mkdir()
    before = {path: (state(path), path.stat().st_ino) for path in (root / "secret",)}
    end = swapping(home / "file", ["file", str(root / "secret"), "fifo", f"hard:{root / 'secret'}", "file"])
    done = 0
    for _each in range(TRIES):
        with contextlib.suppress(OSError, Refused), owned_file(str(home / "file"), MOST) as file:
            file.clear()
            found = file.read()
            assert (found.raw, found.uid) in ((b"chosen", WEB), (b"", WEB), (b"after", WEB), (b"before", WEB))
            done += file.rewrite(b"after", found)
    end()
    assert done
    assert {path: (state(path), path.stat().st_ino) for path in before} == before
    assert [path for path in root.iterdir() if path.name not in ("secret", "home", "other")] == []
    for path in home.iterdir():
        found_status = path.lstat()
        assert found_status.st_uid == WEB or path.samefile(root / "secret")
        if stat.S_ISREG(found_status.st_mode) and path.read_bytes() == b"after":
            assert not found_status.st_mode & 0o7000


def test_the_folder_is_swapped(root: Path, swapping: Callable[[Path, list[str]], Callable[[], None]]) -> None:
    """One on the way, for links to a folder of root's that has a file of the same name."""
    yard, roots = root / "yard", root / "roots"
    for folder in (yard, yard / "real", roots):
        folder.mkdir()
    for folder in (yard, yard / "real"):
        give(folder)
    plant(yard / "real" / "file")
    plant(roots / "file", "root's", uid=0, mode=0o644)
    swapping(yard / "way", ["real", str(roots), "fifo", "real"])
    for _each in range(TRIES):
        with contextlib.suppress(OSError, Refused), owned_file(str(yard / "way" / "file"), MOST) as file:
            found = file.read()
            file.rewrite(b"after", found)
    assert state(roots / "file") == (0, 0, 0o644, b"root's")
    assert [path.name for path in roots.iterdir()] == ["file"]

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who besides root can change a file: its owner and writers, and those of every folder and link on the way to it."""

from __future__ import annotations

import grp
import os
import posixpath
import pwd
import stat
import struct
from pathlib import Path
from typing import Iterator, NamedTuple, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

# As many links as Linux follows in one path.
MOST_LINKS = 40
# Folders that programs of the whole system share, besides those directly below the root and below /usr.
SHARED_FOLDERS = (
    "/dev/shm",  # noqa: S108
    "/etc/ssl",
    "/etc/systemd",
    "/etc/systemd/system",
    "/lib/systemd",
    "/lib/systemd/system",
    "/run/lock",
    "/run/user",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/local/share",
    "/var/cache",
    "/var/lib",
    "/var/lock",
    "/var/log",
    "/var/mail",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/tmp",  # noqa: S108
)
# Everything below these is the system's own. This decides which fix a message gives, and never skips a check.
SYSTEM_TREES = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/sbin", "/sys", "/usr")
# Ubuntu gives the folder of the logs to the group of its log daemon.
OF_THE_DISTRIBUTION = {("/var/log", "syslog")}
# The fields of an access control list, as the kernel has it in system.posix_acl_access.
_ACL_USER, _ACL_OWNING_GROUP, _ACL_GROUP = 0x02, 0x04, 0x08
_WRITE = 2
LOCAL_GROUPS = "/etc/group"
# Who is in a group whose members this server does not list.
UNLISTED = "users that /etc/group does not list"


class Writer(TypedDict):
    """A right of somebody besides root to change what a path leads to."""

    # The file or folder on the way that the right is for.
    path: str
    # owner, group, everybody, acl_user or acl_group.
    how: str
    # The owner or group, or the user or group of the access control list; empty for everybody.
    name: str
    # The users who have the right; empty for everybody.
    who: list[str]
    # The last link before it on the way; empty without one.
    link: str
    # The command that removes the right; empty if a person has to decide.
    fix: str


class _Part(NamedTuple):
    """A part of a path, without links before it."""

    path: str
    status: os.stat_result
    link: str
    # The owner of what follows in it on the way, or None at the end of the way.
    next_owner: int | None


def is_shared(path: str) -> bool:
    """Return whether a folder is one that the whole system shares, such as /etc or /var/log."""
    folder = posixpath.normpath(path)
    folder = "/" + folder.lstrip("/")
    parts = [part for part in folder.split("/") if part]
    return len(parts) < 2 or (parts[0] == "usr" and len(parts) == 2) or folder in SHARED_FOLDERS


def is_of_the_system(path: str) -> bool:
    """Return whether a file or folder is the system's own: a folder that all share, or anything in a tree like /etc."""
    folder = "/" + posixpath.normpath(path).lstrip("/")
    return is_shared(folder) or any(folder.startswith(f"{tree}/") for tree in SYSTEM_TREES)


def writable_by_others(path: str) -> list[Writer]:
    """Return every right of somebody besides root to change what an absolute path leads to, in the order of the way.

    A part that does not exist ends the way: whoever can write its folder can make it.
    """
    found: list[Writer] = []
    for part in _way(path):
        for writer in _writers(part):
            if writer not in found:
                found.append(writer)
    return found


def _way(path: str) -> Iterator[_Part]:
    """Every folder, link and file on the way, from the root on, each by a path that has no links before its end."""
    left = [part for part in path.split("/") if part][::-1]
    current, link, links = "/", "", 0
    status = os.lstat(current)
    while True:
        while left and left[-1] == ".":
            left.pop()
        if left and left[-1] == "..":
            left.pop()
            current = posixpath.dirname(current)
            status = os.lstat(current)
            continue
        follows = _status(posixpath.join(current, left[-1])) if left and stat.S_ISDIR(status.st_mode) else None
        yield _Part(current, status, link, follows.st_uid if follows else None)
        if follows is None:
            return
        place = posixpath.join(current, left.pop())
        if not stat.S_ISLNK(follows.st_mode):
            current, status = place, follows
            continue
        links += 1
        if links > MOST_LINKS:
            return
        if status.st_mode & stat.S_ISVTX:
            # Elsewhere only the rights for its folder matter.
            yield _Part(place, follows, link, None)
        target = os.readlink(place)
        link = link if _is_of_the_layout(place) else place
        left += [part for part in target.split("/") if part][::-1]
        if target.startswith("/"):
            current = "/"
            status = os.lstat(current)


def _is_of_the_layout(link: str) -> bool:
    """Return whether a link is one of the system's layout, such as /bin and /var/run."""
    return posixpath.dirname(link) in ("/", "/var", "/usr")


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _writers(part: _Part) -> Iterator[Writer]:
    """The rights for one part."""
    status = part.status
    owner = user_name(status.st_uid)
    if status.st_uid != 0:
        yield _writer(part, "owner", owner, [owner])
    if stat.S_ISLNK(status.st_mode) or stat.S_ISCHR(status.st_mode):
        return
    # In a sticky folder nobody but its owner, the entry's owner and root can exchange an entry.
    if status.st_mode & stat.S_ISVTX and part.next_owner is not None:
        return
    if status.st_mode & stat.S_IWOTH:
        yield _writer(part, "everybody", "", [])
    if not status.st_mode & stat.S_IWGRP:
        return
    # With a list, the group's bits of the mode are the list's mask.
    rights = _acl(part.path) or [(_ACL_OWNING_GROUP, _WRITE, 0)]
    for tag, permissions, number in rights:
        if not permissions & _WRITE:
            continue
        if tag == _ACL_USER and number != 0:
            yield _writer(part, "acl_user", user_name(number), [user_name(number)])
        elif tag in (_ACL_OWNING_GROUP, _ACL_GROUP):
            gid = status.st_gid if tag == _ACL_OWNING_GROUP else number
            name, members = group_name(gid), members_of(gid)
            if set(members) - {owner} and (part.path, name) not in OF_THE_DISTRIBUTION:
                yield _writer(part, "group" if tag == _ACL_OWNING_GROUP else "acl_group", name, members)


def _writer(part: _Part, how: str, name: str, who: list[str]) -> Writer:
    return {"path": part.path, "how": how, "name": name, "who": who, "link": part.link, "fix": _fix(part, how, name)}


def _fix(part: _Part, how: str, name: str) -> str:
    """The command that takes a right away.

    A link into another user's folder is replaced with a copy that root owns. A folder of the whole system is never
    named, and neither is a home folder, which stays its user's.
    """
    path = part.path
    if part.link:
        target = os.path.realpath(part.link)
        status = _status(target)
        is_file = status is not None and stat.S_ISREG(status.st_mode)
        return shell_words("cp", "--remove-destination", target, part.link) if is_file else ""
    if is_shared(path) or any(entry.pw_dir == path for entry in pwd.getpwall() if entry.pw_uid != 0):
        return ""
    return {
        "owner": shell_words("chown", "-h", "root", path),
        "group": shell_words("chmod", "g-w", path),
        "everybody": shell_words("chmod", "o-w", path),
        "acl_user": shell_words("setfacl", "-x", f"u:{name}", path),
        "acl_group": shell_words("setfacl", "-x", f"g:{name}", path),
    }[how]


def _acl(path: str) -> list[tuple[int, int, int]]:
    """The entries of an access control list as (tag, permissions, user or group id); none without a list."""
    try:
        raw = os.getxattr(path, "system.posix_acl_access", follow_symlinks=False)
    except OSError:
        return []
    if len(raw) < 4 or (len(raw) - 4) % 8:
        return []
    return [(int(tag), int(perm), int(number)) for tag, perm, number in struct.iter_unpack("<HHI", raw[4:])]


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or the number of one without a name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def members_of(gid: int) -> list[str]:
    """Return the users besides root who are in a group, as their own group or as a further one."""
    try:
        further = grp.getgrgid(gid).gr_mem
    except KeyError:
        further = []
    own = [entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid and entry.pw_uid != 0]
    if gid == 0:
        # Red Hat's accounts sync, shutdown, halt and operator are in root's own group, and run nothing.
        own = []
    found = sorted({*own, *further} - {"root"})
    return found if found or gid == 0 or gid in _local_groups() else [UNLISTED]


def _local_groups() -> set[int]:
    """Return the groups of this server. A directory (SSSD, LDAP) need not list its users."""
    try:
        lines = Path(LOCAL_GROUPS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {int(row[2]) for row in (line.split(":") for line in lines) if len(row) > 2 and row[2].isdigit()}


# --- in words ---------------------------------------------------------------------------------------------------------


def who_can(writer: Writer) -> str:
    """Return who has a right, as the subject of a sentence."""
    if writer["how"] == "everybody":
        return "every user"
    if writer["how"] == "owner":
        return f"its owner {writer['name']}"
    names = ", ".join(writer["who"])
    group = {"group": "its group", "acl_group": "by its ACL the group"}.get(writer["how"])
    return f"{group} {writer['name']} ({names})" if group else f"by its ACL {writer['name']}"

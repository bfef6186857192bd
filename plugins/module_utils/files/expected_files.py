# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders in their expected state: why one differs, what a run would change, and the repair."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import re
import stat
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.folder import opened
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import Refused, owned_file
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import OUR_HEADER
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import group_name, user_name

OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str"},
    "mode": {"type": "str", "required": True},
    "logs": {"type": "bool", "default": False},
}


MOST_SHOWN = 1024 * 1024


class NotPut(Exception):
    """Why a file or folder cannot be put right, in one sentence for the administrator."""


def why_differs(expected: dict[str, Any]) -> str | None:
    """Return why a file, or a folder where no content is expected, is not as expected; or None."""
    problem = how_differs(expected)
    return problem.text if problem else None


def how_differs(expected: dict[str, Any]) -> Problem | None:
    """Return the same with a code."""
    content, path = expected["content"], expected["path"]
    another_text = Problem("text-differs", path, "has another text")
    try:
        if content is not None:
            with opened(expected["path"]) as place:
                if stat.S_ISLNK(os.stat(place.name, dir_fd=place.folder, follow_symlinks=False).st_mode):
                    return Problem("file-is-link", path, "is a link")
                descriptor, raw = atomic_file.read_regular(place, max(len(content.encode()), 65536))
                with _closing(descriptor):
                    return another_text if raw != content.encode() else _attributes_differ(expected, descriptor)
        with _folder(expected["path"]) as descriptor:
            planted = _planted(descriptor, _was_open(expected, descriptor)) if expected.get("logs") else []
            if planted:
                return Problem("not-a-log", path, f"holds {planted[0]}, which is not a log")
            return _attributes_differ(expected, descriptor)
    except FileNotFoundError:
        return Problem("file-missing", path, "does not exist")
    except OSError as error:
        known = {errno.EINVAL: Problem("not-a-file", path, "is no file"), errno.EFBIG: another_text}
        if content is None:
            known = {errno.ENOTDIR: Problem("not-a-folder", path, "is not a folder")}
        unread = Problem("file-unreadable", path, f"cannot be read ({error.strerror})")
        return known.get(error.errno or 0, unread)


def _attributes_differ(expected: dict[str, Any], descriptor: int) -> Problem | None:
    found = os.fstat(descriptor)
    user, group = user_name(found.st_uid), group_name(found.st_gid)
    if expected["owner"] not in (user, str(found.st_uid)) or expected["group"] not in (None, group, str(found.st_gid)):
        return Problem("owner-differs", expected["path"], f"belongs to {user}:{group}")
    mode = stat.S_IMODE(found.st_mode)
    if mode == int(expected["mode"], 8):
        return None
    return Problem("mode-differs", expected["path"], f"has the mode {mode:04o}")


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _folder(path: str) -> Iterator[int]:
    """Open a folder. A link to it is followed if it is root's."""
    with opened(path, follow=True) as place:
        atomic_file.refuse_foreign_link(place)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(place.name, flags, dir_fd=place.folder)
        except OSError as error:
            raise place.named(error) from None
        with _closing(descriptor):
            yield descriptor


def _was_open(expected: dict[str, Any], folder: int) -> bool:
    """Return whether somebody besides its expected owner could write in a folder before it is put right."""
    found = os.fstat(folder)
    owners = (user_name(found.st_uid), str(found.st_uid))
    return expected["owner"] not in owners or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISVTX))


def _planted(folder: int, was_open: bool) -> list[str]:
    """Return what somebody else put into a folder of logs, through which root would write elsewhere, or wait."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                continue
            # The owner of a file with a second name says nothing about who made that. Where nobody else could, it is
            # root's own, such as a backup's.
            if (was_open and status.st_nlink > 1) or (status.st_uid != 0 and not stat.S_ISREG(status.st_mode)):
                found.append(entry.name)
    return sorted(found)


def _make_folder(path: Path) -> None:
    """Make a folder, and those on the way that do not exist."""
    try:
        with opened(str(path), follow=True) as place, contextlib.suppress(FileExistsError):
            atomic_file.refuse_foreign_link(place)
            os.mkdir(place.name, 0o755, dir_fd=place.folder)
    except FileNotFoundError:
        _make_folder(path.parent)
        _make_folder(path)


def put_right(expected: dict[str, Any]) -> None:
    """Make it so. A link in a file's place is replaced, and its target is not changed.

    Raises:
        KeyError: the owner or group is not known.
        OSError: it cannot be made, or a link that is not root's leads there.
    """
    path, content, mode = expected["path"], expected["content"], int(expected["mode"], 8)
    owner, group = expected["owner"], expected["group"]
    uid = int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    gid = -1 if group is None else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    if content is not None:
        atomic_file.remove_leftovers(path)
        atomic_file.replace(path, content.encode(), mode=mode, uid=uid, gid=gid)
        return
    # The folders on the way are for everybody, also where this process's new files are for nobody else.
    mask = os.umask(0o022)
    try:
        _make_folder(Path(path))
    finally:
        os.umask(mask)
    with _folder(path) as descriptor:
        if expected.get("logs"):
            was_open = _was_open(expected, descriptor)
            # The sticky bit stays if this is ended before all is removed, so that the next run removes the rest.
            os.fchmod(descriptor, stat.S_ISVTX | stat.S_IRWXU)
            os.fchown(descriptor, uid, gid)
            # Once more, since the owner could change it. Nobody else can add to it after that.
            os.fchmod(descriptor, stat.S_ISVTX | stat.S_IRWXU)
            for name in _planted(descriptor, was_open):
                os.unlink(name, dir_fd=descriptor)
        else:
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)


_PROGRAM = re.compile(r"^\[(?:fcgi-)?program:", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^environment\s*=.*(?:\n[ \t]+.*)*", re.MULTILINE)
_VARIABLE = re.compile(r"([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^,\s]*)")
# Variables of a program that are no secrets.
_SHOWN = ("TETHYS_HOME", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PATH", "USER", "LANG", "PYTHONUNBUFFERED")


def without_values(text: str) -> str:
    """Return the text of a program file of Supervisor's with its variables masked, as they may be secret."""
    if not _PROGRAM.search(text):
        return text

    def masked(found: re.Match[str]) -> str:
        return found.group() if found.group(1) in _SHOWN else f'{found.group(1)}="********"'

    def environment(found: re.Match[str]) -> str:
        name, equals, values = found.group().partition("=")
        return name + equals + _VARIABLE.sub(masked, values)

    return _ENVIRONMENT.sub(environment, text)


def shown_before(path: str, before: str, after: str) -> str:
    """Return the text of a file that is replaced, as it may be shown.

    Of a program file that the collection has not written, nothing is: comments and commands may hold secrets, too.
    """
    is_program = _PROGRAM.search(before) or _PROGRAM.search(after)
    if is_program and before and OUR_HEADER not in before:
        return f"# The text of {path} is not shown, since it may hold secrets.\n"
    return without_values(before)


def difference(expected: dict[str, Any], problem: Problem) -> dict[str, str]:
    """The change of one of them, as Ansible shows it."""
    path, content = Path(expected["path"]), expected["content"]
    # Values that may be secret.
    if content is None or expected.get("hidden") or problem.code in ("owner-differs", "mode-differs"):
        return {"prepared": f"{path} {problem.text}\n"}
    try:
        # What a link leads to, too: the manual's leads to a file of the portal's user.
        with owned_file(str(path), MOST_SHOWN) as file:
            before = shown_before(str(path), file.read().raw.decode("utf-8", "replace"), content)
    except (OSError, Refused):
        before = ""
    return {"before": before, "after": content, "before_header": str(path), "after_header": str(path)}


def put_all_right(files: list[dict[str, Any]], dry: bool) -> tuple[list[str], list[dict[str, str]]]:
    """Make each of them so, in that order; the paths that were not as expected, and their changes.

    Where it is `dry`, they are reported and not made. NotPut where one cannot be.
    """
    written, diff = [], []
    for expected in files:
        path = expected["path"]
        if not re.fullmatch("[0-7]{3,4}", expected["mode"]):
            raise NotPut(f"{path} has the mode {expected['mode']}: write octal digits, as 0644.")
        problem = how_differs(expected)
        if problem is None:
            continue
        diff.append(difference(expected, problem))
        written.append(path)
        if dry:
            continue
        try:
            put_right(expected)
        except KeyError as error:
            raise NotPut(f"{path} cannot be written: its owner or group is unknown ({error.args[0]}).") from error
        except OSError as error:
            raise NotPut(f"{path} cannot be written: {error.strerror}. Correct that and run again.") from error
    return written, diff

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders as they are expected to be: why one is not, what that changes, and putting it right."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from pathlib import Path
from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file

OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str"},
    "mode": {"type": "str", "required": True},
}


class NotPut(Exception):
    """Why a file or folder cannot be put right, in one sentence for the administrator."""


def name_of(lookup: Callable[[int], Any], number: int) -> str:
    """The user or group that has a number, or the number where none has it."""
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def why_differs(expected: dict[str, Any]) -> str | None:
    """Why a file, or a folder where no content is expected, is not as expected; or None."""
    path, content = Path(expected["path"]), expected["content"]
    if content is not None and path.is_symlink():
        return "is a link"
    try:
        found = path.stat()
        if not (stat.S_ISDIR if content is None else stat.S_ISREG)(found.st_mode):
            return "is no folder" if content is None else "is no file"
        if content is not None and path.read_bytes() != content.encode():
            return "has another text"
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    user, group = name_of(pwd.getpwuid, found.st_uid), name_of(grp.getgrgid, found.st_gid)
    if expected["owner"] not in (user, str(found.st_uid)) or expected["group"] not in (None, group, str(found.st_gid)):
        return f"belongs to {user}:{group}"
    mode = stat.S_IMODE(found.st_mode)
    return None if mode == int(expected["mode"], 8) else f"has the mode {mode:04o}"


def put_right(expected: dict[str, Any]) -> None:
    """Make it so. A link in a file's place is replaced, and what it leads to stays as it is.

    KeyError where the owner or group is not known; OSError.
    """
    path, content, mode = expected["path"], expected["content"], int(expected["mode"], 8)
    owner, group = expected["owner"], expected["group"]
    uid = int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    gid = -1 if group is None else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    if content is None:
        Path(path).mkdir(parents=True, exist_ok=True)
        os.chown(path, uid, gid)
        Path(path).chmod(mode)
        return
    atomic_file.remove_leftovers(path)
    atomic_file.replace(path, content.encode(), mode=mode, uid=uid, gid=gid)


def difference(expected: dict[str, Any], why: str) -> dict[str, str]:
    """The change of one of them, as Ansible shows it."""
    path, content = Path(expected["path"]), expected["content"]
    if content is None or why.startswith(("belongs", "has the mode")):
        return {"prepared": f"{path} {why}\n"}
    try:
        before = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        before = ""
    return {"before": before, "after": content, "before_header": str(path), "after_header": str(path)}


def put_all_right(files: list[dict[str, Any]], dry: bool) -> tuple[list[str], list[dict[str, str]]]:
    """Make each of them so, in that order; the paths that were not as expected, and their changes.

    Where it is `dry`, they are told and not made. NotPut where one cannot be.
    """
    written, diff = [], []
    for expected in files:
        path = expected["path"]
        if not re.fullmatch("[0-7]{3,4}", expected["mode"]):
            raise NotPut(f"{path} has the mode {expected['mode']}: write octal digits, as 0644.")
        why = why_differs(expected)
        if why is None:
            continue
        diff.append(difference(expected, why))
        written.append(path)
        if dry:
            continue
        try:
            put_right(expected)
        except KeyError as error:
            raise NotPut(f"{path} cannot be written: its owner or group is unknown ({error.args[0]}).") from error
        except OSError as error:
            raise NotPut(f"{path} cannot be written: {error.strerror}. Mend that and run again.") from error
    return written, diff

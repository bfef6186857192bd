# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written whole or not at all, with their owner and mode from the first moment."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any


def write_new(
    path: str,
    raw: bytes,
    like: str | None = None,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
) -> None:
    """Write a file that is not there yet.

    All by descriptor: the folder may belong to another user, who could put a link in the way of a second look by name.

    Args:
        like: a file whose owner, group, mode and other attributes it gets; else it is for this user alone.
        mode: another mode than that.
        uid: another owner than that, with the group of the same number.
        gid: another group than that.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            if like is not None:
                copy_attributes(like, file.fileno())
            if uid is not None:
                os.fchown(file.fileno(), uid, uid if gid is None else gid)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except BaseException:
        unlink(path)
        raise


def copy_attributes(source: str, descriptor: int) -> None:
    """Owner, group and mode, and as far as the file system has them access control lists and security context."""
    status = Path(source).stat()
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError, AttributeError):
        for name in os.listxattr(source):
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(source, name))


def unlink(path: str) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()


def sync_folder(path: str) -> None:
    """Have the name of a file survive a loss of power, too."""
    descriptor = os.open(str(Path(path).parent), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary(path: str) -> str:
    """A name beside `path` that a later run knows as ours, and that no pattern matches (a `*` takes no leading dot)."""
    return str(Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tethys_channels"))


def remove_leftovers(path: str) -> None:
    """Delete what a run that was killed while writing `path` left beside it; it may hold secrets."""
    ours = re.compile(re.escape(f".{Path(path).name}.") + r"(\d+)\.tethys_channels")
    with contextlib.suppress(OSError):
        for entry in Path(path).parent.iterdir():
            match = ours.fullmatch(entry.name)
            # Of a run with our own number, too: this one has not written anything yet.
            if match and (match.group(1) == str(os.getpid()) or not Path("/proc", match.group(1)).exists()):
                entry.unlink()


def replace(
    path: str,
    raw: bytes,
    like: str | None = None,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
) -> None:
    """Write a file in one step, as `write_new` does."""
    new = temporary(path)
    write_new(new, raw, like, mode, uid, gid)
    try:
        Path(new).replace(path)
    except BaseException:
        unlink(new)
        raise
    sync_folder(path)


def read_notes(path: Path) -> dict[str, Any]:
    """The mapping that an earlier run wrote down as JSON, or nothing."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are written whole or not at all, with their owner and mode from the first moment.

All by the descriptor of their folder: a folder may belong to another user, who can put a link in the place of any name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Iterator, Mapping

from ansible_collections.tethys.channels.plugins.module_utils.files.folder import Place, opened
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import user_name

# Root's own notes; the largest is the copy of nginx's site.
MOST_BYTES = 32 * 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO without a writer would be waited for, and a terminal would become this process's.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def write_new(path: str, raw: bytes, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> None:
    """Write a file that does not exist yet.

    Args:
        mode: its mode; without it, the file is for this user alone.
        uid: its owner; without it, this user.
        gid: its group; without it, the group with the owner's number.
    """
    with _own(path) as place:
        create(place, place.name, raw, mode, uid, uid if gid is None else gid)


def replace(path: str, raw: bytes, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> None:
    """Write a file in one step, as `write_new` does, whether it exists or not. A link with its name is replaced."""
    with _own(path) as place:
        new = temporary_name(place.name)
        create(place, new, raw, mode, uid, uid if gid is None else gid)
        rename(place, new)


@contextlib.contextmanager
def _own(path: str) -> Iterator[Place]:
    """Open the folder of a file of root's, which no link of somebody else leads to."""
    with opened(path) as place:
        refuse_foreign_link(place)
        yield place


def refuse_foreign_link(place: Place) -> None:
    """Raise OSError if a link of somebody else leads root to a place."""
    foreign = place.foreign_link()
    if foreign and os.geteuid() == 0:
        raise OSError(errno.ELOOP, f"{foreign.path} is a symbolic link of user {user_name(foreign.uid)}", foreign.path)


def create(
    place: Place,
    name: str,
    raw: bytes,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
    attributes: Mapping[str, bytes] | None = None,
) -> None:
    """Write a file that does not exist yet into an open folder; nothing is left where that fails.

    Args:
        attributes: extended attributes, as far as the file system takes them.
    """
    try:
        descriptor = os.open(name, _NEW, 0o600, dir_fd=place.folder)
    except OSError as error:
        raise place.named(error, name) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            if uid is not None:
                os.fchown(descriptor, uid, -1 if gid is None else gid)
            for attribute, value in (attributes or {}).items():
                with contextlib.suppress(OSError):
                    os.setxattr(descriptor, attribute, value)
            os.fchmod(descriptor, 0o600 if mode is None else mode)
            os.fsync(descriptor)
    except BaseException as error:
        delete(place, name)
        if isinstance(error, OSError):
            raise place.named(error, name) from None
        raise


def rename(place: Place, new: str) -> None:
    """Put a new file of an open folder in the file's place, so that it survives a loss of power."""
    try:
        os.rename(new, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
    except BaseException as error:
        delete(place, new)
        if isinstance(error, OSError):
            raise place.named(error) from None
        raise
    with contextlib.suppress(OSError):  # some network file systems cannot
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete(place: Place, name: str) -> None:
    """Delete a file of an open folder that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=place.folder)


def unlink(path: str) -> None:
    """Delete a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()


def temporary_name(name: str) -> str:
    """Return a name that a later run takes for ours, and that no pattern matches (a `*` takes no leading dot)."""
    return f".{name}.{os.getpid()}.tethys_channels"


def temporary(path: str) -> str:
    """Return such a name beside a path."""
    return str(Path(path).with_name(temporary_name(Path(path).name)))


def leftovers(names: list[str], name: str) -> list[str]:
    """Return those of a folder's names that a run left which was killed while it wrote that file."""
    ours = re.compile(re.escape(f".{name}.") + r"(\d{1,9})\.tethys_channels")
    found = []
    for each in names:
        match = ours.fullmatch(each)
        # Of a run with our own number, too: this one has not written anything yet.
        if match and (match.group(1) == str(os.getpid()) or proc.user_id(int(match.group(1))) is None):
            found.append(each)
    return found


def remove_leftovers(path: str) -> None:
    """Delete what a run that was killed while writing `path` left beside it; it may hold secrets."""
    with contextlib.suppress(OSError), _own(path) as place:
        clear(place)


def clear(place: Place) -> None:
    """Delete what a killed run left in an open folder."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.folder)
    try:
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in entries]
    finally:
        os.close(descriptor)
    for name in leftovers(names, place.name):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=place.folder)


def read_regular(place: Place, most_bytes: int) -> tuple[int, bytes]:
    """Open a regular file of an open folder, and return its descriptor and content.

    Raises:
        OSError: it cannot be read; EINVAL for what is no regular file, EFBIG for one that is larger.
    """
    try:
        descriptor = os.open(place.name, _READ, dir_fd=place.folder)
    except OSError as error:
        # A socket, or a link that took the place of the file meanwhile.
        kind = errno.EINVAL if error.errno in (errno.ENXIO, errno.ELOOP) else error.errno
        raise OSError(kind, os.strerror(kind or 0), place.path) from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", place.path)
        raw = b""
        while max(found.st_size, len(raw)) <= most_bytes:
            # Not by a file object, for which there is nothing where a file would have to be waited for.
            more = os.read(descriptor, most_bytes + 1 - len(raw))
            if not more:
                break
            raw += more
        if max(found.st_size, len(raw)) > most_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), place.path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, raw


def read(path: str, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file of root's; OSError where it is none, or larger than that."""
    with _own(path) as place:
        descriptor, raw = read_regular(place, most_bytes)
        os.close(descriptor)
    return raw


def read_notes(path: Path) -> dict[str, Any]:
    """Return the mapping that an earlier run wrote down as JSON, or nothing."""
    try:
        kept = json.loads(read(str(path)).decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}

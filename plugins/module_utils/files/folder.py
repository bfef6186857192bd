# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a file, held by its descriptor: whatever happens to names meanwhile, it stays that folder."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Iterator, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.server.trust import MOST_LINKS

_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = _ENTRY | os.O_DIRECTORY


class Link(NamedTuple):
    """A symbolic link that was followed, and its owner."""

    path: str
    uid: int


class Place(NamedTuple):
    """The folder of a file, and the file's name there. The file need not exist."""

    folder: int
    name: str
    # Without links, as it was when the folder was opened.
    path: str
    links: tuple[Link, ...]
    # The owner of the first folder on the way that is not root's, who decides what follows; else root.
    uid: int

    def foreign_link(self) -> Link | None:
        """Return the first link on the way that is not root's."""
        return next((link for link in self.links if link.uid != 0), None)

    def named(self, error: OSError, name: str | None = None) -> OSError:
        """Return an error of a call with the descriptor, with the whole path of the file."""
        return OSError(error.errno, error.strerror, str(Path(self.path).with_name(name or self.name)))


@contextlib.contextmanager
def opened(path: str, follow: bool = False) -> Iterator[Place]:
    """Open the folder of a file, one part of the path after the other.

    Args:
        follow: whether a symbolic link in the file's own place is followed.

    Raises:
        OSError: a folder on the way does not exist, or the links lead in a circle.
    """
    walk = _Walk(path)
    try:
        name = walk.name(follow)
        yield Place(walk.held, name, str(Path(walk.here, name)), tuple(walk.links), walk.uid)
    finally:
        os.close(walk.held)


class _Walk:
    def __init__(self, path: str) -> None:
        self.path = path
        self.here = Path("/")
        self.links: list[Link] = []
        self.uid = 0
        # Not normalized: a ".." behind a symbolic link leads from where the link leads.
        self.pending = _parts(str(Path.cwd() / path))
        self.held = os.open("/", _FOLDER)

    def name(self, follow: bool) -> str:
        """Go to the folder of the file, and return the file's name."""
        while self.pending:
            part = self.pending.pop()
            last = not self.pending
            if part == "..":
                self._enter(self._open(part, _FOLDER), self.here.parent)
                continue
            try:
                # Asked for a folder first, which mounts what is mounted on demand.
                below = self._open(part, _ENTRY if last else _FOLDER)
            except FileNotFoundError:
                if last:
                    return part
                raise
            except NotADirectoryError:
                below = self._open(part, _ENTRY)
            found = os.fstat(below)
            if stat.S_ISLNK(found.st_mode) and (follow or not last):
                self._follow(part, below, found.st_uid)
            elif last:
                os.close(below)
                return part
            elif stat.S_ISDIR(found.st_mode):
                self._enter(below, self.here / part)
            else:
                os.close(below)
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.here / part))
        return "."

    def _open(self, part: str, flags: int) -> int:
        try:
            return os.open(part, flags, dir_fd=self.held)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.here / part)) from None

    def _enter(self, folder: int, path: Path) -> None:
        os.close(self.held)
        self.held, self.here = folder, path
        self.uid = self.uid or os.fstat(folder).st_uid

    def _follow(self, part: str, link: int, uid: int) -> None:
        self.links.append(Link(str(self.here / part), uid))
        # Of the descriptor, so of the very link whose owner is needed.
        target = os.readlink("", dir_fd=link)
        os.close(link)
        if len(self.links) > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self.path)
        if target.startswith("/"):
            self._enter(os.open("/", _FOLDER), Path("/"))
        self.pending += _parts(target)


def _parts(path: str) -> list[str]:
    """Return the parts of a path, the first at the end."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]

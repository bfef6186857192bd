# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that may belong to another user, who may change it and every name on the way to it at any time.

In a folder of another user, or below one, root reads as that user, so the kernel decides what can be read. If folder
and file belong to the same user, that user writes too. Otherwise root writes, by the descriptor of the folder, with the
owner that the file had when it was read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.folder import Place, opened
from ansible_collections.tethys.channels.plugins.module_utils.read_as import ask_as
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account_of
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import (
    group_name,
    is_of_the_system,
    members_of,
    user_name,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

SECONDS = 20.0
# Neither set-id bits nor the sticky bit are for a file of settings.
_MODE = 0o777
_ACL = "system.posix_acl_access"


class Refused(Exception):
    """Why a file is not touched, in one sentence without a period at its end."""


class Content(NamedTuple):
    """A file as it was read, all from one descriptor."""

    raw: bytes
    uid: int
    gid: int
    mode: int
    # user.* and the access control list. Others, such as security.capability, give rights: they are not copied.
    attributes: dict[str, bytes]


class OwnedFile:
    """One file, and its folder held open."""

    def __init__(self, place: Place, asked: str, most_bytes: int, reader: Account | None) -> None:
        self._place = place
        self._reader = reader
        self._asked = asked
        self._most = most_bytes
        self.path = place.path
        root = os.geteuid() == 0
        folder = os.fstat(place.folder)
        self._folder_uid = folder.st_uid
        self._owner: Account | None = account_of(place.uid) if root and place.uid else None
        # Who can write to the folder.
        self._keeper = account_of(folder.st_uid) if self._owner else None
        self._by_root = root
        if root and not folder.st_uid:
            who = _writer_of(place.folder)
            if who:
                parent = str(Path(place.path).parent)
                raise Refused(f"{parent} belongs to root, and {who} can write to it: {self._fix(parent)}")

    def _fix(self, folder: str) -> str:
        """Return what to do about a folder of root's in which others can write, as the end of a sentence.

        The portal's user may have to write there, as SQLite does beside the database, so the folder becomes that
        user's. There is no command for a folder that is reached through a link: it is not the one that was named.
        """
        if is_of_the_system(folder):
            return "take that right away"
        if self._place.links or self._reader is None or self._reader.uid == 0:
            return "give that folder to the portal's user, or take that right away"
        commands = [shell_words("chown", "-h", self._reader.name, folder)]
        if os.fstat(self._place.folder).st_mode & stat.S_IWOTH:
            commands.append(shell_words("chmod", "o-w", folder))
        told = " and ".join(f"`{command}`" for command in commands)
        return f"give that folder to the portal's user ({told})"

    def read(self) -> Content:
        """Return the current state of the file.

        Raises:
            FileNotFoundError: it does not exist.
            OSError: it cannot be read; EINVAL for what is no regular file, EFBIG for one that is too large.
            Refused: it must not be touched.
        """
        try:
            answer = self._as(self._owner, self._content)
        except PermissionError:
            # Whoever else has to be able to read it; that user's rights are the limit, too.
            if self._owner is None or self._reader is None or self._reader.uid == 0:
                raise
            answer = self._as(self._reader, self._content)
        head, _newline, raw = answer.partition(b"\n")
        uid, gid, mode, attributes = json.loads(head)
        found = Content(raw, uid, gid, mode, {name: bytes.fromhex(value) for name, value in attributes.items()})
        link = self._place.foreign_link()
        if self._by_root and link and not link.uid == self._folder_uid == uid:
            raise Refused(
                f"{link.path} is a symbolic link of user {user_name(link.uid)}, and leads to a file of user"
                f" {user_name(uid)} in a folder of user {user_name(self._folder_uid)}: all three have to be the same."
                f" Name the folder itself ({Path(self.path).parent}) instead of the link"
            )
        return found

    def _content(self) -> bytes:
        """Return all of it as one text: a child of this process may read it, as another user."""
        descriptor, raw = atomic_file.read_regular(self._place, self._most)
        try:
            found = os.fstat(descriptor)
            if self._owner and found.st_uid != self._owner.uid and found.st_nlink > 1:
                raise Refused(
                    f"{self.path} belongs to {user_name(found.st_uid)}, and has another name elsewhere (a hard link) in"
                    f" a folder of user {self._owner.name}"
                )
            head = [found.st_uid, found.st_gid, found.st_mode & _MODE, _attributes(descriptor)]
        finally:
            os.close(descriptor)
        return json.dumps(head).encode() + b"\n" + raw

    def create(self, name: str, raw: bytes, like: Content) -> None:
        """Write a file that does not exist yet beside it, with its owner, mode and attributes."""

        def job() -> bytes:
            atomic_file.create(self._place, name, raw, like.mode, like.uid, like.gid, like.attributes)
            return b""

        self._as(self._writer(like), job)

    def replace(self, new: str, before: Content) -> bool:
        """Replace the file by one that `create` has written; False if it has changed since it was read."""
        with opened(self._asked, follow=True) as again:
            if again.path != self.path or self.read() != before:
                return False

        def job() -> bytes:
            atomic_file.rename(self._place, new)
            return b""

        self._as(self._writer(before), job)
        return True

    def rewrite(self, raw: bytes, before: Content) -> bool:
        """Write it again, in one step; False if it has changed since it was read."""
        new = atomic_file.temporary_name(self._place.name)
        self.create(new, raw, before)
        try:
            done = self.replace(new, before)
        except BaseException:
            self.delete(new)
            raise
        if not done:
            self.delete(new)
        return done

    def delete(self, name: str) -> None:
        """Delete a file beside it, if there is one."""

        def job() -> bytes:
            atomic_file.delete(self._place, name)
            return b""

        with contextlib.suppress(OSError, Refused):
            self._as(self._keeper, job)

    def clear(self) -> None:
        """Delete what a run left that was killed while it wrote the file; it may hold secrets."""

        def job() -> bytes:
            atomic_file.clear(self._place)
            return b""

        with contextlib.suppress(OSError, Refused):
            self._as(self._keeper, job)

    @property
    def temporary(self) -> str:
        """The name of a new file beside it."""
        return atomic_file.temporary_name(self._place.name)

    def _writer(self, like: Content) -> Account | None:
        """The user who can write a file of that owner and group: the folder's, or root."""
        keeper = self._keeper
        if keeper is None or keeper.uid == 0:
            return keeper
        own = like.uid == keeper.uid and like.gid in os.getgrouplist(keeper.name, keeper.gid)
        return keeper if own else account_of(0)

    def _as(self, who: Account | None, job: Callable[[], bytes]) -> bytes:
        """Do something as a user, or in this process if `who` is None.

        In a child process, also as root: an operation in the folder of another user may never end.
        """
        if who is None:
            return job()
        try:
            answer = ask_as(who, lambda: _told(job), self._most + 65536, SECONDS)
        except Rejected as error:
            raise Refused(f"{self.path} cannot be read or written: {error}") from None
        kind, rest = answer[:1], answer[1:]
        if kind == b"+":
            return rest
        if kind == b"R":
            raise Refused(rest.decode())
        number, text, name = json.loads(rest)
        raise OSError(number, text, name)


@contextlib.contextmanager
def owned_file(path: str, most_bytes: int, reader: Account | None = None) -> Iterator[OwnedFile]:
    """Open the folder of a file, which need not exist; a symbolic link to it is followed.

    Args:
        reader: who reads it where the owner of its folder cannot.

    Raises:
        OSError: the folder does not exist.
        Refused: it must not be touched.
    """
    with opened(path, follow=True) as place:
        yield OwnedFile(place, path, most_bytes, reader)


def _writer_of(folder: int) -> str | None:
    """Return who besides root can write to a folder of root's."""
    found = os.fstat(folder)
    if found.st_mode & stat.S_IWOTH:
        return "every user"
    if not found.st_mode & stat.S_IWGRP:
        return None
    with contextlib.suppress(OSError, AttributeError):
        # A descriptor that is a place only has no attributes, but its name below /proc has. The group's bits are the
        # mask of a list.
        if _ACL in os.listxattr(f"/proc/self/fd/{folder}"):
            return "whom its access control list names"
    return f"group {group_name(found.st_gid)}" if members_of(found.st_gid) else None


def _attributes(descriptor: int) -> dict[str, str]:
    found: dict[str, str] = {}
    with contextlib.suppress(OSError, AttributeError):
        for name in os.listxattr(descriptor):
            if name.startswith("user.") or name == _ACL:
                with contextlib.suppress(OSError):
                    found[name] = os.getxattr(descriptor, name).hex()
    return found


def _told(job: Callable[[], bytes]) -> bytes:
    """What a job gives, or its error, as bytes."""
    try:
        return b"+" + job()
    except Refused as error:
        return b"R" + str(error).encode("utf-8", "replace")
    except OSError as error:
        return b"E" + json.dumps([error.errno or errno.EIO, error.strerror, error.filename]).encode()

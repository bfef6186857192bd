# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a file, or answer a question, as the user who could change what is read."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import stat
import time
from pathlib import Path
from typing import Callable

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, clean
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account_of, become

READ_SECONDS = 10.0
# An environment's site-packages holds some thousand.
MOST_NAMES = 50_000
# How long a child may take to disappear.
END_SECONDS = 2.0


def reader_of(path: str) -> Account:
    """Return who reads a path: the owner of the first part of it, from the root down, that is not root's.

    That user can put anything in the place of what follows. If root owns every part, root reads. Links of root's are
    followed. Who is not root can only be itself.
    """
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    # Not resolved: a link is followed below, if it is root's.
    parts, at, links = list(Path(os.path.normpath(Path.cwd() / path)).parts[1:]), Path("/"), 0
    while parts:
        at = at / parts.pop(0)
        try:
            found = at.lstat()
            target = os.readlink(at) if stat.S_ISLNK(found.st_mode) else None
        except OSError:
            break
        if found.st_uid != 0:
            return account_of(found.st_uid)
        if target is not None:
            links += 1
            if links > 40:
                break
            whole = Path(os.path.normpath(at.parent / target))
            parts, at = [*whole.parts[1:], *parts], Path("/")
    return account_of(0)


def read_file(path: str, who: Account | None, most_bytes: int, seconds: float = READ_SECONDS) -> bytes:
    """Return the content of a regular file, read as that user.

    Args:
        who: the user; None for ``reader_of(path)``.
        most_bytes: the largest file that is read.

    Raises:
        OSError: that user cannot read it, or there is none.
        Rejected: it is a FIFO, device, socket or folder, is too large, or could not be read in time.
    """
    try:
        answer = ask_as(who or reader_of(path), lambda: _content(path, most_bytes), most_bytes + 8, seconds)
    except Rejected as error:
        raise Rejected(f"{clean(path)} cannot be read: {error}") from None
    kind, rest = answer[:1], answer[1:]
    if kind == b"E":
        number = int(rest)
        raise OSError(number, os.strerror(number), path)
    if kind != b"+":
        raise Rejected(
            f"{clean(path)} is " + (f"larger than {most_bytes} bytes" if kind == b"L" else "no regular file")
        )
    return rest


def names_in(folder: str, most: int = MOST_NAMES) -> list[str]:
    """Return the sorted names in a folder; OSError where it cannot be read, Rejected where there are more."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, most + 1)]
    if len(names) > most:
        raise Rejected(f"{clean(folder)} holds more than {most} names")
    return sorted(names)


def _content(path: str, most_bytes: int) -> bytes:
    """Return a file's content after a plus sign, or the reason why there is none."""
    try:
        # Without O_NONBLOCK a FIFO waits for its writer; a terminal must not become that of this process.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        return b"E%d" % (error.errno or 0)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return b"N"
    if found.st_size > most_bytes:
        return b"L"
    try:
        with os.fdopen(fd, "rb") as file:
            # The files of /proc and /sys say that they have no size.
            data = file.read(most_bytes + 1)
    except OSError as error:
        return b"E%d" % (error.errno or 0)
    return b"L" if len(data) > most_bytes else b"+" + data


def ask_as(who: Account, question: Callable[[], bytes], most_bytes: int, seconds: float) -> bytes:
    """Return what a function answers in a child process that has become that user.

    The child runs this program's own code; the files that it meets are others'. That user can end or stop it, but not
    read it.

    Raises:
        Rejected: the answer is larger, did not come in time, or the child failed.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            os.close(read_end)
            switch = become(who)
            if switch:
                switch()
            with os.fdopen(write_end, "wb") as out:
                out.write(question())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    deadline = time.monotonic() + seconds
    ended = None
    try:
        answer = _read_pipe(read_end, most_bytes, deadline)
        ended = _wait(child, deadline)
        if ended != 0:
            raise Rejected(f"a child process, run as the user {who.name}, failed")
        return answer
    except TimeoutError:
        raise Rejected(f"there was no answer within {seconds:g} s") from None
    finally:
        os.close(read_end)
        if ended is None:
            with contextlib.suppress(TimeoutError):
                os.kill(child, signal.SIGKILL)
                _wait(child, time.monotonic() + END_SECONDS)


def _read_pipe(fd: int, most_bytes: int, deadline: float) -> bytes:
    """Return what comes through a pipe until its other end closes; TimeoutError at the deadline."""
    chunks: list[bytes] = []
    size = 0
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise Rejected(f"the answer is larger than {most_bytes} bytes")
    raise TimeoutError


def _wait(child: int, deadline: float) -> int:
    """Return how a child ended; TimeoutError at the deadline, since one may hang in the kernel."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.001)

# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of root's in the place of links to others' files, while a program of root's reads them.

The file behind a link can be exchanged between its check and its reading, or back after its reading.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Iterable, Iterator

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.read_as import read_file
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others


@contextlib.contextmanager
def copied(paths: Iterable[str], most_bytes: int) -> Iterator[None]:
    """Have a copy in the place of each of these links whose file somebody besides root can change.

    The links are back at the end. If the process is killed before, the copies stay: root's, with the text of then.

    Args:
        paths: in folders that only root can change.
        most_bytes: the size limit of a file.

    Raises:
        OSError, Rejected: a file cannot be read or written. All links are back.
    """
    with contextlib.ExitStack() as stack:
        for path in paths if os.geteuid() == 0 else ():
            if Path(path).is_symlink() and writable_by_others(path):
                target, status = os.readlink(path), Path(path).stat()
                # Whoever can read the file can read the copy, such as a supervisord that is not root's.
                mode = stat.S_IRUSR | stat.S_IWUSR | (status.st_mode & (stat.S_IRGRP | stat.S_IROTH))
                atomic_file.replace(path, read_file(path, None, most_bytes), mode, 0, status.st_gid)
                stack.callback(_put_back, path, target)
        yield


def _put_back(path: str, target: str) -> None:
    """Put a link back where its copy is, unless somebody else has put a link there meanwhile."""
    if Path(path).is_symlink():
        return
    new = atomic_file.temporary(path)
    atomic_file.unlink(new)
    Path(new).symlink_to(target)
    Path(new).replace(path)

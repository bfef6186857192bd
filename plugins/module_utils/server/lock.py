# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time where two would get into each other's way."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Iterator

SECONDS = 600.0
# pip gives up after 900 s.
SERVER_SECONDS = 1000.0
# A folder that only root can change, and that is there before any portal has state.
LOCKS = "/run"


class Busy(Exception):
    """One sentence for the administrator."""


@contextlib.contextmanager
def alone(state_dir: str | Path, seconds: float = SECONDS) -> Iterator[None]:
    """Wait for another run's part on this portal to end; Busy where it takes too long.

    The folder itself is locked, so that nothing is left behind, and the lock of a process that dies is released.
    """
    if not Path(state_dir).is_dir():
        yield
        return
    with _locked(os.open(str(state_dir), os.O_RDONLY | os.O_DIRECTORY), seconds):
        yield


@contextlib.contextmanager
def alone_on_server(what: str, seconds: float = SERVER_SECONDS) -> Iterator[None]:
    """Wait for the same part of a run for another portal of this server; Busy where it takes too long.

    Args:
        what: what both would change: `nginx`, `packages` or `supervisor`. The watch of a portal waits for none of them.
        seconds: how long to wait.
    """
    path = f"{LOCKS}/tethys_channels.{what}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        # Whoever cannot write there, as in a container of Tethys Docker, changes nothing of another portal.
        yield
        return
    with _locked(descriptor, seconds):
        yield


def is_held(path: str | Path) -> bool | None:
    """Return whether another process may hold the lock of a file; None if the file does not exist or is unreadable."""
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # Where a file system has no locks, this cannot be determined.
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _locked(descriptor: int, seconds: float) -> Iterator[None]:
    """Hold the lock of an open file or folder, and close it."""
    try:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Busy(
                        f"Another run is changing this server, and has not ended for {seconds:.0f} s: wait for it, and"
                        " run again."
                    ) from None
                time.sleep(0.2)
        yield
    finally:
        os.close(descriptor)

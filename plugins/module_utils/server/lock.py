# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at once on one server: what changes the same thing waits for its turn."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Iterator

SECONDS = 600.0


class Busy(Exception):
    """One sentence for the administrator."""


@contextlib.contextmanager
def alone(state_dir: str | Path, seconds: float = SECONDS) -> Iterator[None]:
    """Wait for another run's part on this server to end; Busy where it takes too long.

    The folder itself is locked, so that nothing is left behind, and a process that dies lets go of it.
    """
    if not Path(state_dir).is_dir():
        yield
        return
    descriptor = os.open(str(state_dir), os.O_RDONLY | os.O_DIRECTORY)
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

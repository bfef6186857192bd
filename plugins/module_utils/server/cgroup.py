# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group for one program, so that the kernel ends all of its processes at once.

A process that forks and exits all the time is never the one that a signal reaches. No process leaves its control group
unless it can write to another one, which only root can where a group is made here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path

# Where a group can be made: the unified hierarchy, alone or beside the others, or the freezer of version 1.
HIERARCHIES = (("/sys/fs/cgroup", ""), ("/sys/fs/cgroup/unified", ""), ("/sys/fs/cgroup/freezer", "freezer"))
_NUMBERS = itertools.count()


class Cgroup:
    """A control group below that of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir()
        try:
            self._entry = os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            path.rmdir()
            raise

    def enter(self) -> None:
        """Put the process that calls this, a child that is still root, into the group."""
        with contextlib.suppress(OSError):
            os.write(self._entry, b"0")

    def end(self, until: float) -> None:
        """End every process in the group, and remove it; ``until`` is a moment of ``time.monotonic()``."""
        os.close(self._entry)
        with contextlib.suppress(OSError):
            while self._processes() and time.monotonic() < until:
                self._kill(until)
                time.sleep(0.001)
            self._path.rmdir()

    def _processes(self) -> list[int]:
        return [int(pid) for pid in (self._path / "cgroup.procs").read_text(encoding="ascii").split()]

    def _kill(self, until: float) -> None:
        if (self._path / "cgroup.kill").exists():
            self._write("cgroup.kill", "1")
            return
        # Before Linux 5.14. Who is frozen cannot fork, and dies at the latest when it thaws.
        unified = (self._path / "cgroup.freeze").exists()
        name, freeze, thaw = ("cgroup.freeze", "1", "0") if unified else ("freezer.state", "FROZEN", "THAWED")
        state, frozen = ("cgroup.events", "frozen 1") if unified else ("freezer.state", "FROZEN")
        self._write(name, freeze)
        try:
            while frozen not in (self._path / state).read_text(encoding="ascii") and time.monotonic() < until:
                time.sleep(0.001)
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            self._write(name, thaw)

    def _write(self, name: str, text: str) -> None:
        (self._path / name).write_text(text, encoding="ascii")


def new_cgroup() -> Cgroup | None:
    """Return a new group below that of this process, or None where none can be made: not as root, or read-only."""
    if os.geteuid() != 0:
        return None
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        own = {kinds: path for _number, kinds, path in (line.split(":", 2) for line in lines)}
    except (OSError, ValueError):
        return None
    for folder, kind in HIERARCHIES:
        place = Path(folder, own.get(kind, "..").lstrip("/"))
        # A path with .. leads out of what this container sees.
        if ".." not in place.parts and (place / "cgroup.procs").exists():
            with contextlib.suppress(OSError):
                return Cgroup(place / f"tethys_channels_{os.getpid()}_{next(_NUMBERS)}")
    return None
